"""Every kind of rule, one row each in ``KINDS``: its key in the policy file, how it is read, judged and told.

To add a kind of rule: write a reader, a judge and a teller, and a row. A judge gets the rule's value and facts that are
known at the row's stage; it returns the refusal, or None where the rule is satisfied. It never raises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from assay.model.errors import AssayError, Reading, RefusedByPolicy, VerificationFailed
from assay.model.rings import Ring
from assay.policy.model import (
    ExpectedAttester,
    Facts,
    FirstSeen,
    Policy,
    Projects,
    ProvenancePolicy,
    Stage,
)
from assay.provenance.publishers import describe_publisher, parse_publisher, require_publisher
from assay.provenance.retired_keys import RetiredKeys
from assay.provenance.sigstore_trust import SigstoreTrust, bundled_trust
from assay.provenance.slsa import BuildProvenance, BuildRule, require_build

MAX_COOLDOWN_DAYS: Final = 3650

ReadFile = Callable[[str], bytes]
"""Reads a file that a policy names, relative to where the policy stands. Raises CallerError."""


class NotLegal(Exception):
    """A value that a reader does not take: ``what`` is wrong, what is ``expected``."""

    def __init__(self, what: str, expected: str) -> None:
        super().__init__(what)
        self.what, self.expected = what, expected


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of rule. ``hides``: files that it refuses are left out of pages, so that installers take others."""

    key: str
    stage: Stage
    read: Callable[[object, ReadFile], Any]
    judge: Callable[[Any, Facts], RefusedByPolicy | None]
    tell: Callable[[Any], str]
    hides: bool = False


# --- index: which index a project comes from -------------------------------------------------------------------


def _read_index(value: object, _: ReadFile) -> str:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise NotLegal("'index' is not the address of an index", "http(s)://host[:port]/")
    return f"{str(value).rstrip('/')}/"


def _judge_index(index: str, facts: Facts) -> RefusedByPolicy | None:
    if facts.index == index:
        return None
    return RefusedByPolicy(
        "policy takes this project from another index",
        rule="policy-index",
        subject=facts.subject,
        expected=index,
        found=facts.index,
        next_step="assay trust add that index, so that it is asked; another one's file of this name is never taken",
    )


# --- rings: how far from an attacker's reach -------------------------------------------------------------------


def _read_rings(value: object, _: ReadFile) -> tuple[Ring, ...]:
    names = [value] if isinstance(value, str) else value
    known = {ring.value: ring for ring in Ring}
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in known for name in names):
        raise NotLegal("'rings' is not a list of rings", ", ".join(known))
    return tuple(known[name] for name in dict.fromkeys(names))


def _judge_rings(rings: tuple[Ring, ...], facts: Facts) -> RefusedByPolicy | None:
    if facts.rings.intersection(rings):
        return None
    return RefusedByPolicy(
        "policy asks for stronger protection than this file has yet",
        rule="policy-ring",
        subject=facts.subject,
        expected=" or ".join(ring.value for ring in rings),
        found=", ".join(sorted(ring.value for ring in facts.rings)) or "none",
        next_step="take a version that is; or wait until the index's operator seals this one (assay explain tells)",
    )


# --- cooldown_days: how long others have had to find out -------------------------------------------------------


def _read_days(value: object, _: ReadFile) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COOLDOWN_DAYS:
        raise NotLegal("'cooldown_days' is not a number of days", f"a whole number from 0 to {MAX_COOLDOWN_DAYS}")
    return value


def _judge_cooldown(days: int, facts: Facts) -> RefusedByPolicy | None:
    if days == 0 or (facts.uploaded is not None and facts.now - facts.uploaded >= timedelta(days=days)):
        return None
    return RefusedByPolicy(
        "younger than the policy's cooldown",
        rule="cooldown",
        subject=facts.subject,
        expected=f"at least {days} days old",
        found=f"uploaded {facts.uploaded:%Y-%m-%d %H:%M} UTC" if facts.uploaded else "an unknown upload time",
        next_step="wait, take an older version, or write a dated exemption into the policy",
    )


