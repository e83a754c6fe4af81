"""Values made from published files, kept in memory: bounded, and never staler than one ``stat``.

Invariants: a cached value was made from the very file whose inode, time and length ``stat`` reports now; what all
values cost together stays under the cap; a value that many requests want at once is made once. Published names are
replaced by rename, so a file that was opened is whole.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from assay.model.errors import StorageUnavailable

K = TypeVar("K")
V = TypeVar("V")
_Stamp = tuple[int, int, int]
_Key = tuple[str, str]

_ENTRY_OVERHEAD_BYTES: Final = 1_000
_REMEMBERED_PATHS: Final = 8_192


def remember_paths(path_of: Callable[[K], Path]) -> Callable[[K], str]:
    """``path_of`` as text, remembering its newest answers: joining paths is slower than looking at the file."""
    return lru_cache(maxsize=_REMEMBERED_PATHS)(lambda name: os.fspath(path_of(name)))


@dataclass(frozen=True, slots=True)
class Kind(Generic[V]):
    """A way to make a value of a file's bytes. ``make`` runs in a thread; ``cost``: the value's size in bytes.

    ``name`` tells the kinds of one cache apart.
    """

    name: str
    make: Callable[[bytes], V]
    cost: Callable[[V], int]


@dataclass(frozen=True, slots=True)
class _Entry:
    stamp: _Stamp
    value: Any
    cost: int


@dataclass(slots=True)
class PublishedCache:
    """Values of published files, least recently used out first; together they cost at most ``max_bytes``."""

    max_bytes: int
    _entries: OrderedDict[_Key, _Entry] = field(default_factory=OrderedDict)
    _under_way: dict[tuple[_Key, _Stamp], "asyncio.Task[_Entry | None]"] = field(default_factory=dict)
    _cost: int = 0

    @property
    def cost_bytes(self) -> int:
        """What all values cost together."""
        return self._cost

    async def get(self, path: str, kind: Kind[V]) -> V | None:
        """What ``kind`` makes of the file at ``path`` as it is now; None where there is no file.

        Raises StorageUnavailable where it cannot be read, and whatever ``kind.make`` raises.
        """
        stamp = _stamp_of(path)
        if stamp is None:
            return None
        key = (path, kind.name)
        entry = self._entries.get(key)
        if entry is not None and entry.stamp == stamp:
            self._entries.move_to_end(key)
        else:
            entry = await self._make_once(key, stamp, path, kind)
        value: V | None = entry.value if entry is not None else None
        return value

    def peek(self, path: str, kind: Kind[V]) -> V | None:
        """What ``get`` would give, if it is here already and still that of the file; else None. Never waits."""
        key = (path, kind.name)
        entry = self._entries.get(key)
        if entry is None or entry.stamp != _stamp_of(path):
            return None
        self._entries.move_to_end(key)
        value: V = entry.value
        return value

    async def _make_once(self, key: _Key, stamp: _Stamp, path: str, kind: Kind[V]) -> _Entry | None:
        task = self._under_way.get((key, stamp))
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(_make, path, kind))
            self._under_way[key, stamp] = task
            task.add_done_callback(lambda _: self._under_way.pop((key, stamp)))
        entry = await asyncio.shield(task)
        if entry is not None:
            self._keep(key, entry)
        return entry

    def _keep(self, key: _Key, entry: _Entry) -> None:
        replaced = self._entries.pop(key, None)
        self._cost -= replaced.cost if replaced else 0
        if entry.cost > self.max_bytes // 2:
            return
        self._entries[key] = entry
        self._cost += entry.cost
        while self._cost > self.max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._cost -= dropped.cost


def _stamp_of(path: str) -> _Stamp | None:
    try:
        return _stamp(os.stat(path))  # noqa: PTH116 - the hot path
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailable("a published file cannot be read", found=str(error)) from error


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _make(path: str, kind: Kind[V]) -> _Entry | None:
    """Read the file and make its value; the stamp is that of the file that was read."""
    try:
        with Path(path).open("rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailable("a published file cannot be read", found=str(error)) from error
    value = kind.make(data)
    return _Entry(stamp, value, kind.cost(value) + _ENTRY_OVERHEAD_BYTES)
