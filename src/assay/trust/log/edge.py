"""The right edge of a log: all that one must keep to make it grow, and what growing writes.

Invariant: equal edges and equal entries give equal files; growing writes no path that a smaller log has.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from assay.model.errors import VerificationFailed
from assay.trust.log.tiles import (
    ENTRIES,
    TILE_BITS,
    TILE_WIDTH,
    Tile,
    edge_tiles,
    frame_entry,
    split_entries,
    split_hashes,
)
from assay.trust.log.tree import EMPTY_ROOT, Hash, complete_root, fold, leaf_hash


@dataclass(frozen=True, slots=True)
class Edge:
    """The partial tiles of a log of ``size``: hashes by level, and the newest bundle's file."""

    size: int = 0
    levels: tuple[tuple[Hash, ...], ...] = ()
    bundle: bytes = b""

    @property
    def root(self) -> Hash:
        """The root of the whole tree."""
        parts: list[Hash] = []
        for level in reversed(self.levels):
            start = 0
            for bit in reversed(range(TILE_WIDTH.bit_length())):
                width = 1 << bit
                if len(level) & width:
                    parts.append(complete_root(level[start : start + width]))
                    start += width
        return fold(parts) if parts else EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Growth:
    """What appending does: the new ``edge``, and the ``files`` to write, by path below the log's URL."""

    edge: Edge
    files: Mapping[str, bytes]


def read_edge(size: int, files: Mapping[Tile, bytes]) -> Edge:
    """The edge of a log of ``size`` from the files of ``edge_tiles(size)``. Raises VerificationFailed.

    The bundle must be what the hashes speak of; whether the root is the right one, the caller compares.
    """
    bundle = b""
    levels: list[tuple[Hash, ...]] = [()] * _levels(size)
    for tile in edge_tiles(size):
        if tile.level == ENTRIES:
            bundle = files[tile]
        else:
            levels[tile.level] = split_hashes(tile, files[tile])
    leaves = levels[0] if levels else ()
    entries = split_entries(Tile(ENTRIES, size // TILE_WIDTH, len(leaves)), bundle)
    if tuple(map(leaf_hash, entries)) != leaves:
        raise VerificationFailed(
            "the newest entries are not those that the log's tree contains",
            subject=Tile(ENTRIES, size // TILE_WIDTH, len(leaves)).path if leaves else None,
            rule="log-entries",
        )
    return Edge(size, tuple(levels), bundle)


def append(edge: Edge, entries: Sequence[bytes]) -> Growth:
    """Append ``entries``, each of at most ``tiles.MAX_ENTRY_BYTES``."""
    files: dict[str, bytes] = {}
    if not entries:
        return Growth(edge, files)
    size = edge.size + len(entries)
    bundle = _append_bundles(edge, entries, files)
    levels: list[tuple[Hash, ...]] = []
    new: list[Hash] = list(map(leaf_hash, entries))
    for level in range(_levels(size)):
        kept = edge.levels[level] if level < len(edge.levels) else ()
        if new:
            first = (edge.size >> (level * TILE_BITS)) // TILE_WIDTH
            kept, new = _append_tiles(level, first, [*kept, *new], files)
        levels.append(kept)
    return Growth(Edge(size, tuple(levels), bundle), files)


def _append_tiles(
    level: int, first: int, hashes: Sequence[Hash], files: dict[str, bytes]
) -> tuple[tuple[Hash, ...], list[Hash]]:
    """Write the tiles of ``hashes``; returns what the last, partial one holds and the roots of the full ones."""
    complete: list[Hash] = []
    for number, start in enumerate(range(0, len(hashes), TILE_WIDTH)):
        part = hashes[start : start + TILE_WIDTH]
        files[Tile(level, first + number, len(part)).path] = b"".join(part)
        if len(part) == TILE_WIDTH:
            complete.append(complete_root(part))
    return tuple(hashes[len(complete) * TILE_WIDTH :]), complete


def _append_bundles(edge: Edge, entries: Iterable[bytes], files: dict[str, bytes]) -> bytes:
    index, width = divmod(edge.size, TILE_WIDTH)
    parts = [edge.bundle]
    for entry in entries:
        parts.append(frame_entry(entry))
        width += 1
        if width == TILE_WIDTH:
            files[Tile(ENTRIES, index).path] = b"".join(parts)
            index, width, parts = index + 1, 0, []
    bundle = b"".join(parts)
    if width:
        files[Tile(ENTRIES, index, width).path] = bundle
    return bundle


def _levels(size: int) -> int:
    """How many levels of tiles a log of ``size`` has."""
    return -(-size.bit_length() // TILE_BITS)
