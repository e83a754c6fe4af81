"""Who asks, for every address that changes something: tokens are looked up in threads, and failures are counted."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from assay.index.web.asgi import Request
from assay.index.web.credentials import parse_token
from assay.index.web.rates import Rate
from assay.index.web.services import WebServices
from assay.model.errors import NotAllowed
from assay.model.permissions import Principal

THREADS: Final = 4
_MINUTE_S: Final = 60.0


_FROM_HERE: Final = ("none", "same-origin")


class Authentication:
    """Threads of its own, so that nobody who waits for the signer holds it up. ``pool``: for other short look-ups."""

    def __init__(self, services: WebServices) -> None:
        self._authenticate = services.authenticate
        self._failures = Rate("failed attempts from this address", services.failures_per_minute, _MINUTE_S)
        self.pool = ThreadPoolExecutor(THREADS, "authenticate")

    async def close(self) -> None:
        """End the threads."""
        await asyncio.to_thread(self.pool.shutdown)

    async def require(self, request: Request) -> Principal:
        """Who asks. Raises NotAllowed, TooMany after too many failures of one address."""
        _require_no_browsers_detour(request)
        address = (request.scope.get("client") or ("unknown",))[0]
        self._failures.require_room(address)
        try:
            token = parse_token(request)
            return await asyncio.get_running_loop().run_in_executor(self.pool, self._authenticate, token)
        except NotAllowed:
            self._failures.take(address)
            raise


def _require_no_browsers_detour(request: Request) -> None:
    """Browsers send the credentials that somebody typed in here along with whatever another site makes them post."""
    came_from = request.header(b"sec-fetch-site")
    if came_from is not None and came_from not in _FROM_HERE:
        raise NotAllowed("asked for by another web site", rule="cross-site", found=came_from[:40])
