"""The attacks of the demo, carried out on the data folder of a running index, and undone afterwards.

Each attacker has what a break-in gives: the blob store, the published files, the database. Who has the online
keys, too, is played in ``takeover``.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay.cli.demo.distributions import Release, build_wheel
from assay.cli.demo.tampering import Overwritten, Replaced
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.index.published import TIMESTAMP_NAME
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import OperatorError
from assay.model.names import parse_project_name
from assay.trust.layout import TargetPath, hashed_path, page_target

SIGNER_TIMEOUT_S: Final = 20


@dataclass(frozen=True, slots=True)
class Attack:
    """``plain``: how plain pip's outcome begins. ``code``: exit code of every Assay client; 0: it has no effect.

    ``names``: what the refusal must name. ``stock_refuses``: whether stock ngclient must refuse, too.
    """

    title: str
    story: str
    carry_out: Callable[[], AbstractContextManager[object]]
    plain: str
    code: int
    names: tuple[str, ...] = ()
    stock_refuses: bool = True


@dataclass(frozen=True, slots=True)
class Loot:
    """An index's data folder in an attacker's hands, with a wheel of theirs in the place of a genuine one."""

    data: Path
    genuine: Release
    evil: Release

    @property
    def filename(self) -> str:
        """The wheel that is attacked."""
        return self.genuine.wheel_name

    @property
    def target(self) -> TargetPath:
        """Its target path."""
        return TargetPath(f"packages/{self.genuine.name}/{self.genuine.version}/{self.filename}")

    @property
    def genuine_sha256(self) -> Sha256:
        """What was published."""
        return sha256_of(build_wheel(self.genuine))

    @property
    def evil_sha256(self) -> Sha256:
        """What the attacker puts in its place."""
        return sha256_of(build_wheel(self.evil))

    def published(self, name: str) -> Path:
        """A published file by its name."""
        return DataFolder(self.data).published / name

    def blob(self, sha256: Sha256) -> Path:
        """A blob by its digest."""
        return BlobStore(DataFolder(self.data).blobs).path(sha256)

    def page(self) -> tuple[str, bytes]:
        """Name and bytes of the newest published page."""
        name = page_target(parse_project_name(self.genuine.name))
        return name, self.published(name).read_bytes()

    def swapped_page(self) -> bytes:
        """The newest page, but with the evil wheel's hash and size under the genuine one's name."""
        page = json.loads(self.page()[1])
        for file in page["files"]:
            if file["filename"] == self.filename:
                file["hashes"], file["size"] = {"sha256": self.evil_sha256}, len(build_wheel(self.evil))
        return json.dumps(page, separators=(",", ":")).encode()

    # --- the attacks ------------------------------------------------------------------------------------------

    def flip_byte(self) -> AbstractContextManager[object]:
        """One bit of a module inside the stored wheel."""
        path = self.blob(self.genuine_sha256)
        data = bytearray(path.read_bytes())
        data[data.index(next(iter(self.genuine.modules.values())))] ^= 1
        return Overwritten({path: bytes(data)})

    def swap_page(self) -> AbstractContextManager[object]:
        """The page, under both its names, says that the evil wheel is the right one; the evil blob lies beside it."""
        name, data = self.page()
        swapped = self.swapped_page()
        hashed = hashed_path(TargetPath(name), sha256_of(data))
        return Overwritten(
            {
                self.published(hashed): swapped,
                self.published(name): swapped,
                self.blob(self.evil_sha256): build_wheel(self.evil),
            }
        )

    @contextmanager
    def rewrite_database(self) -> Iterator[None]:
        """The file's row names the evil wheel, and the outbox asks the signer to publish it under the same name."""
        with Overwritten({self.blob(self.evil_sha256): build_wheel(self.evil)}):
            self._rewrite_row(self.evil_sha256)
            try:
                self._propose_evil()
                _wait_until(lambda: self.last_answer()[0] != "pending")
                yield
            finally:
                self._rewrite_row(self.genuine_sha256)

    def last_answer(self) -> tuple[str, str | None]:
        """What the signer said of the newest proposal: its state and the reason."""
        with closing(self._database()) as database:
            state, reason = database.execute("SELECT state, reason FROM outbox ORDER BY seq DESC").fetchone()
            return str(state), reason

    def _rewrite_row(self, sha256: Sha256) -> None:
        with closing(self._database()) as database, database:
            database.execute("UPDATE files SET sha256 = ? WHERE filename = ?", (sha256, self.filename))

    def _propose_evil(self) -> None:
        """A copy of the genuine proposal that names the evil wheel's bytes."""
        with closing(self._database()) as database, database:
            query = "SELECT project, proposal FROM outbox WHERE proposal LIKE ?"
            project, text = database.execute(query, (f"%{self.filename}%",)).fetchone()
            proposal = json.loads(text)
            for file in proposal["files"]:
                file["sha256"], file["size"] = self.evil_sha256, len(build_wheel(self.evil))
            values = (project, json.dumps(proposal))
            database.execute("INSERT INTO outbox (project, proposal, state) VALUES (?, ?, 'pending')", values)

    def roll_back(self, timestamp: bytes, page: bytes) -> AbstractContextManager[object]:
        """An older ``timestamp.json`` and the page that belonged to it: once signed, and genuine."""
        name, _ = self.page()
        return Replaced({self.published(TIMESTAMP_NAME): timestamp, self.published(name): page})

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(DataFolder(self.data).ledger_file, timeout=SIGNER_TIMEOUT_S)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SIGNER_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise OperatorError("the signer did not answer in time", rule="demo-timeout")
        time.sleep(0.05)
