"""Which head of a log this machine believes, and the heads it has seen.

Invariants: a head is believed only when the right keys signed it, the signed timestamp knows no newer one, and it is
proved to begin with every head that was believed here before; what was seen never gets shorter. Two heads that
contradict each other are kept: together they prove it to anybody.
"""

import asyncio
from dataclasses import dataclass

from assay import durable
from assay.client.log.source import LogSource
from assay.client.store import MetadataStore
from assay.client.trusted_index import TrustedIndex
from assay.model.digests import sha256_of
from assay.model.errors import NotFound, NotFresh, VerificationFailed
from assay.trust.layout import TARGETS
from assay.trust.log.checkpoint import LogHead, LogIdentity, VerifiedCheckpoint, open_checkpoint, parse_head
from assay.trust.log.identity import named_log, stated_head
from assay.trust.log.note import parse_note
from assay.trust.log.proofs import consistency_ranges, prove, tiles_needed
from assay.trust.log.tree import verify_consistency
from assay.trust.verify import TrustedMetadata

_SEEN = "log.checkpoint"


@dataclass(frozen=True, slots=True)
class BelievedLog:
    """A log as it is believed now. Only ``believe`` makes one.

    ``stated``: the head in the signed timestamp, which is exactly what the targets of ``trusted`` go with.
    ``checkpoint``: the newest one, which may be ahead of it. ``seen``: the head believed here before, or None.
    """

    trusted: TrustedMetadata
    identity: LogIdentity
    stated: LogHead
    checkpoint: VerifiedCheckpoint
    seen: LogHead | None


async def believe(index: TrustedIndex, source: LogSource, store: MetadataStore) -> BelievedLog:
    """Fetch the newest checkpoint, verify it, and remember it.

    Raises NotFound where the index has no log, NotFresh for a head that is older than one that is known, and
    VerificationFailed for one that the right keys did not sign or that contradicts another.
    """
    trusted = await index.trusted()
    identity = named_log(trusted.require(TARGETS))
    if identity is None:
        raise NotFound(
            "this index keeps no log: its targets role names none",
            subject=index.url,
            rule="no-log",
            next_step="ask its operator to hold a ceremony that names the log's key",
        )
    stated = stated_head(trusted.timestamp) if trusted.timestamp is not None else None
    if stated is None:
        raise VerificationFailed("the signed timestamp states no head of the log", rule="log-head", subject=index.url)
    lock = store.locked()
    await asyncio.to_thread(lock.__enter__)
    try:
        checkpoint = open_checkpoint(await source.checkpoint(), identity)
        await _require_follows(source, store, stated, checkpoint, "the signed timestamp")
        seen = _seen_head(store, identity)
        if seen is not None:
            await _require_follows(source, store, seen, checkpoint, "this machine")
        durable.write_file(store.folder / _SEEN, checkpoint.data)
    finally:
        lock.__exit__(None, None, None)
    return BelievedLog(trusted, identity, stated, checkpoint, seen)


def _seen_head(store: MetadataStore, identity: LogIdentity) -> LogHead | None:
    try:
        data = (store.folder / _SEEN).read_bytes()
    except FileNotFoundError:
        return None
    origin, head = parse_head(parse_note(data).text)
    if origin != identity.origin:
        raise VerificationFailed(
            "the index names another log than before: the old one's past would be forgotten",
            rule="log-origin",
            expected=origin,
            found=identity.origin,
            next_step=f"if its operator announced a new log, delete {store.folder / _SEEN}",
        )
    return head


async def _require_follows(
    source: LogSource, store: MetadataStore, old: LogHead, checkpoint: VerifiedCheckpoint, who: str
) -> None:
    """Raise unless the log of ``checkpoint`` begins with the log of ``old``, which ``who`` knows."""
    new = checkpoint.head
    if new.size < old.size:
        raise NotFresh(
            f"the index shows an older log than {who} knows",
            subject=source.url,
            rule="log-rollback",
            expected=f"at least {old.size} entries",
            found=f"{new.size} entries",
            next_step="a cache serves old files, the index was restored from a backup, or somebody hides entries",
        )
    ranges = consistency_ranges(old.size, new.size)
    tiles = await source.tiles(tiles_needed(ranges, new.size))
    try:
        verify_consistency(old.size, old.root, new.size, new.root, prove(ranges, new.size, tiles))
    except VerificationFailed as error:
        evidence = store.folder / f"log.evidence-{sha256_of(checkpoint.data)[:16]}"
        durable.write_file(evidence, _evidence(store, old, checkpoint))
        error.subject = source.url
        error.next_step = f"both heads are kept in {evidence}: ask the index's operator, and show it to others"
        raise


def _evidence(store: MetadataStore, old: LogHead, checkpoint: VerifiedCheckpoint) -> bytes:
    """Everything signed that speaks of the contradiction: the new checkpoint, the last one seen, the timestamp."""
    seen = store.folder / _SEEN
    parts = [checkpoint.data, seen.read_bytes() if seen.exists() else b"", store.read("timestamp") or b""]
    return b"\n".join([f"contradicts: {old.size} entries, root {old.root.hex()}\n".encode(), *parts])