# --- signature, signed_by: OpenPGP -----------------------------------------------------------------------------


def _read_true(value: object, _: ReadFile) -> bool:
    if value is not True:
        raise NotLegal("only 'true' says anything here", "true")
    return True


def _judge_signature(_: bool, facts: Facts) -> RefusedByPolicy | None:
    return None if facts.signed_with is not None else _unsigned(facts, "a signature by a registered certificate")


def _unsigned(facts: Facts, expected: str) -> RefusedByPolicy:
    return RefusedByPolicy(
        "policy asks for a signature, and this file has none",
        rule="signature-missing",
        subject=facts.subject,
        expected=expected,
        next_step="ask the project to sign its files, or relax the policy",
    )


def _read_fingerprints(value: object, _: ReadFile) -> tuple[str, ...]:
    from assay.provenance.openpgp import parse_fingerprint  # only for a policy that names any

    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise NotLegal("'signed_by' is not a list of fingerprints", "40 or 64 hex digits each")
    try:
        return tuple(parse_fingerprint(text) for text in value)
    except AssayError as error:
        raise NotLegal(error.what, "40 or 64 hex digits each") from error


def _judge_signed_by(fingerprints: tuple[str, ...], facts: Facts) -> RefusedByPolicy | None:
    if facts.signed_with is None:
        return _unsigned(facts, " or ".join(fingerprints))
    if facts.signed_with in fingerprints:
        return None
    return RefusedByPolicy(
        "signed with another key than policy names for this project",
        rule="policy-signer",
        subject=facts.subject,
        expected=" or ".join(fingerprints),
        found=facts.signed_with,
        reading=Reading.EITHER,
        next_step="if the project's key changed, compare its fingerprint and change the policy",
    )


# --- attestation, published_by, built_by: PEP 740 --------------------------------------------------------------


def _judge_attestation(_: bool, facts: Facts) -> RefusedByPolicy | None:
    return None if facts.attested else _unattested(facts, None)


def _unattested(facts: Facts, expected: str | None) -> RefusedByPolicy:
    return RefusedByPolicy(
        "policy asks for an attestation, and this file has none",
        rule="attestation-missing",
        subject=facts.subject,
        expected=expected,
        next_step="ask the project to publish with attestations, or relax the policy",
    )


def _read_publishers(value: object, read_file: ReadFile) -> tuple[ExpectedAttester, ...]:
    rows = [value] if isinstance(value, dict) else value
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise NotLegal("'published_by' is not a list of tables", "kind, repository, workflow, ...")
    return tuple(_read_publisher(row, read_file) for row in rows)


def _read_publisher(row: Mapping[str, Any], read_file: ReadFile) -> ExpectedAttester:
    members = {key: value for key, value in row.items() if key != "trust_root"}
    path = row.get("trust_root")
    if path is not None and not isinstance(path, str):
        raise NotLegal("'trust_root' is not a path", "the path of a trusted_root.json")
    try:
        publisher = parse_publisher(members)
    except AssayError as error:
        raise NotLegal(f"{error.what} ({error.found})", "kind, repository, workflow, ...") from error
    trust = None
    if path is not None:
        root = SigstoreTrust("", read_file(path))
        trust = SigstoreTrust(f"the root {root.sha256} of {describe_publisher(publisher)}", root.root)
    return ExpectedAttester(Projects(), publisher, trust)


def _judge_published_by(expected: tuple[ExpectedAttester, ...], facts: Facts) -> RefusedByPolicy | None:
    names = " or ".join(describe_publisher(each.publisher) for each in expected)
    if not facts.attested:
        return _unattested(facts, names)
    if any(_is_of(attestation, each) for attestation in facts.attested for each in expected):
        return None
    return RefusedByPolicy(
        "attested by another publisher than policy names for this project",
        rule="policy-attester",
        subject=facts.subject,
        expected=names,
        found=", ".join(describe_publisher(each.publisher) for each in facts.attested),
        reading=Reading.EITHER,
        next_step="if the project moved, change the policy; else do not install it",
    )


