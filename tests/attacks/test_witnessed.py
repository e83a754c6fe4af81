"""Rows A13, B8, B12, B13 against real witness processes: who owns the index asks them, and shows what it got."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.index.published import PublishedStore
from assay.keys.files import load_key_file
from assay.trust.envelope import sign_envelope
from assay.trust.layout import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TargetPath, metadata_path
from assay.trust.plan import plan_root
from attacks.conftest import Cell
from support.simulator import THIEF
from witness.live import Receiver, Thief, WitnessedIndex, copy_of, wait_until, witnessed_index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[WitnessedIndex]:
    with witnessed_index(tmp_path / "world") as running:
        yield running


def timestamp_of(index: WitnessedIndex) -> bytes | None:
    return PublishedStore(index.data.published).read(metadata_path(TIMESTAMP, None))


def test_A17_a_root_of_the_thiefs_is_shown_and_the_witnesses_cry_out(tmp_path: Path, cell: Cell) -> None:
    """Nothing is above root: clients follow. It is noticed by those who remember the one before."""
    with Receiver() as (url, alarms), witnessed_index(tmp_path / "world", extra=f'[alarm]\nwebhook = "{url}"') as index:
        path = index.upload("demo", "1.0")
        index.everybody(path)
        thief, now = Thief(index), datetime.now(UTC).replace(microsecond=0)
        own = load_key_file(index.data.keys.path(ROOT), None)
        keys = {role: [THIEF.public_key] for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
        root = plan_root(keys, {}, 2, now + timedelta(days=365))
        stamp = thief.state.timestamp
        assert stamp is not None
        stamp.version += 1
        shown = {metadata_path(ROOT, 2): sign_envelope(root, [own, THIEF])}
        index.store.write(shown | {metadata_path(TIMESTAMP, None): sign_envelope(stamp, [THIEF])})
        wait_until(lambda: {alarm["witness"] for alarm in alarms if alarm["rule"] == "new-root"} == {"w1", "w2"})
        assert all("IS NOT ASKED" in str(alarm["text"]) for alarm in alarms if alarm["rule"] == "new-root")
    cell("A17", "witnessed", "replaced, alarm")


@pytest.mark.parametrize("row", ["A13", "B8"])
def test_other_bytes_at_a_path_are_co_signed_by_nobody(row: str, index: WitnessedIndex, cell: Cell) -> None:
    path = index.upload("demo", "1.0")
    index.everybody(path)
    thief = Thief(index)
    name, forged = thief.forged_bin(path)
    candidate = thief.candidate({name: forged})
    assert [verdict.is_refusal for verdict in thief.ask(candidate)] == [True, True]
    if row == "A13":
        thief.publish_alone(candidate)
    found = index.everybody(path)
    expected = "refused" if row == "A13" else index.published[path]
    assert set(found.values()) == {expected}
    cell(row, "witnessed", "refused" if row == "A13" else "held")


def test_B12_two_worlds_are_not_both_co_signed(index: WitnessedIndex, cell: Cell) -> None:
    path = TargetPath("packages/other/1.0/other-1.0-py3-none-any.whl")
    thief = Thief(index)
    for content, witness, signed in ((b"one", index.witnesses[0], True), (b"two", index.witnesses[1], False)):
        name, role = thief.forged_bin(path, content)
        [verdict] = thief.ask(thief.candidate({name: role}), witness)
        assert (verdict.cosignatures is not None) == signed
    cell("B12", "witnessed", "refused")


def test_B13_an_index_restored_from_a_backup_publishes_nothing(index: WitnessedIndex, cell: Cell) -> None:
    backup = index.folder.with_name("backup")
    copy_of(index.folder, backup)
    path = index.upload("demo", "1.0")
    index.everybody(path)
    index.folder.rename(index.folder.with_name("lost"))
    backup.rename(index.folder)
    before = timestamp_of(index)
    index.propose("demo", "2.0")
    assert not index.sign()
    assert timestamp_of(index) == before
    assert {name: found for name, found in index.everybody(path).items() if found not in ("refused", "none")} == {}
    cell("B13", "witnessed", "refused")
