"""Where a log's tree lies: tiles of 256 hashes and bundles of 256 entries, as static files (C2SP tlog-tiles).

Invariants: a path names its content for ever: a full tile is never written again, a partial one has its width in its
name; one path has one spelling.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assay.model.errors import VerificationFailed
from assay.trust.log.tree import HASH_BYTES, Hash

TILE_BITS = 8
TILE_WIDTH = 1 << TILE_BITS
MAX_ENTRY_BYTES = 0xFFFF
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
ENTRIES = -1
"""The level of entry bundles, beside the tiles of level 0."""

_LEVEL = re.compile(r"(entries|[0-9]|[1-5][0-9]|6[0-3])\Z")
_NUMBER = re.compile(r"(?:x[0-9]{3}/){0,6}[0-9]{3}\Z")
_WIDTH = re.compile(r"[1-9][0-9]{0,2}\Z")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The ``index``-th run of 256 hashes at ``level`` (``ENTRIES``: of entries), ``width`` of which exist."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def is_full(self) -> bool:
        """Whether nothing can be added."""
        return self.width == TILE_WIDTH

    @property
    def full(self) -> "Tile":
        """The tile that takes this one's place once 256 are there."""
        return Tile(self.level, self.index)

    @property
    def partials(self) -> str:
        """The folder of this tile's partial versions."""
        return f"{self.full.path}.p"

    @property
    def path(self) -> str:
        """``tile/<level>/<number>[.p/<width>]``, below the log's URL."""
        digits = f"{self.index:03d}"
        digits = digits.rjust(-(-len(digits) // 3) * 3, "0")
        groups = [digits[start : start + 3] for start in range(0, len(digits), 3)]
        number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{number}" + ("" if self.is_full else f".p/{self.width}")


def parse_tile_path(path: str) -> Tile | None:
    """The tile that ``path`` names, None where it is not the one spelling of any."""
    head, _, rest = path.partition("/")
    level, _, number = rest.partition("/")
    number, dot, width = number.partition(".p/")
    if head != "tile" or not _LEVEL.match(level) or not _NUMBER.match(number):
        return None
    if dot and not _WIDTH.match(width):
        return None
    index = int(number.replace("x", "").replace("/", ""))
    tile = Tile(ENTRIES if level == "entries" else int(level), index, int(width) if dot else TILE_WIDTH)
    return tile if tile.path == path else None


def tile_of(level: int, index: int, size: int) -> Tile:
    """The tile as it is in a log of ``size`` entries."""
    count = size if level == ENTRIES else size >> (TILE_BITS * level)
    return Tile(level, index, min(TILE_WIDTH, count - index * TILE_WIDTH))


def tiles_between(old_size: int, size: int) -> Iterator[Tile]:
    """Every tile and bundle of a log of ``size`` that a log of ``old_size`` does not have."""
    for level in range(ENTRIES, 64):
        shift = 0 if level == ENTRIES else TILE_BITS * level
        old, new = old_size >> shift, size >> shift
        if old == new:
            if level != ENTRIES:
                return
            continue
        for index in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
            yield tile_of(level, index, size)


def edge_tiles(size: int) -> Iterator[Tile]:
    """The partial tiles of a log of ``size`` entries: what one must have to continue it. The bundle comes first."""
    for level in (ENTRIES, *range(64)):
        count = size if level == ENTRIES else size >> (TILE_BITS * level)
        if count == 0:
            return
        if count % TILE_WIDTH:
            yield Tile(level, count // TILE_WIDTH, count % TILE_WIDTH)


def split_hashes(tile: Tile, data: bytes) -> tuple[Hash, ...]:
    """The hashes of a tile's file. Raises VerificationFailed when there are more or fewer than its width."""
    if len(data) != tile.width * HASH_BYTES:
        raise _malformed(tile, f"{tile.width * HASH_BYTES} bytes", f"{len(data)} bytes")
    return tuple(Hash(data[start : start + HASH_BYTES]) for start in range(0, len(data), HASH_BYTES))


def frame_entry(entry: bytes) -> bytes:
    """An entry as it lies in a bundle: its length in two bytes, big-endian, and the entry."""
    if len(entry) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(entry)} bytes; at most {MAX_ENTRY_BYTES}")
    return len(entry).to_bytes(2, "big") + entry


def join_entries(entries: Sequence[bytes]) -> bytes:
    """A bundle's file."""
    return b"".join(map(frame_entry, entries))


def split_entries(tile: Tile, data: bytes) -> tuple[bytes, ...]:
    """The entries of a bundle's file. Raises VerificationFailed unless they are exactly its width."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        entries.append(data[start:position])
    if position != len(data) or len(entries) != tile.width:
        raise _malformed(tile, f"{tile.width} whole entries", f"{len(entries)} entries, {len(data)} bytes")
    return tuple(entries)


def shorten(tile: Tile, wider: Tile, data: bytes) -> bytes:
    """A partial tile's file, cut from the file of a ``wider`` one. Raises VerificationFailed for a malformed bundle."""
    if tile.level == ENTRIES:
        return join_entries(split_entries(wider, data)[: tile.width])
    return data[: tile.width * HASH_BYTES]


def _malformed(tile: Tile, expected: str, found: str) -> VerificationFailed:
    return VerificationFailed(
        "malformed file of the log", subject=tile.path, rule="malformed", expected=expected, found=found
    )
