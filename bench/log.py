"""``python bench/log.py``: what an entry of the transparency log costs, to write and to check, in memory and on disk.

Batches are publications: 1 file, 20, 500 (the most that one publication takes). Entries are those of real uploads.
"""

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from assay.client.log.agreement import LogReplay
from assay.index.published import PublishedStore
from assay.trust.log.edge import Edge, append
from assay.trust.log.entry import FILE_PUBLISHED, LogEntry, decode_entry, encode_entry
from assay.trust.log.proofs import consistency_ranges, inclusion_ranges, prove, root_from, root_range, tiles_needed
from assay.trust.log.tiles import Tile, join_entries, shorten, tile_of
from assay.trust.log.tree import leaf_hash, verify_consistency, verify_inclusion

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SIZE = 1_000_000
BATCHES = (1, 20, 500)


def file_published(number: int) -> bytes:
    """The entry of an upload."""
    name, digest = f"project-{number % 5000}", hashlib.sha256(str(number).encode()).hexdigest()
    custom = {
        "origin": "upload",
        "uploader": "alice",
        "role": "owner",
        "granted_by": "admin",
        "granted_at": "2026-11-23T12:00:00.000000Z",
        "authenticated": "token:98850b89151c192f",
        "uploaded_at": "2026-11-23T12:00:00.000000Z",
    }
    facts = {
        "path": f"packages/{name}/1.{number}/{name.replace('-', '_')}-1.{number}-py3-none-any.whl",
        "sha256": digest,
        "length": 123_456,
        "custom": custom,
        "page": {"core_metadata": digest[::-1], "requires_python": ">=3.11"},
    }
    return encode_entry(LogEntry(FILE_PUBLISHED, NOW, "alice", name, facts))


def per_call(work: Callable[[], object], calls: int) -> float:
    """Seconds of one call: the median of five rounds."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds)


def main() -> int:
    """Measure and print."""
    print(f"machine: {os.cpu_count()} cores; python {sys.version.split()[0]}; a log of {SIZE:,} entries\n")
    entries = [file_published(number) for number in range(2_000)]
    print(
        f"an entry of an upload: {statistics.mean(map(len, entries)):.0f} bytes, "
        f"and {32 * 256 / 255:.1f} bytes of hashes; gzip makes a bundle {_packed(entries):.0%} of its size"
    )
    edge, files = _big_log()
    _print_writing(edge, entries)
    _print_checking(files, edge)
    _print_auditing(entries)
    return 0


def _packed(entries: list[bytes]) -> float:
    import gzip

    bundle = join_entries(entries[:256])
    return len(gzip.compress(bundle, 6)) / len(bundle)


def _big_log() -> tuple[Edge, dict[str, bytes]]:
    """A log of ``SIZE`` small entries: its tiles, without its bundles."""
    edge, files = Edge(), dict[str, bytes]()
    for start in range(0, SIZE, 10_000):
        growth = append(edge, [b"%d" % number for number in range(start, start + 10_000)])
        files |= {path: data for path, data in growth.files.items() if "entries" not in path}
        edge = growth.edge
    return edge, files


def _print_writing(edge: Edge, entries: list[bytes]) -> None:
    print(f"\nwriting{'':13}{'hashing, per entry':>22}{'with fsync, per entry':>24}{'per publication':>18}{'files':>7}")
    for batch in BATCHES:
        chosen = entries[:batch]
        hashing = per_call(lambda chosen=chosen: append(edge, chosen), max(1, 500 // batch))
        files = append(edge, chosen).files
        with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
            store = PublishedStore(Path(name))
            writing = per_call(lambda files=files, store=store: store.write(files), 10)
        total = hashing + writing
        print(
            f"  {batch:4} entries{'':7}{hashing / batch * 1e6:19.1f} us{total / batch * 1e6:21.1f} us"
            f"{total * 1e3:15.2f} ms{len(files):7}"
        )
    print(f"  making an entry{'':5}{per_call(lambda: file_published(7), 2_000) * 1e6:19.1f} us")


def _print_checking(files: dict[str, bytes], edge: Edge) -> None:
    def read(ranges: tuple[tuple[int, int], ...], size: int) -> dict[Tile, bytes]:
        found = {}
        for tile in tiles_needed(ranges, size):
            wider = tile_of(tile.level, tile.index, edge.size)
            path = wider.full.path if wider.full.path in files else wider.path
            data = files[path]
            found[tile] = data if tile == wider else shorten(tile, wider, data)
        return found

    size, old = edge.size, 123_456
    ranges, index = inclusion_ranges(old, size), old
    tiles = read(ranges, size)
    leaf, root = leaf_hash(b"%d" % index), edge.root

    def inclusion() -> None:
        verify_inclusion(leaf, index, size, prove(ranges, size, tiles), root)

    between = consistency_ranges(old, size)
    older = read(between, size)
    old_root = root_from(old, read(root_range(old), old))

    def consistency() -> None:
        verify_consistency(old, old_root, size, root, prove(between, size, older))

    print("\nchecking")
    for label, work, needed in (("inclusion", inclusion, tiles), ("consistency", consistency, older)):
        weight = sum(map(len, needed.values()))
        print(f"  {label:14}{per_call(work, 50) * 1e3:8.2f} ms, {len(needed)} tiles, {weight / 1000:.0f} KB")


def _print_auditing(entries: list[bytes]) -> None:
    def audit() -> None:
        replay, edge = LogReplay(), Edge()
        for number, entry in enumerate(entries):
            replay.take(number, decode_entry(entry))
        append(edge, entries)

    rate = len(entries) / per_call(audit, 1)
    print(f"\nfull audit, without the network: {rate:,.0f} entries per second")


if __name__ == "__main__":
    sys.exit(main())
