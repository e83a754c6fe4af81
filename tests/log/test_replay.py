"""What the log says over its whole history: the contradictions that only reading all of it can show."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tuf.api.metadata import Targets

from assay.client.log.agreement import LogReplay, require_logged
from assay.index.ledger.publications import Intent, OutboxRow
from assay.index.log.entries import entries_of
from assay.index.proposals import PublishFiles
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import VerificationFailed
from assay.model.names import ProjectName
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import SPEC_VERSION, TargetPath
from assay.trust.log.entry import LogEntry, decode_entry
from assay.trust.offline import OfflineRoles
from assay.trust.plan import NewTarget
from assay.trust.verify import VerifiedTarget
from support.simulator import SIGNERS

WHEN = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATH = TargetPath("packages/demo/1.0/demo-1.0.tar.gz")
ONE, OTHER = Sha256("1" * 64), Sha256("2" * 64)


def published(sha256: str = ONE, kind: str = "file-published", path: str = PATH, **facts: Any) -> LogEntry:
    custom = {"uploader": "alice"}
    every = {"path": path, "sha256": sha256, "length": 3, "custom": custom, "page": {}, **facts}
    return LogEntry(kind, WHEN, "alice", "demo", every)


def named(kind: str, filename: str = "demo-1.0.tar.gz", **facts: Any) -> LogEntry:
    return LogEntry(kind, WHEN, "signer", "demo", {"filename": filename, **facts})


def replayed(*entries: LogEntry) -> LogReplay:
    replay = LogReplay()
    for index, entry in enumerate(entries):
        replay.take(index, entry)
    return replay


@pytest.mark.parametrize(
    ("entries", "rule"),
    [
        ([published(), published(OTHER)], "second-hash"),
        ([published(), published(length=4)], "second-hash"),
        ([published(), named("file-removed"), published()], "second-hash"),
        ([published(), named("file-removed"), published(OTHER)], "second-hash"),
        ([published(), LogEntry("project-removed", WHEN, "signer", "demo"), published()], "second-hash"),
        ([named("file-yanked", reason="x")], "log-agreement"),
        ([published(), named("file-removed", "demo-2.0.tar.gz")], "log-agreement"),
        ([published(kind="file-restored")], "log-agreement"),
        ([LogEntry("file-published", WHEN, "alice", "demo", {"path": PATH})], "malformed"),
        ([published(sha256=7)], "malformed"),  # type: ignore[arg-type]
    ],
)
def test_a_history_that_contradicts_itself_is_refused(entries: list[LogEntry], rule: str) -> None:
    with pytest.raises(VerificationFailed) as refusal:
        replayed(*entries)
    assert refusal.value.rule == rule


def test_the_same_bytes_may_be_published_again(  # an upload that was retried
) -> None:
    assert replayed(published(), published()).files[PATH].index == 1


def test_unknown_kinds_are_read_over() -> None:
    assert replayed(LogEntry("moon-landed", WHEN, "neil", None, {"step": 1}), published()).live() == {PATH}


def target(role: str, **custom: Any) -> VerifiedTarget:
    return VerifiedTarget(PATH, 3, ONE, custom, role)


def test_what_developers_sign_need_not_name_its_entry_what_the_index_signs_must() -> None:
    logged = replayed(published()).files[PATH]
    require_logged(target("bin-0", uploader="alice", log_index=0), logged)
    require_logged(target("claim-demo"), logged)
    require_logged(target("seal-1-0"), logged)
    for wrong in (target("bin-0", uploader="alice"), target("bin-0", uploader="bob", log_index=0)):
        with pytest.raises(VerificationFailed):
            require_logged(wrong, logged)
    with pytest.raises(VerificationFailed):
        require_logged(target("claim-demo"), replayed(published(OTHER)).files[PATH])
    with pytest.raises(VerificationFailed):
        require_logged(target("claim-demo"), None)


def role(version: int) -> bytes:
    return sign_envelope(Targets(version, SPEC_VERSION, WHEN + timedelta(days=9), {}), [SIGNERS["bins"]])


def test_what_was_signed_elsewhere_is_logged_and_a_seal_once() -> None:
    files = {name: role(version) for name, version in (("targets", 2), ("seal-1", 1), ("seal-1-0", 1), ("seal-1-1", 1))}
    signed = {name: parse_envelope(data, Targets, name).signed for name, data in files.items()}
    offline = OfflineRoles(None, files, signed, frozenset())
    found = [decode_entry(data) for _, data in entries_of(Intent(1, WHEN, (), {}, ()), (), offline, ())]
    assert [entry.facts["role"] for entry in found] == ["seal-1", "targets"]
    assert found[0].facts["parts"] == 2
    assert found[1].facts == {"role": "targets", "version": 2, "sha256": sha256_of(files["targets"])}


NOTHING_OFFLINE = OfflineRoles(None, {}, {}, frozenset())


def test_a_claim_is_logged_and_a_refused_proposal_is_not() -> None:
    proposal = PublishFiles(ProjectName("demo"), "upload", (), "the role")
    intent = Intent(1, WHEN, (), {}, (OutboxRow(1, proposal), OutboxRow(2, proposal)))
    found = [decode_entry(data) for _, data in entries_of(intent, {2}, NOTHING_OFFLINE, ())]
    assert [(entry.kind, entry.project) for entry in found] == [("claim-published", "demo")]
    assert found[0].facts == {"sha256": sha256_of(b"the role"), "length": 8}


def test_a_file_that_comes_back_from_a_revoked_claim_gets_a_new_entry() -> None:
    back = NewTarget(PATH, 3, ONE, {"uploader": "alice", "log_index": 0})
    ((path, data),) = entries_of(Intent(1, WHEN, (), {}, ()), (), NOTHING_OFFLINE, (back,))
    assert path == PATH
    logged = replayed(published(page={"requires_python": ">=3"}), decode_entry(data)).files[PATH]
    assert (logged.index, logged.page) == (1, {"requires_python": ">=3"})
    require_logged(target("bin-0", uploader="alice", log_index=1), logged)
