"""Rates by key (a user, an address): how many in a window of time. In memory, bounded, forgotten with the process.

Invariant: at most ``max_keys`` keys are remembered; the one that was quiet longest is forgotten first.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from assay.model.errors import TooMany


@dataclass(slots=True)
class Rate:
    """At most ``limit`` of something per key and ``window_s``, spread as they come (a leaking bucket)."""

    what: str
    limit: int
    window_s: float
    clock: Callable[[], float] = time.monotonic
    max_keys: int = 50_000
    _filled: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def take(self, key: str) -> None:
        """Count one of ``key``. Raises TooMany, without counting, above the limit."""
        self.require_room(key)
        self._filled[key] = self._level(key) + 1, self.clock()
        self._filled.move_to_end(key)
        while len(self._filled) > self.max_keys:
            self._filled.popitem(last=False)

    def require_room(self, key: str) -> None:
        """Raise TooMany where one more would be above the limit."""
        if self._level(key) + 1 > self.limit:
            raise TooMany(
                f"too many {self.what}",
                subject=key,
                rule="rate",
                expected=f"at most {self.limit} in {self.window_s:g} s",
                next_step="try again later",
            )

    def _level(self, key: str) -> float:
        level, at = self._filled.get(key, (0.0, 0.0))
        return max(0.0, level - (self.clock() - at) * self.limit / self.window_s)
