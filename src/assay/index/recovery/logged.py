"""The transparency log as a witness of the past: recomputed from its entries, and asked about single files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.index.log.writer import checkpoint_name
from assay.index.recovery.good import Evidence
from assay.model.errors import AssayError, VerificationFailed
from assay.trust.log.checkpoint import LogHead, LogIdentity, open_checkpoint
from assay.trust.log.edge import Edge, append
from assay.trust.log.entry import LogEntry, decode_entry
from assay.trust.log.identity import LOG, LOG_INDEX
from assay.trust.log.tiles import ENTRIES, TILE_WIDTH, Tile, edge_tiles, split_entries, tile_of
from assay.trust.log.tree import EMPTY_ROOT, Hash

_CHUNK = 16
"""Bundles that are hashed at a time."""


@dataclass(slots=True)
class LoggedPast:
    """Entries of the log up to ``size``, a bundle at a time in memory."""

    evidence: Evidence
    size: int
    _bundle: tuple[int, tuple[bytes, ...]] = field(default=(-1, ()))

    def entry(self, index: int) -> LogEntry:
        """The entry of that number. Raises VerificationFailed when it is not there."""
        number, place = divmod(index, TILE_WIDTH)
        if not 0 <= index < self.size:
            raise VerificationFailed("the log has no such entry", subject=str(index), rule="log-entries")
        if self._bundle[0] != number:
            self._bundle = number, self._read(number)
        return decode_entry(self._bundle[1][place])

    def contradicts(self, path: str, target: Mapping[str, Any]) -> str | None:
        """What the log says of a target (its JSON) instead; None when it agrees, or when the target has no number."""
        index = target.get("custom", {}).get(LOG_INDEX)
        if not isinstance(index, int):
            return None
        try:
            facts = self.entry(index).facts
        except AssayError as error:
            return str(error)
        said = (facts.get("path"), facts.get("sha256"), facts.get("length"))
        signed = (path, target["hashes"].get("sha256"), target["length"])
        return None if said == signed else f"entry {index} of the log says sha256 {said[1]}"

    def bundles(self) -> Iterator[list[bytes]]:
        """All entries, some bundles at a time."""
        count = -(-self.size // TILE_WIDTH)
        for start in range(0, count, _CHUNK):
            yield [entry for number in range(start, min(count, start + _CHUNK)) for entry in self._read(number)]

    def _read(self, number: int) -> tuple[bytes, ...]:
        wanted = tile_of(ENTRIES, number, self.size)
        for width in range(wanted.width, TILE_WIDTH + 1):
            tile = Tile(ENTRIES, number, width)
            data = self.evidence.read(f"{LOG}/{tile.path}")
            if data is not None:
                return split_entries(tile, data)[: wanted.width]
        raise VerificationFailed("a part of the log is gone", subject=wanted.path, rule="log-entries")


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The log that the entries make: its ``edge``, its root where it had ``mark`` entries, and the ``repairs``: files
    of it that are not what lies in the local store.
    """

    edge: Edge
    root_at_mark: Hash
    repairs: Mapping[str, bytes]


def recompute(past: LoggedPast, mark: int) -> Recomputed:
    """Read every entry. Raises VerificationFailed when one is gone."""
    edge, root, repairs = Edge(), EMPTY_ROOT, dict[str, bytes]()
    for entries in past.bundles():
        before = mark - edge.size
        for part in (entries[:before], entries[before:]) if 0 < before < len(entries) else (entries,):
            growth = append(edge, part)
            edge = growth.edge
            root = edge.root if edge.size == mark else root
            repairs |= {
                name: data
                for path, data in growth.files.items()
                if past.evidence.local.read(name := f"{LOG}/{path}") != data
            }
    return Recomputed(edge, root, _still_wanted(repairs, edge.size))


def _still_wanted(repairs: Mapping[str, bytes], size: int) -> dict[str, bytes]:
    """Without the partial tiles on the way that are full by now."""
    edges = {f"{LOG}/{tile.path}" for tile in edge_tiles(size)}
    return {name: data for name, data in repairs.items() if ".p/" not in name or name in edges}


def stated_then(evidence: Evidence, identity: LogIdentity, publication: int) -> LogHead | None:
    """The head that the log had at a publication, by its checkpoint; None where that is gone."""
    data = evidence.read(checkpoint_name(publication))
    return open_checkpoint(data, identity).head if data is not None else None
