"""What a witness serves of its memory, and how another one that was away learns from it.

The listing is not trusted: what it leads to is a candidate like any other, signed by the index and judged by the rule.
"""

from typing import Any

import orjson
from tuf.api.metadata import Root, Snapshot

from assay.fetch import Fetcher
from assay.model.digests import parse_sha256, sha256_of
from assay.model.errors import Unreachable, VerificationFailed
from assay.trust.candidate import Candidate, Stamp
from assay.trust.envelope import parse_envelope
from assay.trust.layout import ROOT, SNAPSHOT, RoleLimits, TargetPath, metadata_filename
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.identity import LOG
from assay.trust.log.proofs import consistency_ranges, prove, tiles_needed
from assay.trust.log.tiles import TILE_WIDTH, Tile
from assay.trust.log.tree import HASH_BYTES, Hash
from assay.trust.witness_memory import Kind
from assay.witness.store import WitnessStore

MAX_LISTING_BYTES = 64_000_000


def render_listing(store: WitnessStore) -> bytes:
    """What this witness has copies of: each role's version and payload hash, and what it needs to be a publication."""
    roles = {
        role: {"version": seen.version, "payload": seen.payload, "kind": seen.kind.value}
        for role, seen in store.roles.items()
    }
    snapshot, stamp = store.snapshot, store.stamp
    return orjson.dumps(
        {
            "root": parse_envelope(store.root, Root, ROOT).signed.version if store.root else None,
            "roles": roles,
            "snapshot": {"version": snapshot.version, "payload": snapshot.payload} if snapshot else None,
            "timestamp": stamp.to_dict() if stamp else None,
            "removed": store.removals(),
        },
        option=orjson.OPT_SORT_KEYS,
    )


async def candidate_of_peer(fetcher: Fetcher, url: str, store: WitnessStore) -> Candidate:
    """The publication that the witness at ``url`` accepted last, as far as ``store`` does not know it.

    The proof that the log grew comes out of the index's tiles. Raises Unreachable, VerificationFailed.
    """
    base, limits = url.rstrip("/"), RoleLimits()

    async def copy(name: str, max_bytes: int) -> bytes:
        data = await fetcher.get(f"{base}/copies/{name}", max_bytes=max_bytes)
        if data is None:
            raise Unreachable("the other witness does not serve a copy that it lists", subject=name)
        return data

    try:
        listing: dict[str, Any] = orjson.loads(await copy("", MAX_LISTING_BYTES))
        lacking = [role for role, entry in listing["roles"].items() if _is_lacking(store, role, entry)]
        stamp = Stamp.from_dict(listing["timestamp"])
        removed = {TargetPath(path): parse_sha256(sha256) for path, sha256 in listing["removed"].items()}
        newest, shown = int(listing["root"]), listing["snapshot"]["payload"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationFailed(
            "not the listing of a witness",
            subject=url,
            rule="malformed",
            found=f"{type(error).__name__}: {error}"[:200],
        ) from error
    old = store.stamp.log if store.stamp else None
    proof = await _prove_growth(fetcher, store.index, old, stamp.log) if old and stamp.log else ()
    known = parse_envelope(store.root, Root, ROOT).signed.version if store.root else 0
    roots = [await copy(metadata_filename(ROOT, v), limits.root) for v in range(known + 1, newest + 1)]
    roles = {role: await copy(metadata_filename(role, None), limits.for_role(role)) for role in lacking}
    snapshot = await copy(metadata_filename(SNAPSHOT, None), limits.snapshot)
    if sha256_of(parse_envelope(snapshot, Snapshot, SNAPSHOT).payload) != shown:
        raise Unreachable("the other witness accepted the next publication meanwhile", subject=url)
    return Candidate(
        root_version=newest,
        roots=tuple(roots),
        roles=roles,
        snapshot=snapshot,
        stamp=stamp,
        removed=removed,
        log_from=old.size if old else 0,
        log_proof=proof,
    )


async def _prove_growth(fetcher: Fetcher, index: str | None, old: LogHead, new: LogHead) -> tuple[Hash, ...]:
    ranges = consistency_ranges(old.size, new.size) if old.size < new.size else ()
    files: dict[Tile, bytes] = {}
    for tile in tiles_needed(ranges, new.size):
        name = f"{LOG}/{tile.path}"
        data = await fetcher.get(f"{(index or '').rstrip('/')}/{name}", max_bytes=TILE_WIDTH * HASH_BYTES)
        if data is None:
            raise Unreachable("the index does not serve a tile of its log", subject=name)
        files[tile] = data
    return prove(ranges, new.size, files)


def _is_lacking(store: WitnessStore, role: str, entry: dict[str, Any]) -> bool:
    seen = store.roles.get(role)
    return entry["kind"] != Kind.RETIRED.value and (seen is None or seen.payload != entry["payload"])
