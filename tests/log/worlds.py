"""Logs to test with: built by appending, kept as the files that a reader would fetch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from assay.trust.log.checkpoint import LogHead, LogIdentity, sign_checkpoint
from assay.trust.log.edge import Edge, append
from assay.trust.log.identity import identity_of_key
from assay.trust.log.note import KeyKind, VerifierKey
from assay.trust.log.proofs import consistency_ranges, inclusion_ranges, prove, root_from, root_range, tiles_needed
from assay.trust.log.tiles import Tile, shorten, tile_of
from assay.trust.log.tree import Hash


def private_key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


LOG_KEY = private_key(1)
IDENTITY = identity_of_key(LOG_KEY.public_key().public_bytes_raw(), "example.com/log")


def witness(seed: int) -> VerifierKey:
    public = private_key(seed).public_key().public_bytes_raw()
    return VerifierKey(f"witness.example/w{seed}", KeyKind.COSIGNATURE, public)


@dataclass
class MemoryLog:
    """A log whose files lie in memory, as an index would serve them."""

    edge: Edge = field(default_factory=Edge)
    files: dict[str, bytes] = field(default_factory=dict)

    def append(self, *entries: bytes) -> None:
        growth = append(self.edge, entries)
        assert not set(growth.files) & set(self.files)
        self.files |= growth.files
        self.edge = growth.edge

    @property
    def head(self) -> LogHead:
        return LogHead(self.edge.size, self.edge.root)

    def checkpoint(self, identity: LogIdentity = IDENTITY) -> bytes:
        return sign_checkpoint(identity, self.head, LOG_KEY.sign)

    def read(self, tiles: Iterable[Tile]) -> Mapping[Tile, bytes]:
        return {tile: self._read(tile) for tile in tiles}

    def _read(self, tile: Tile) -> bytes:
        """As an index serves it that published a checkpoint of every size."""
        exact = self.files.get(tile.path)
        if exact is not None:
            return exact
        larger = tile_of(tile.level, tile.index, self.edge.size)
        return shorten(tile, larger, self.files[larger.path])

    def prove_inclusion(self, index: int, size: int) -> tuple[Hash, ...]:
        ranges = inclusion_ranges(index, size)
        return prove(ranges, size, self.read(tiles_needed(ranges, size)))

    def prove_consistency(self, old_size: int, size: int) -> tuple[Hash, ...]:
        ranges = consistency_ranges(old_size, size)
        return prove(ranges, size, self.read(tiles_needed(ranges, size)))

    def root(self, size: int) -> Hash:
        return root_from(size, self.read(tiles_needed(root_range(size), size)))


def entry(number: int) -> bytes:
    """Entries of different lengths, all different."""
    return b"entry %d %s" % (number, b"." * (number % 7))


def log_of(size: int) -> MemoryLog:
    """A log of ``size`` entries, appended at once."""
    log = MemoryLog()
    log.append(*map(entry, range(size)))
    return log
