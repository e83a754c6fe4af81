"""Rows A13, B8, B12, B13 against real witness processes: who owns the index asks them, and shows what it got."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.index.published import PublishedStore
from assay.trust.layout import TIMESTAMP, TargetPath, metadata_path
from attacks.conftest import Cell
from witness.live import Thief, WitnessedIndex, copy_of, witnessed_index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[WitnessedIndex]:
    with witnessed_index(tmp_path / "world") as running:
        yield running


def timestamp_of(index: WitnessedIndex) -> bytes | None:
    return PublishedStore(index.data.published).read(metadata_path(TIMESTAMP, None))


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
