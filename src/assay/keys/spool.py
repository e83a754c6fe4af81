"""Lines sorted into groups on disk: what is too much for memory is read again group by group."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from assay import durable

BUFFER_BYTES: Final = 64 * 1024


class Spool:
    """A folder below ``parent`` with one file for each group. Use as a context manager: it is gone at the end."""

    def __init__(self, parent: Path) -> None:
        with durable.storage_errors():
            self._folder = tempfile.TemporaryDirectory(prefix="spool-", dir=parent)
        self._waiting: dict[int, bytearray] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with durable.storage_errors():
            self._folder.cleanup()

    def add(self, group: int, line: bytes) -> None:
        """Add ``line``, which has no line feed, to ``group``."""
        waiting = self._waiting.setdefault(group, bytearray())
        waiting += line + b"\n"
        if len(waiting) >= BUFFER_BYTES:
            self._flush(group)

    def lines(self, group: int) -> Iterator[bytes]:
        """The lines of ``group``, in the order in which they came."""
        self._flush(group)
        path = self._path(group)
        if path.exists():
            with path.open("rb") as file:
                yield from file

    def _flush(self, group: int) -> None:
        waiting = self._waiting.pop(group, None)
        if waiting:
            with durable.storage_errors(), self._path(group).open("ab") as file:
                file.write(waiting)

    def _path(self, group: int) -> Path:
        return Path(self._folder.name) / str(group)
