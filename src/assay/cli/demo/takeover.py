"""The thief who has the whole index: files, blobs and every online key. Whatever is forged here is signed correctly."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from assay.cli.demo.attacks import Loot
from assay.cli.demo.distributions import build_wheel
from assay.cli.demo.tampering import Overwritten, Replaced
from assay.index.config import DataFolder
from assay.index.published import TIMESTAMP_NAME
from assay.keys.files import load_key_file
from assay.model.digests import sha256_of
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import BIN_PREFIX, BINS, SNAPSHOT, TIMESTAMP, Lifetimes, TargetPath, hashed_path, metadata_path
from assay.trust.plan import Changes, NewTarget, group_by_bin, plan_bin, plan_snapshot, plan_timestamp, succinct_roles

Body = TypeVar("Body", Root, Timestamp, Snapshot, Targets)

LIFETIMES: Final = Lifetimes()


@contextmanager
def taken_over(loot: Loot) -> Iterator[None]:
    """The index vouches for the evil wheel, in its page and in its bins, with its own keys."""
    pointer, _ = loot.page()
    page = loot.swapped_page()
    forged = _Forger(loot, datetime.now(UTC)).forge(TargetPath(pointer), page)
    timestamp = forged.pop(TIMESTAMP_NAME)
    fresh = {loot.published(name): data for name, data in forged.items()}
    with (
        Overwritten({**fresh, loot.blob(loot.evil_sha256): build_wheel(loot.evil)}),
        Replaced({loot.published(TIMESTAMP_NAME): timestamp, loot.published(pointer): page}),
    ):
        yield


@dataclass(frozen=True, slots=True)
class _Forger:
    """Signs with the online keys of a data folder, on top of what is published there."""

    loot: Loot
    now: datetime

    def forge(self, pointer: TargetPath, page: bytes) -> dict[str, bytes]:
        """Name -> bytes of every file that vouches for ``page`` and for the evil wheel."""
        evil = {pointer: page, self.loot.target: build_wheel(self.loot.evil)}
        targets = tuple(NewTarget(path, len(data), sha256_of(data)) for path, data in evil.items())
        bins = self._current(Targets, BINS, self._version_of(BINS))
        touched = group_by_bin(Changes(targets), succinct_roles(bins))
        roles = {role: self._next_bin(role, changes) for role, changes in touched.items()}
        files = {metadata_path(role, body.version): self._sign(body, BIN_PREFIX) for role, body in roles.items()}
        versions = {role: body.version for role, body in roles.items()}
        snapshot = plan_snapshot(self._snapshot(), versions, self.now, LIFETIMES)
        signed = self._sign(snapshot, SNAPSHOT)
        timestamp = plan_timestamp(self._timestamp(), signed, snapshot.version, self.now, LIFETIMES)
        return files | {
            metadata_path(SNAPSHOT, snapshot.version): signed,
            TIMESTAMP_NAME: self._sign(timestamp, TIMESTAMP),
            hashed_path(pointer, sha256_of(page)): page,
        }

    def _next_bin(self, role: str, changes: Changes) -> Targets:
        """The bin's next version; what it said of the same paths before is dropped, or planning would refuse."""
        body = self._current(Targets, role, self._version_of(role))
        for path in changes.paths():
            body.targets.pop(path, None)
        return plan_bin(body, changes, self.now, LIFETIMES)

    def _timestamp(self) -> Timestamp:
        return parse_envelope(self.loot.published(TIMESTAMP_NAME).read_bytes(), Timestamp, TIMESTAMP).signed

    def _snapshot(self) -> Snapshot:
        return self._current(Snapshot, SNAPSHOT, self._timestamp().snapshot_meta.version)

    def _version_of(self, role: str) -> int:
        return self._snapshot().meta[f"{role}.json"].version

    def _current(self, kind: type[Body], role: str, version: int) -> Body:
        data = self.loot.published(metadata_path(role, version)).read_bytes()
        return parse_envelope(data, kind, role).signed

    def _sign(self, body: Timestamp | Snapshot | Targets, role: str) -> bytes:
        key = load_key_file(DataFolder(self.loot.data).keys.path(role), passphrase=None)
        return sign_envelope(body, [key])
