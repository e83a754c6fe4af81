"""What this machine trusts of one index, on disk: metadata that verified, and nothing else.

Root, timestamp and snapshot are durable, so that a crash cannot undo the protection against rollback. Delegated roles
are a cache: whole or absent, verified again at each use. One process writes at a time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from assay import durable
from assay.model.errors import NotTrusted, StorageUnavailable
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP

_DURABLE = frozenset({ROOT, TIMESTAMP, SNAPSHOT})
_CLOCK_FILE = "clock"


class MetadataStore:
    """A folder with ``<role>.json`` for each trusted role."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, role: str) -> Path:
        """The file of ``role``; unsafe characters of the name are percent-encoded."""
        return self.folder / f"{quote(role, safe='')}.json"

    def read(self, role: str) -> bytes | None:
        """The kept file of ``role``, or None. Raises StorageUnavailable."""
        return durable.read_file(self.path(role))

    def read_root(self) -> bytes:
        """The trusted root. Raises NotTrusted when there is none."""
        data = self.read(ROOT)
        if data is None:
            raise NotTrusted(
                "no root is trusted for this index",
                subject=str(self.folder),
                next_step="assay trust add URL --fingerprint sha256:... (the operator tells you the fingerprint)",
            )
        return data

    def write(self, role: str, data: bytes) -> None:
        """Keep ``data``, which the caller verified."""
        if role in _DURABLE:
            durable.write_file(self.path(role), data)
        else:
            durable.make_folder(self.folder)
            durable.replace_file(self.path(role), data)

    def clock_floor(self) -> datetime | None:
        """The latest moment at which a refresh succeeded here: the clock cannot honestly be before it."""
        kept = durable.read_file(self.folder / _CLOCK_FILE)
        try:
            return datetime.fromisoformat(kept.decode("ascii")) if kept is not None else None
        except ValueError:
            return None

    def raise_clock_floor(self, now: datetime) -> None:
        """Remember ``now``, unless a later moment is remembered."""
        floor = self.clock_floor()
        if floor is None or now > floor:
            durable.write_file(self.folder / _CLOCK_FILE, now.astimezone(UTC).isoformat().encode("ascii"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from refreshing the same store meanwhile."""
        durable.make_folder(self.folder)
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageUnavailable(f"cannot lock: {error.strerror}", subject=str(self.folder)) from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)


try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
