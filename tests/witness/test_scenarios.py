"""The index's host is taken (A12, A13), its insiders cheat (B8), it shows two worlds (B12), backups return (B13).

A real signer, real witness processes, and every kind of client: Assay's core and stock python-tuf, new and returning.
"""

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile, Targets

from assay.index.published import PublishedStore
from assay.index.signer.witnesses import Verdict
from assay.model.digests import sha256_of
from assay.model.errors import WitnessRefused
from assay.model.names import ProjectName
from assay.trust.candidate import Candidate
from assay.trust.claims import Claim, plan_claim_role
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import TIMESTAMP, TargetPath, metadata_path
from assay.trust.plan import NewTarget
from witness.live import (
    EVIL,
    LiveWitness,
    Receiver,
    Thief,
    WitnessedIndex,
    copy_of,
    wait_until,
    witnessed_index,
)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[WitnessedIndex]:
    with witnessed_index(tmp_path / "world") as running:
        yield running


def rules(verdicts: Sequence[Verdict]) -> list[str]:
    """Why each witness refused; "signed" where it did not."""
    return [verdict.error.rule if verdict.error else "signed" for verdict in verdicts]


# --- A12, A13: stolen keys ---------------------------------------------------------------------------------------


def test_A13_whole_host_taken_right_after_an_upload_changes_nothing_for_any_client(index: WitnessedIndex) -> None:
    path = index.upload("demo", "1.0")
    assert set(index.everybody(path).values()) == {index.published[path]}
    thief = Thief(index)
    name, forged = thief.forged_bin(path)
    _, swapped = thief.forged_bin(path, version=forged.version - 1)
    for bins in ({name: forged}, {name: swapped}):
        candidate = thief.candidate(bins)
        assert rules(thief.ask(candidate)) in (["second-hash"] * 2, ["second-content"] * 2)
        honest = {file: file.read_bytes() for file in (index.data.published / "tuf").iterdir()}
        thief.publish_alone(candidate)
        index.require_unchanged()
        index.store.write({f"tuf/{file.name}": data for file, data in honest.items()})
    assert set(index.everybody(path).values()) == {index.published[path]}


def test_A13_the_bin_alone_is_swapped_under_the_honest_snapshot(index: WitnessedIndex) -> None:
    path = index.upload("demo", "1.0")
    index.everybody(path)
    thief = Thief(index)
    name, forged = thief.forged_bin(path)
    forged.version -= 1
    index.store.write({metadata_path(name, forged.version): sign_envelope(forged, [thief.keys.bin])})
    index.require_unchanged()


def test_A13_another_bin_co_signed_earlier_is_shown_in_its_place(index: WitnessedIndex) -> None:
    """Every bin has the same keys, so a signature says nothing of which bin it is; but no path is in two bins."""
    path = index.upload("demo", "1.0")
    index.everybody(path)
    state = Thief(index).state
    mine = state.succinct().get_role_for_target(path)
    snapshot = state.snapshot
    assert snapshot is not None
    version = snapshot.meta[f"{mine}.json"].version
    for other in state.succinct().get_roles():
        data = index.store.read(metadata_path(other, snapshot.meta[f"{other}.json"].version)) or b""
        index.store.write({metadata_path(mine, version): data})
        for found in index.everybody(path).values():
            assert found in (index.published[path], "none", "refused")


def test_A13_stays_true_while_one_witness_is_down(index: WitnessedIndex) -> None:
    index.witnesses[0].stop(signal.SIGKILL)
    path = index.upload("demo", "1.0")
    thief = Thief(index)
    name, forged = thief.forged_bin(path)
    assert rules(thief.ask(thief.candidate({name: forged}), index.witnesses[1])) == ["second-hash"]


def test_A13_a_witness_that_was_away_learns_from_the_other_before_it_signs(index: WitnessedIndex) -> None:
    """It never saw the upload; the thief tells it another story, under versions that are new to it."""
    away, other = index.witnesses
    away.stop(signal.SIGKILL)
    path = index.upload("demo", "1.0")
    away.start()
    thief = Thief(index)
    name, forged = thief.forged_bin(path, version=thief.forged_bin(path)[1].version - 1)
    for step in (0, 1, 5):
        forged.version += step
        verdicts = thief.ask(thief.candidate({name: forged}, step=step), away)
        assert rules(verdicts)[0] in ("second-hash", "second-content", "split-view", "rollback")
    assert away.status()["snapshot"] == other.status()["snapshot"]


