"""The uploads that are coming in: how many at once, and whose makes room when a newcomer finds no place.

Invariant: whoever has no upload under way gets a place while anybody has two, or has one that trickles; so slow
uploads, however many, stop nobody's. What has come in whole is never sent away.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from assay.index.web.services import UploadLimits
from assay.model.errors import TooMany, TooSlow

TRICKLE_AFTER_S: Final = 5.0
TRICKLE_BYTES_PER_S: Final = 65_536


@dataclass(slots=True, eq=False)
class Place:
    """One upload of ``user`` that is coming in. Its owner counts ``received`` bytes and sets ``is_whole``."""

    user: str
    started: float
    deadline: asyncio.Timeout
    received: int = 0
    is_whole: bool = False
    is_given_up: bool = field(default=False, init=False)

    def rate(self, now: float) -> float:
        """Bytes a second so far."""
        return self.received / max(now - self.started, 0.001)

    def give_up(self, now: float) -> None:
        """End this upload at its next wait."""
        self.is_given_up = True
        self.deadline.reschedule(now)


class Places:
    """``max_receiving`` places, ``max_receiving_per_user`` of them for one user."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._taken: set[Place] = set()

    @asynccontextmanager
    async def take(self, user: str) -> AsyncIterator[Place]:
        """A place for the length of the context. Raises TooMany at once, TooSlow once it is given to somebody else."""
        now = asyncio.get_running_loop().time()
        self._make_room(user, now)
        place: Place | None = None
        try:
            async with asyncio.timeout(None) as deadline:
                place = Place(user, now, deadline)
                self._taken.add(place)
                yield place
        except TimeoutError as error:
            if place is None or not place.is_given_up:
                raise
            raise TooSlow(
                "this upload made room for somebody else's: it was slow, or one of many",
                rule="upload-made-room",
                next_step="try again, over a faster connection or with fewer uploads at once",
            ) from error
        finally:
            if place is not None:
                self._taken.discard(place)

    def _make_room(self, user: str, now: float) -> None:
        counts = Counter(place.user for place in self._taken)
        if counts[user] >= self._limits.max_receiving_per_user:
            raise _no_place("too many uploads of this user are under way")
        if len(self._taken) < self._limits.max_receiving:
            return
        victim = self._victim(counts, user, now)
        if victim is None:
            raise _no_place("too many uploads are under way")
        self._taken.discard(victim)
        victim.give_up(now)

    def _victim(self, counts: Counter[str], newcomer: str, now: float) -> Place | None:
        """The slowest upload of who has most of them; where all have as many as the newcomer, the slowest trickle.

        None: nobody need make room.
        """
        coming = [place for place in self._taken if not place.is_whole]
        most = max((counts[place.user] for place in coming), default=0)
        if most > counts[newcomer] + 1:
            return min((place for place in coming if counts[place.user] == most), key=lambda place: place.rate(now))
        trickling = [
            place for place in coming if now - place.started > TRICKLE_AFTER_S and place.rate(now) < TRICKLE_BYTES_PER_S
        ]
        return min(trickling, key=lambda place: place.rate(now), default=None)


def _no_place(what: str) -> TooMany:
    return TooMany(what, rule="upload-queue", next_step="try again when others have ended")