def _is_of(attestation: Any, expected: ExpectedAttester) -> bool:
    try:
        require_publisher(attestation.identity, expected.publisher)
    except VerificationFailed:
        return False
    return bool(attestation.root == (expected.trust or bundled_trust()).sha256)


def _read_build(value: object, _: ReadFile) -> BuildRule:
    known = ("source", "workflow", "builder", "ref")
    if not isinstance(value, dict) or not value:
        raise NotLegal("'built_by' is not a table", ", ".join(known))
    for name, text in value.items():
        if name not in known:
            raise NotLegal(f"unknown key {name!r} in 'built_by'", ", ".join(known))
        if not isinstance(text, str) or not text:
            raise NotLegal(f"{name!r} is not a text", "a text")
    return BuildRule(**value)


def _judge_build(rule: BuildRule, facts: Facts) -> RefusedByPolicy | None:
    refusal = None
    builds: list[BuildProvenance | None] = [each.build for each in facts.attested if each.build is not None]
    for build in builds or [None]:
        try:
            require_build(build, rule, filename=facts.subject)
        except RefusedByPolicy as error:
            refusal = refusal or error
        else:
            return None
    return refusal


def _tell_build(rule: BuildRule) -> str:
    asked = {"source": rule.source, "workflow": rule.workflow, "builder": rule.builder, "ref": rule.ref}
    return "a SLSA build with " + ", ".join(f"{name} {value}" for name, value in asked.items() if value)


def _tell_publishers(expected: tuple[ExpectedAttester, ...]) -> str:
    names = (
        describe_publisher(each.publisher) + (f" (root {each.trust.sha256[:16]})" if each.trust else "")
        for each in expected
    )
    return "attested by " + " or ".join(names)


# --- the table -------------------------------------------------------------------------------------------------

KINDS: Final = {
    kind.key: kind
    for kind in (
        Kind("index", Stage.PROJECT, _read_index, _judge_index, lambda url: f"taken from {url} and nowhere else"),
        Kind("cooldown_days", Stage.LISTED, _read_days, _judge_cooldown, "uploaded at least {} days ago".format, True),
        Kind("rings", Stage.FILE, _read_rings, _judge_rings, lambda rings: " or ".join(ring.value for ring in rings)),
        Kind("signature", Stage.FILE, _read_true, _judge_signature, lambda _: "signed with OpenPGP"),
        Kind("signed_by", Stage.FILE, _read_fingerprints, _judge_signed_by, lambda f: "signed by " + " or ".join(f)),
        Kind("attestation", Stage.FILE, _read_true, _judge_attestation, lambda _: "attested (PEP 740)"),
        Kind("published_by", Stage.FILE, _read_publishers, _judge_published_by, _tell_publishers),
        Kind("built_by", Stage.FILE, _read_build, _judge_build, _tell_build),
    )
}


def provenance_of(policy: Policy) -> ProvenancePolicy:
    """What the verifier of signatures must know of ``policy``: the strictest of it, and whom its rules name."""
    layers = policy.layers
    seen = {layer.first_seen for layer in layers} - {None}
    keys = {layer.retired_keys for layer in layers}
    return ProvenancePolicy(
        retired_keys=RetiredKeys.REFUSE if RetiredKeys.REFUSE in keys else RetiredKeys.ACCEPT_EARLIER,
        first_seen=FirstSeen.WARN if seen == {FirstSeen.WARN} else FirstSeen.REFUSE,
        attesters=tuple(
            ExpectedAttester(rule.projects, each.publisher, each.trust)
            for layer in layers
            for rule in layer.rules
            if rule.kind == "published_by"
            for each in rule.value
        ),
    )
