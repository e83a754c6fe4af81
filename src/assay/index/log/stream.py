"""A log that grows by more entries than memory holds: full tiles are written as they come, the edge at the end.

Invariant: what is written is what ``edge.append`` of all entries at once would write, without partial tiles in between.
"""

from collections.abc import Callable, Mapping
from typing import Final

from assay.trust.log.edge import Edge, append
from assay.trust.log.tiles import TILE_WIDTH, parse_tile_path

BATCH: Final = 16 * TILE_WIDTH


class LogStream:
    """Entries on their way into a log that has ``edge``. ``write`` takes files by their path below the log."""

    def __init__(self, edge: Edge, write: Callable[[Mapping[str, bytes]], None]) -> None:
        self.edge = edge
        self._write = write
        self._waiting: list[bytes] = []
        self._partial: dict[str, tuple[str, bytes]] = {}

    def add(self, entry: bytes) -> int:
        """Append ``entry``; returns its number."""
        self._waiting.append(entry)
        number = self.edge.size + len(self._waiting) - 1
        if len(self._waiting) >= BATCH:
            self._flush()
        return number

    def finish(self) -> Mapping[str, bytes]:
        """The partial tiles at the end, by path below the log; everything else is written."""
        self._flush()
        return dict(self._partial.values())

    def _flush(self) -> None:
        growth = append(self.edge, self._waiting)
        full: dict[str, bytes] = {}
        for path, data in growth.files.items():
            tile = parse_tile_path(path)
            if tile is None:
                raise RuntimeError(f"not a tile: {path}")
            if tile.is_full:
                full[path] = data
                self._partial.pop(tile.path, None)
            else:
                self._partial[tile.full.path] = path, data
        self._write(full)
        self.edge, self._waiting = growth.edge, []
