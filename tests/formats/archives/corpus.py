"""The adversarial corpus: every archive that has its own test, with the rule that refuses it."""

from formats.archives import corpus_metadata, corpus_tar, corpus_wheel, corpus_zip

CASES = [*corpus_zip.cases(), *corpus_wheel.cases(), *corpus_tar.cases(), *corpus_metadata.cases()]
ACCEPTED = [case for case in CASES if case.rule is None]
REFUSED = [case for case in CASES if case.rule is not None]