def test_A12_timestamp_and_snapshot_keys_vouch_for_nothing_new(index: WitnessedIndex) -> None:
    path = index.upload("demo", "1.0")
    index.everybody(path)
    thief = Thief(index)
    name, forged = thief.forged_bin(path)
    candidate = thief.candidate({name: forged})
    stranger = sign_envelope(forged, [CryptoSigner.generate_ed25519()])
    candidate = Candidate(
        candidate.root_version,
        (),
        {name: stranger},
        candidate.snapshot,
        candidate.stamp,
        log_from=candidate.log_from,
    )
    assert rules(thief.ask(candidate)) == ["index-signature"] * 2
    thief.publish_alone(candidate)
    index.require_unchanged()


def test_A13_a_claims_role_is_not_exchanged_under_its_version(index: WitnessedIndex) -> None:
    """The thief has the host and the developer's key: the snapshot holds the role by its hash until a ceremony does."""
    developer = CryptoSigner.generate_ed25519()
    claim = Claim(ProjectName("demo"), (developer.public_key,), 1)
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)

    def role_of(file: NewTarget) -> bytes:
        listed = TargetFile(file.length, {"sha256": file.sha256}, file.path)
        return sign_envelope(plan_claim_role(claim, 1, {file.path: listed}, expires), [developer])

    path, number = index.propose("demo", "1.0", sign=role_of)
    index.sign()
    assert index.state_of(number) == "published"
    assert set(index.everybody(path).values()) == {index.published[path]}
    forged = role_of(NewTarget(path, len(EVIL), sha256_of(EVIL)))
    index.store.write({metadata_path(claim.role, 1): forged})
    index.require_unchanged()
    assert [index.witnesses[0].refusals(), index.witnesses[1].refusals()] == [[], []]


def test_A13_a_log_that_forgets_is_not_co_signed(index: WitnessedIndex) -> None:
    index.upload("demo", "1.0")
    thief = Thief(index)
    candidate = thief.candidate({})
    log = candidate.stamp.log
    assert log is not None
    shorter = type(log)(log.size - 1, log.root)
    stamp = type(candidate.stamp)(candidate.stamp.version, candidate.stamp.expires, shorter)
    forged = Candidate(candidate.root_version, (), {}, candidate.snapshot, stamp, log_from=candidate.log_from)
    assert rules(thief.ask(forged)) == ["log-inconsistent"] * 2


# --- B8, B12 ------------------------------------------------------------------------------------------------------


def test_B8_second_hash_is_refused_recorded_and_alarms(tmp_path: Path) -> None:
    with Receiver() as (url, alarms), witnessed_index(tmp_path / "world", extra=f'[alarm]\nwebhook = "{url}"') as index:
        path = index.upload("demo", "1.0")
        thief = Thief(index)
        name, forged = thief.forged_bin(path)
        assert rules(thief.ask(thief.candidate({name: forged}))) == ["second-hash"] * 2
        for witness in index.witnesses:
            newest = witness.refusals()[0]
            assert (newest["rule"], newest["subject"]) == ("second-hash", path)
            assert index.published[path] in newest["expected"]
        wait_until(lambda: len(alarms) == 2)
        assert {alarm["witness"] for alarm in alarms} == {"w1", "w2"}
        assert all(path in str(alarm["text"]) for alarm in alarms)


def test_B8_a_proposal_that_every_witness_refuses_goes_and_the_others_are_published(index: WitnessedIndex) -> None:
    """The signer was told to forget: its published past is exchanged for one in which the file has other bytes."""
    index.upload("other", "1.0")
    backup = index.folder.with_name("backup")
    copy_of(index.folder, backup)
    path = index.upload("demo", "1.0")
    shutil.rmtree(index.folder)
    backup.rename(index.folder)
    before = index.store.read(metadata_path(TIMESTAMP, None))
    _, number = index.propose("demo", "1.0", marker="evil")
    index.sign()
    assert index.state_of(number) != "published"
    assert index.store.read(metadata_path(TIMESTAMP, None)) == before
    assert {entry["rule"] for witness in index.witnesses for entry in witness.refusals()} <= {
        "second-content",
        "second-hash",
        "log-inconsistent",
    }
    assert path


