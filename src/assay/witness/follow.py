"""Following the index: what it shows everybody is compared with what this witness remembers.

Nothing is learned here (a publication is learned when it is judged); this finds what no candidate would show: a
publication that bears this witness's signature and is not in its memory, an index that shows less than was co-signed,
one that stopped, and a root that nobody announced.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tuf.api.metadata import Root, Snapshot, Timestamp

from assay.fetch import Fetcher
from assay.model.digests import sha256_of
from assay.model.errors import AssayError, NotFresh, Unreachable, VerificationFailed
from assay.trust.candidate import stamp_of
from assay.trust.envelope import Envelope, parse_envelope
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP, RoleLimits, metadata_path
from assay.trust.update import MAX_ROOT_ROTATIONS
from assay.trust.verify import TrustedMetadata, require_role_signed
from assay.witness.witness import Witness

log = logging.getLogger(__name__)

BEHIND_GRACE = timedelta(minutes=2)


@dataclass(slots=True)
class Follower:
    """Looks at the index at ``url``. ``behind_since``: since when it shows less than was co-signed."""

    witness: Witness
    fetcher: Fetcher
    url: str
    behind_since: datetime | None = field(default=None)

    async def run(self, poll_s: float) -> None:
        """Look for ever, every ``poll_s`` seconds."""
        while True:
            await self.look()
            await asyncio.sleep(poll_s)

    async def look(self) -> None:
        """Compare once; what is wrong is recorded and alarms."""
        try:
            await self._look()
        except Unreachable as error:
            log.warning("the index does not answer: %s", error)
        except AssayError as error:
            await self.witness.refuse(error)

    async def _look(self) -> None:
        limits = RoleLimits()
        data = await self._get(metadata_path(TIMESTAMP, None), limits.timestamp)
        root = await self._newest_root()
        if data is None or root is None:
            return
        published = parse_envelope(data, Timestamp, TIMESTAMP)
        require_role_signed(root, TIMESTAMP, published)
        await self._compare(published)
        now = self.witness.clock()
        if published.signed.is_expired(now):
            raise NotFresh(
                "the index shows an expired timestamp: it stopped publishing, or somebody replays",
                subject=TIMESTAMP,
                rule="index-stale",
                found=f"expired at {published.signed.expires:%Y-%m-%d %H:%M:%S} UTC",
            )

    async def _compare(self, published: Envelope[Timestamp]) -> None:
        store, shown = self.witness.store, published.signed
        stamp, snapshot = store.stamp, store.snapshot
        remembered = stamp.version if stamp else 0
        ours = self.witness.has_signed(published)
        if ours and (shown.version > remembered or (shown.version == remembered and stamp_of(shown) != stamp)):
            raise self.witness.halt(TIMESTAMP, shown.version, remembered)
        if stamp is None or snapshot is None or shown.version > remembered:
            return
        if shown.version < remembered:
            self._require_catching_up(shown.version, remembered)
            return
        self.behind_since = None
        data = await self._get(metadata_path(SNAPSHOT, shown.snapshot_meta.version), RoleLimits().snapshot)
        if data is not None and store.stamp == stamp:
            found = sha256_of(parse_envelope(data, Snapshot, SNAPSHOT).payload)
            if found != snapshot.payload:
                raise VerificationFailed(
                    "the index shows another snapshot than the one that was co-signed: a split view",
                    subject=f"snapshot {shown.snapshot_meta.version}",
                    rule="split-view",
                    expected=f"sha256 {snapshot.payload}",
                    found=f"sha256 {found}",
                )

    def _require_catching_up(self, shown: int, remembered: int) -> None:
        """Between a co-signature and its publication the index is behind for a moment; not for long."""
        now = self.witness.clock()
        self.behind_since = self.behind_since or now
        if now - self.behind_since > BEHIND_GRACE:
            raise NotFresh(
                "the index shows less than was co-signed",
                subject=TIMESTAMP,
                rule="index-behind",
                expected=f"version {remembered}",
                found=f"version {shown}",
                next_step="it was restored from a backup, does not finish its publication, or replays old metadata",
            )

    async def _newest_root(self) -> Root | None:
        """The newest root of the chain that the index shows, from the one that was accepted."""
        known = self.witness.store.root
        if known is None:
            return None
        trusted = TrustedMetadata(known, now=self.witness.clock())
        for _ in range(MAX_ROOT_ROTATIONS):
            data = await self._get(metadata_path(ROOT, trusted.root.version + 1), RoleLimits().root)
            if data is None:
                break
            trusted.update_root(data)
            self.witness.tell_of_root(trusted.root)
        return trusted.root

    async def _get(self, name: str, max_bytes: int) -> bytes | None:
        return await self.fetcher.get(f"{self.url.rstrip('/')}/{name}", max_bytes=max_bytes)


async def stop(task: "asyncio.Task[None]") -> None:
    """Cancel ``task`` and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
