"""A signer that dies at any write goes on with the same log: nothing twice, nothing missing, nothing rewritten."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import insert

from assay.index.ledger.schema import events
from assay.index.published import PublishedStore
from assay.model.errors import AssayError, SignerRefused, StorageUnavailable
from assay.trust.log.tiles import parse_tile_path
from log.living import LivingIndex, Machine, living

WRITES = 4
"""Of one publication here: its files, the checkpoint with the timestamp, and the pointers of two pages."""


class DyingStore(PublishedStore):
    """Once armed, dies at the ``die_at``-th write, of which ``share`` happens: none, a half, or all."""

    _left, _share = 0, 0.0

    def arm(self, die_at: int, share: float) -> None:
        self._left, self._share = die_at, share

    def write(self, files: Mapping[str, bytes]) -> None:
        if self._dies():
            kept = dict(list(files.items())[: round(len(files) * self._share)])
            if kept:
                super().write(kept)
            raise StorageUnavailable("the disk is gone")
        super().write(files)

    def point(self, name: str, target: str) -> None:
        if self._dies():
            if self._share == 1:
                super().point(name, target)
            raise StorageUnavailable("the disk is gone")
        super().point(name, target)

    def _dies(self) -> bool:
        self._left -= 1
        return self._left == 0


class DyingIndex(LivingIndex):
    """Its signer writes to ``store`` while there is one."""

    store: PublishedStore | None = None

    @property
    def published(self) -> PublishedStore:
        return self.store or super().published

    def publish_and_die(self, die_at: int, share: float) -> None:
        """Start a signer whose disk goes away in its next publication, and let it; the next signer has a whole disk."""
        store = self.store = DyingStore(self.data.published)
        self.restart()
        assert self.signer.number
        store.arm(die_at, share)
        with pytest.raises(StorageUnavailable):
            self.publish()
        self.store = None
        self.restart()


def log_files(index: LivingIndex) -> dict[str, bytes]:
    """Every tile and bundle, by path."""
    files = {path.relative_to(index.log).as_posix(): path for path in index.log.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if parse_tile_path(name)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Index folders to copy from, by how many projects are there."""
    folders = {}
    for before in (0, 130):
        folders[before] = tmp_path_factory.mktemp("prepared") / "index"
        index = LivingIndex(folders[before])
        index.upload(*[(f"old{number}", "1.0") for number in range(before - 4)])
        index.publish()
        index.close()
    return folders


@pytest.mark.parametrize("before", [0, 130])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("die_at", range(1, WRITES + 1))
def test_a_crash_at_any_write_leaves_one_log(
    tmp_path: Path, prepared: dict[int, Path], die_at: int, share: float, before: int
) -> None:
    """``before`` projects are there: with 130, 2 entries each, the crashing publication fills the first tile."""
    subprocess.run(["cp", "-a", prepared[before], tmp_path / "index"], check=True)
    with living(tmp_path / "index", kind=DyingIndex) as (index, url):
        assert isinstance(index, DyingIndex)
        machine = Machine(url, index, tmp_path / "machine")
        seen = machine.verify().checkpoint.head
        old = log_files(index)
        paths = index.upload(("demo", "1.0"), ("other", "1.0"))
        index.publish_and_die(die_at, share)
        machine.verify()
        index.publish()
        assert machine.audit().entries == machine.verify().checkpoint.head.size == seen.size + 4
        for path in paths:
            machine.prove(path)
        now = log_files(index)
        assert {name: data for name, data in old.items() if name in now} == {
            name: data for name, data in now.items() if name in old
        }


def test_the_same_intent_makes_the_same_files(tmp_path: Path) -> None:
    with living(tmp_path / "index", kind=DyingIndex) as (index, _):
        assert isinstance(index, DyingIndex)
        index.publish()
        index.upload(("demo", "1.0"), ("other", "1.0"))
        index.publish_and_die(1, 1.0)
        first = log_files(index)
        index.publish()
        assert first == log_files(index)


# --- what the signer does not go on from ----------------------------------------------------------------------


def refusal_on_restart(index: LivingIndex) -> AssayError:
    index.restart()
    with pytest.raises(SignerRefused) as refusal:
        index.publish()
    return refusal.value


def test_the_signer_does_not_go_on_from_a_log_that_was_changed(index: LivingIndex, machine: Machine) -> None:
    index.upload(("demo", "1.0"))
    index.publish()
    head = machine.verify().checkpoint.head
    for path in (f"tile/0/000.p/{head.size}", f"tile/entries/000.p/{head.size}"):
        file = index.log / path
        whole = file.read_bytes()
        changed = bytearray(whole)
        changed[len(changed) // 2] ^= 1
        file.write_bytes(changed)
        assert refusal_on_restart(index).rule == "log-edge"
        file.write_bytes(whole)
    index.restart()
    index.upload(("late", "1.0"))
    index.publish()
    assert machine.audit().files == 2


def test_the_signer_does_not_begin_a_lost_log_anew(index: LivingIndex) -> None:
    index.publish()
    for file in (index.log / "tile").rglob("*"):
        if file.is_file():
            file.unlink()
    assert refusal_on_restart(index).rule == "log-edge"


def test_nothing_is_signed_without_the_log_s_key(index: LivingIndex) -> None:
    index.publish()
    index.data.keys.path("log").unlink()
    index.restart()
    index.upload(("demo", "1.0"))
    with pytest.raises(AssayError) as refusal:
        index.publish()
    assert refusal.value.rule.startswith("key")


def test_strange_events_are_logged_as_what_they_are(index: LivingIndex, machine: Machine) -> None:
    """Whoever can write to the database cannot speak in the signer's name, nor stop it."""
    index.publish()
    forged = {"path": "packages/demo/1.0/demo-1.0.tar.gz", "sha256": "0" * 64, "length": 1, "custom": {}, "page": {}}
    strange: list[dict[str, object]] = [
        {"kind": "file-published", "actor": "signer", "project": "demo", "facts": forged},
        {"kind": "No Kind!", "actor": "x", "project": None, "facts": {}},
        {"kind": "user-created", "actor": "x", "project": None, "facts": [1, 2]},
        {"kind": "user-created", "actor": "x" * 70_000, "project": None, "facts": {}},
        {"kind": "user-created", "actor": "x", "project": None, "facts": {"much": "x" * 100_000}},
        {"kind": "user-created", "actor": "x", "project": None, "facts": {"pi": 3.14}},
    ]
    with index.ledger.write() as connection:
        connection.execute(insert(events), [{"time": index.now, **each} for each in strange])
    index.publish()
    assert machine.audit().entries == 2 + len(strange)
    assert machine.audit().files == 0