def test_B12_split_view_two_witnesses_are_told_different_things_at_once(index: WitnessedIndex) -> None:
    index.upload("demo", "1.0")
    thief = Thief(index)
    path = TargetPath("packages/other/1.0/other-1.0-py3-none-any.whl")
    worlds = [thief.candidate(dict([thief.forged_bin(path, content)])) for content in (b"one", b"two")]
    found = ["", ""]

    def tell(number: int) -> None:
        found[number] = rules(thief.ask(worlds[number], index.witnesses[number]))[0]

    threads = [threading.Thread(target=tell, args=[number]) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "split-view" in found or "second-content" in found
    assert found.count("signed") < 2


def test_B12_split_view_one_after_the_other(index: WitnessedIndex) -> None:
    thief = Thief(index)
    path = TargetPath("packages/other/1.0/other-1.0-py3-none-any.whl")
    one, two = (thief.candidate(dict([thief.forged_bin(path, content)])) for content in (b"one", b"two"))
    first, second = index.witnesses
    assert rules(thief.ask(one, first)) == ["signed"]
    assert rules(thief.ask(two, second)) == ["split-view"]


def test_B12_with_two_of_three_witnesses_no_world_is_complete_twice(tmp_path: Path) -> None:
    """Quorums that share a witness: even with the witnesses cut off from one another."""
    with witnessed_index(tmp_path / "world", ("w1", "w2", "w3"), needed=2, peers=False) as index:
        path = index.upload("demo", "1.0")
        assert set(index.everybody(path).values()) == {index.published[path]}
        thief = Thief(index)
        other = TargetPath("packages/other/1.0/other-1.0-py3-none-any.whl")
        one, two = (thief.candidate(dict([thief.forged_bin(other, content)])) for content in (b"one", b"two"))
        yes_to_one = rules(thief.ask(one, *index.witnesses[:2])).count("signed")
        yes_to_two = rules(thief.ask(two, *index.witnesses[1:])).count("signed")
        assert (yes_to_one, yes_to_two) == (2, 1)


# --- B13: backups --------------------------------------------------------------------------------------------------


def test_B13_an_index_restored_from_a_backup_publishes_nothing(index: WitnessedIndex) -> None:
    old = index.upload("demo", "1.0")
    backup = index.folder.with_name("backup")
    copy_of(index.folder, backup)
    new = index.upload("demo", "1.1")
    index.everybody(new)
    shutil.rmtree(index.folder)
    backup.rename(index.folder)
    before = index.store.read(metadata_path(TIMESTAMP, None))
    _, number = index.propose("demo", "1.2")
    index.sign()
    assert index.state_of(number) == "pending"
    assert index.store.read(metadata_path(TIMESTAMP, None)) == before
    assert index.witnesses[0].refusals()[0]["rule"] in ("second-content", "log-inconsistent")
    assert old


def test_B13_a_witness_copied_or_restored_from_a_backup_does_not_start(index: WitnessedIndex) -> None:
    witness = index.witnesses[0]
    index.upload("demo", "1.0")
    witness.stop()
    backup = witness.folder.with_name("backup")
    copy_of(witness.folder, backup)
    shutil.rmtree(witness.folder)
    backup.rename(witness.folder)
    command = [sys.executable, "-m", "assay", "witness", "run", "--folder", str(witness.folder), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "database-restored" in ended.stderr


def test_B13_a_witness_whose_disk_went_back_in_time_finds_its_own_signature_and_signs_no_more(
    index: WitnessedIndex,
) -> None:
    """A snapshot of the whole machine: the file is the same file, with older bytes."""
    witness, other = index.witnesses
    other.stop()
    witness.stop()
    old = witness.place.database.read_bytes()
    witness.start()
    path = index.upload("demo", "1.0")
    witness.stop()
    for leftover in witness.place.database.parent.glob("witness.db-*"):
        leftover.unlink()
    witness.place.database.write_bytes(old)
    assert served_signature(index, witness)
    witness.start()
    wait_until(lambda: bool(witness.status()["halted"]))
    thief = Thief(index)
    assert rules(thief.ask(thief.candidate({}), witness)) == ["amnesia"]
    assert witness.refusals()[0]["rule"] == "amnesia"
    assert path


def served_signature(index: WitnessedIndex, witness: LiveWitness) -> bool:
    """Whether the timestamp that is served bears the witness's signature."""
    document = orjson.loads(index.store.read(metadata_path(TIMESTAMP, None)) or b"")
    return witness.public.keyids()["timestamp"] in [entry["keyid"] for entry in document["signatures"]]


# --- what must go on -------------------------------------------------------------------------------------------------


def test_one_witness_may_be_down_and_catches_up(index: WitnessedIndex) -> None:
    first, second = index.witnesses
    first.stop(signal.SIGKILL)
    for version in ("1.0", "1.1"):
        path = index.upload("demo", version)
        assert set(index.everybody(path).values()) == {index.published[path]}
    first.start()
    second.stop(signal.SIGKILL)
    path = index.upload("other", "1.0")
    assert set(index.everybody(path).values()) == {index.published[path]}
    second.start()
    path = index.upload("third", "1.0")
    wait_until(lambda: first.status()["snapshot"] == second.status()["snapshot"])
    index.require_unchanged()


def test_nothing_is_published_without_a_witness_and_everything_once_one_is_back(index: WitnessedIndex) -> None:
    for witness in index.witnesses:
        witness.stop()
    before = index.store.read(metadata_path(TIMESTAMP, None))
    path, number = index.propose("demo", "1.0")
    assert not index.sign()
    assert index.store.read(metadata_path(TIMESTAMP, None)) == before
    assert index.state_of(number) == "pending"
    index.witnesses[1].start()
    assert index.sign()
    assert index.state_of(number) == "published"
    assert set(index.everybody(path).values()) == {index.published[path]}


def test_an_index_that_crashed_after_the_cosignature_gets_the_same_one_again(index: WitnessedIndex) -> None:
    class Full(PublishedStore):
        def write(self, files: Mapping[str, bytes]) -> None:
            if any("snapshot" in name for name in files):
                raise OSError("no space left on device")
            super().write(files)

    path, number = index.propose("demo", "1.0")
    with pytest.raises(OSError, match="no space"):
        index.sign(store=Full(index.data.published))
    wait_until(lambda: all(witness.status()["snapshot"]["version"] == 2 for witness in index.witnesses))
    assert index.sign()
    assert index.state_of(number) == "published"
    assert set(index.everybody(path).values()) == {index.published[path]}
    assert all(witness.refusals() == [] for witness in index.witnesses)


def test_the_copies_of_a_witness_are_what_was_published(index: WitnessedIndex) -> None:
    path = index.upload("demo", "1.0")
    witness = index.witnesses[0]
    wait_until(lambda: witness.status()["snapshot"]["version"] == 2)
    listing = orjson.loads(witness.get("/copies/"))
    state = Thief(index).state
    name = state.succinct().get_role_for_target(path)
    assert state.snapshot is not None
    assert listing["roles"][name]["version"] == state.snapshot.meta[f"{name}.json"].version
    copy = parse_envelope(witness.get(f"/copies/{name}.json"), Targets, name)
    assert copy.signed.targets[path].hashes["sha256"] == index.published[path]
    assert witness.public.keyids()["bin"] in copy.signatures


def test_strangers_leave_no_trace_in_the_record(index: WitnessedIndex) -> None:
    index.upload("demo", "1.0")
    thief = Thief(index)
    candidate = thief.candidate({})
    stranger = CryptoSigner.generate_ed25519()
    document = orjson.loads(candidate.snapshot)
    document["signatures"] = [{"keyid": stranger.public_key.keyid, "sig": "00"}]
    forged = Candidate(candidate.root_version, (), {}, orjson.dumps(document), candidate.stamp)
    for verdict in thief.ask(forged):
        assert isinstance(verdict.error, WitnessRefused)
    assert all(witness.refusals() == [] for witness in index.witnesses)
