"""Room that is kept on the disk so that a full one cannot stop the timestamp: an index that is full still is fresh."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from assay.model.errors import StorageUnavailable

T = TypeVar("T")

log = logging.getLogger(__name__)

RESERVED_BYTES: Final = 8_000_000
"""A snapshot, a timestamp and the ledger's log of one publication, several times."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """A file of real blocks that is given up when the signer finds no room."""

    path: Path
    size: int = RESERVED_BYTES

    def ensure(self) -> bool:
        """Take the room, if it is not taken. False: there is none."""
        if self.path.exists():
            return True
        partial = self.path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size)
        except OSError:
            partial.unlink(missing_ok=True)
            return False
        partial.replace(self.path)
        return True

    def with_room(self, work: Callable[[], T]) -> T:
        """What ``work`` returns; when it finds no room, it is done once more without the reserve."""
        try:
            return work()
        except StorageUnavailable:
            if not self.give_up():
                raise
            log.exception("no room: what was reserved for the timestamp is given up; make room now")
            return work()

    def give_up(self) -> bool:
        """Make the room free. False: it was not taken."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True
