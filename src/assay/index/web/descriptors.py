"""Descriptors of files that are asked for often, kept open: bounded, and never of another file than the path names now.

Invariant: a descriptor is read only while ``stat`` of its path reports the very file that was opened, so a blob that
was taken away, or put back by a repair, is seen at once.
"""

import os
from collections import OrderedDict
from typing import Final

MAX_OPEN: Final = 256
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class OpenFiles:
    """The newest files, least recently used out first."""

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._open: OrderedDict[str, tuple[int, tuple[int, int, int]]] = OrderedDict()

    def read(self, path: str, size: int) -> bytearray | None:
        """The file at ``path`` if it has ``size`` bytes that need not be waited for, else None."""
        try:
            stamp = _stamp(os.stat(path))  # noqa: PTH116 - the hot path
            known = self._open.get(path)
            if known is None or known[1] != stamp:
                known = self._opened(path)
            self._open.move_to_end(path)
            data = bytearray(size)
            descriptor, (_inode, _time, length) = known
            if length == size and _NOWAIT and os.preadv(descriptor, [data], 0, _NOWAIT) == size:
                return data
        except OSError:  # gone, or not in the page cache
            pass
        return None

    def close(self) -> None:
        """Close all."""
        while self._open:
            os.close(self._open.popitem()[1][0])

    def _opened(self, path: str) -> tuple[int, tuple[int, int, int]]:
        replaced = self._open.pop(path, None)
        if replaced is not None:
            os.close(replaced[0])
        elif len(self._open) >= self._max_open:
            os.close(self._open.popitem(last=False)[1][0])
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        opened = descriptor, _stamp(os.fstat(descriptor))
        self._open[path] = opened
        return opened


def is_in_memory(descriptor: int, offset: int) -> bool:
    """Whether the byte at ``offset``, which must be inside the file, is in the page cache; False where nobody knows."""
    if not _NOWAIT:
        return False
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, _NOWAIT) == 1
    except OSError:
        return False


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size
