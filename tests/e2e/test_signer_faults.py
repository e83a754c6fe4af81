"""The signer dies before, in the middle of and after every write of a publication; its successor finishes it.

Each case starts from a copy of one data folder. Readers see the old publication or the new one at every moment, and the
successor publishes exactly the bytes that an undisturbed signer publishes (invariants 3, 4, 5, 6 and 9).
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import Connection

from assay.formats.pages import parse_page_json
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.index.ledger import Ledger
from assay.index.published import PublishedStore
from assay.model.digests import sha256_of
from assay.model.errors import Fenced
from assay.trust.layout import page_target
from client.small_distributions import build_wheel
from index.ledger_index import DEMO, LedgerIndex, wheel_name

Mode = Literal["before", "half", "after"]
MODES: tuple[Mode, ...] = ("before", "half", "after")


class Died(Exception):
    """The signer's process is gone."""


@dataclass
class Fuse:
    """Counts the writes of a signer; at number ``at`` it dies. 0: never."""

    at: int = 0
    mode: Mode = "before"
    writes: int = 0

    def next(self) -> Mode | None:
        """Count one more write; how the signer dies at it, if it does."""
        self.writes += 1
        return self.mode if self.writes == self.at else None


class MortalStore(PublishedStore):
    """The published files, as long as the fuse lasts."""

    def __init__(self, root: Path, fuse: Fuse) -> None:
        super().__init__(root)
        self._fuse = fuse

    def write(self, files: Mapping[str, bytes]) -> None:
        dying = self._fuse.next()
        share = {None: len(files), "before": 0, "half": len(files) // 2, "after": len(files)}[dying]
        if share:
            super().write(dict(list(files.items())[:share]))
        if dying:
            raise Died

    def point(self, name: str, target: str) -> None:
        dying = self._fuse.next()
        if dying in (None, "after"):
            super().point(name, target)
        if dying:
            raise Died


class MortalLedger(Ledger):
    """The ledger, as long as the fuse lasts. A transaction is committed or not; there is no half of it."""

    fuse = Fuse()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        dying = self.fuse.next()
        if dying == "before":
            raise Died
        with super().write() as connection:
            yield connection
            if dying == "half":
                raise Died
        if dying == "after":
            raise Died


@dataclass
class MortalIndex(LedgerIndex):
    """An index whose signer can be killed at any of its writes."""

    def copy(self, folder: Path) -> "MortalIndex":
        """The same index in another folder."""
        shutil.copytree(self.folder, folder)
        twin = copy(self)
        twin.data = DataFolder(folder)
        twin.ledger = Ledger.open(twin.data.ledger_file)
        twin.blobs, twin.published = BlobStore(twin.data.blobs), PublishedStore(twin.data.published)
        twin.admission = replace(self.admission, ledger=twin.ledger, blobs=twin.blobs)
        return twin

    def killed_at(self, number: int, mode: Mode) -> int:
        """Run a signer that dies at its write ``number`` (0: never); returns how many writes it began."""
        fuse = Fuse(number, mode)
        whole = self.ledger, self.published
        mortal = MortalLedger.open(self.data.ledger_file)
        assert isinstance(mortal, MortalLedger)
        mortal.fuse = fuse
        self.ledger, self.published = mortal, MortalStore(self.data.published, fuse)
        try:
            self.publisher = self.new_publisher()
            self.sign()
        except Died:
            assert number
        finally:
            mortal.close()
            self.ledger, self.published = whole
        return fuse.writes

    def succeed(self) -> None:
        """The next signer starts and does what there is to do."""
        self.publisher = self.new_publisher()
        self.sign()

    def files(self) -> dict[str, bytes]:
        """Everything that readers may fetch."""
        root = self.data.published
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def shown(self) -> list[str]:
        """The versions on the page that plain installers get."""
        page = parse_page_json((self.data.published / page_target(DEMO)).read_bytes())
        return [file.filename.split("-")[1] for file in page.files]

    def sees(self, version: str) -> Literal["nothing", "whole"]:
        """What readers see of a wheel: page, pointer and target agree, and its bytes are there. Raises otherwise."""
        state = self.state()
        page = state.page(DEMO)
        entry = page.file(wheel_name(DEMO, version)) if page else None
        vouched = self.vouched(DEMO, version)
        if entry is None:
            assert vouched is None
            return "nothing"
        data = build_wheel(DEMO, version)
        assert (entry.sha256, vouched) == (sha256_of(data), sha256_of(data))
        assert self.blobs.path(entry.sha256).read_bytes() == data
        return "whole"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> MortalIndex:
    """demo 1.0 is published; demo 1.1 and a wheel of another project are admitted and wait."""
    index = MortalIndex(tmp_path_factory.mktemp("prepared") / "index")
    alice = index.user("alice")
    index.publish(DEMO, "1.0", alice)
    index.later(minutes=1)
    for project, version in ((DEMO, "1.1"), ("other", "1.0")):
        index.admit(build_wheel(project, version), wheel_name(project, version), alice)
    index.ledger.close()
    return index


def test_a_signer_killed_at_any_write_is_succeeded_by_one_that_finishes(prepared: MortalIndex, tmp_path: Path) -> None:
    undisturbed = prepared.copy(tmp_path / "undisturbed")
    writes = undisturbed.killed_at(0, "before")
    wanted = undisturbed.files()
    assert undisturbed.sees("1.1") == "whole"
    assert writes >= 5
    for number in range(1, writes + 1):
        for mode in MODES:
            index = prepared.copy(tmp_path / f"{number}-{mode}")
            index.killed_at(number, mode)
            assert index.sees("1.0") == "whole"
            assert index.shown() in (["1.0"], ["1.0", "1.1"])
            assert index.sees("1.1") in ("nothing", "whole")
            index.succeed()
            assert (index.sees("1.1"), index.shown()) == ("whole", ["1.0", "1.1"])
            assert index.files() == wanted, f"write {number}, {mode}"


def test_a_signer_that_dies_again_and_again_gets_there(prepared: MortalIndex, tmp_path: Path) -> None:
    index = prepared.copy(tmp_path / "unlucky")
    for number in range(1, 20):
        index.killed_at(number, MODES[number % 3])
    index.succeed()
    assert index.sees("1.1") == "whole"


def test_two_signers_at_once_are_one(prepared: MortalIndex, tmp_path: Path) -> None:
    """The older one stops at its next write; what the newer one publishes stands."""
    index = prepared.copy(tmp_path / "twins")
    older = index.new_publisher()
    index.succeed()
    alice = index.user("alice")
    index.admit(build_wheel(DEMO, "1.2"), wheel_name(DEMO, "1.2"), alice)
    with pytest.raises(Fenced):
        older.run_once(index.now)
    assert (index.sees("1.1"), index.sees("1.2")) == ("whole", "nothing")
    index.succeed()
    assert index.sees("1.2") == "whole"
