"""When online roles must be signed again. Asking what is due costs nothing, however many bins there are.

The moments are read from the beginning of the published files, unverified: they only decide when a role is looked at,
and whoever could change them could as well delete the file.
"""

import heapq
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from assay.index.published import PublishedStore
from assay.trust.layout import Lifetimes, metadata_path
from assay.trust.plan import renew_at

HEAD_BYTES: Final = 16_384
MAX_AT_ONCE: Final = 128
"""Roles that one publication signs again: of millions of targets, so many take a fraction of a second."""

LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)

_EXPIRES: Final = re.compile(rb'"expires":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)","spec_version"')


class Renewals:
    """The expiry of each online role that is renewed by itself, and which of them are due."""

    def __init__(self, lifetimes: Lifetimes) -> None:
        self._lifetimes = lifetimes
        self._expires: dict[str, datetime] = {}
        self._queue: list[tuple[datetime, str, datetime]] = []

    def read(self, published: PublishedStore, versions: Iterable[tuple[str, int]]) -> None:
        """Learn the expiry of published roles, each given with its version. One that cannot be read is due at once."""
        for role, version in versions:
            self.set(role, _expiry(published, role, version))

    def set(self, role: str, expires: datetime) -> None:
        """``role`` is valid until ``expires`` now."""
        self._expires[role] = expires
        heapq.heappush(self._queue, (renew_at(expires, self._lifetimes.of_online(role)), role, expires))

    def roles(self) -> list[str]:
        """Every role that is renewed."""
        return list(self._expires)

    def retire(self, role: str) -> None:
        """Nobody needs ``role`` any more."""
        self._expires.pop(role, None)

    def next_due(self) -> datetime | None:
        """When the first role is due; None where there is none."""
        while self._queue and self._expires.get(self._queue[0][1]) != self._queue[0][2]:
            heapq.heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def due(self, now: datetime) -> list[str]:
        """The roles that are due at ``now``, at most ``MAX_AT_ONCE``. They stay due until they are ``set``."""
        found: dict[str, tuple[datetime, str, datetime]] = {}
        while len(found) < MAX_AT_ONCE and (due := self.next_due()) is not None and due <= now:
            entry = heapq.heappop(self._queue)
            found[entry[1]] = entry
        for entry in found.values():
            heapq.heappush(self._queue, entry)
        return sorted(found)


def _expiry(published: PublishedStore, role: str, version: int) -> datetime:
    path = published.path(metadata_path(role, version))
    try:
        with path.open("rb") as file:
            found = _EXPIRES.search(file.read(HEAD_BYTES))
    except OSError:
        found = None
    if found is None:
        return LONG_AGO
    return datetime.strptime(found[1].decode(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
