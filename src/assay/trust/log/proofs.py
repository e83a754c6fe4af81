"""Proofs out of tiles: which tiles a proof needs, and the proof from them.

Nothing here trusts a tile: a proof is worth what ``tree.verify_inclusion`` or ``tree.verify_consistency`` says of it.
Ranges are half-open, of entries; each is a subtree of the tree that the proof is about.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from assay.trust.log.tiles import TILE_BITS, TILE_WIDTH, Tile, split_hashes, tile_of
from assay.trust.log.tree import EMPTY_ROOT, Hash, complete_root, fold

Range = tuple[int, int]


def inclusion_ranges(index: int, size: int) -> tuple[Range, ...]:
    """What the proof that entry ``index`` is in the tree of ``size`` consists of. RFC 6962 section 2.1.1."""
    start, end = 0, size
    found: list[Range] = []
    while end - start > 1:
        middle = start + _left_width(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return tuple(reversed(found))


def consistency_ranges(old_size: int, size: int) -> tuple[Range, ...]:
    """What the proof that the tree of ``old_size`` begins the tree of ``size`` consists of. RFC 6962 section 2.1.2."""
    if old_size == 0:
        return ()
    start, end, found = 0, size, list[Range]()
    while old_size != end:
        middle = start + _left_width(end - start)
        if old_size <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    if start:
        found.append((start, end))
    return tuple(reversed(found))


def tiles_needed(ranges: Iterable[Range], size: int) -> tuple[Tile, ...]:
    """The tiles, as they are in a log of ``size``, that the hashes of ``ranges`` come from."""
    found = {
        tile_of(level, first // TILE_WIDTH, size)
        for start, end in ranges
        for level, first, _ in _complete_subtrees(start, end)
    }
    return tuple(sorted(found))


def prove(ranges: Iterable[Range], size: int, tiles: Mapping[Tile, bytes]) -> tuple[Hash, ...]:
    """The hash of each range, from the files of ``tiles_needed(ranges, size)``. Raises VerificationFailed."""
    hashes = {tile: split_hashes(tile, data) for tile, data in tiles.items()}
    return tuple(_hash_of(start, end, size, hashes) for start, end in ranges)


def root_range(size: int) -> tuple[Range, ...]:
    """The range whose hash is the root; none for the empty tree."""
    return ((0, size),) if size else ()


def root_from(size: int, tiles: Mapping[Tile, bytes]) -> Hash:
    """The root of a log of ``size``, from the files of ``tiles_needed(root_range(size), size)``."""
    return prove(root_range(size), size, tiles)[0] if size else EMPTY_ROOT


def _hash_of(start: int, end: int, size: int, tiles: Mapping[Tile, Sequence[Hash]]) -> Hash:
    parts = []
    for level, first, count in _complete_subtrees(start, end):
        hashes = tiles[tile_of(level, first // TILE_WIDTH, size)]
        offset = first % TILE_WIDTH
        parts.append(complete_root(hashes[offset : offset + count]))
    return fold(parts)


def _complete_subtrees(start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The complete subtrees of a range, largest first, each as (tile level, number of its first hash, hashes)."""
    while start < end:
        height = (end - start).bit_length() - 1
        level = height // TILE_BITS
        yield level, start >> (TILE_BITS * level), 1 << (height % TILE_BITS)
        start += 1 << height


def _left_width(width: int) -> int:
    """The largest power of two below ``width``, which is 2 or more."""
    return 1 << ((width - 1).bit_length() - 1)
