"""Reading a private index: every page, file and role needs a token that may read.

Invariants: without one the answer is 401 with a challenge, so that pip, uv and whoever reads netrc or a keyring sends
its credentials; what is sent to somebody may not be kept by a cache that others share. A revoked token reads on for
``REMEMBER_S`` at most. Source: RFC 9110 section 11, RFC 9111 section 3.5.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from assay.index.web.asgi import Message, Request, Send
from assay.index.web.credentials import parse_token
from assay.index.web.pages import parse_segment
from assay.model.errors import NotAllowed, NotAuthenticated
from assay.model.permissions import Action, Principal

REMEMBER_S: Final = 10.0
MAX_REMEMBERED: Final = 10_000
OPEN: Final = frozenset({"", "healthz", ".well-known"})
"""First segments that anybody may read: they name no project."""

_OF_PROJECTS: Final = frozenset({"simple", "packages", "pypi", "+simple", "integrity"})


@dataclass(slots=True)
class ReadAccess:
    """Who may read. ``authenticate`` blocks, notes the token's use, and raises NotAllowed."""

    authenticate: Callable[[str], Principal]
    clock: Callable[[], float] = time.monotonic
    _known: OrderedDict[bytes, tuple[Principal, float]] = field(default_factory=OrderedDict)

    async def require(self, request: Request, first: str, segments: list[str]) -> None:
        """Raise NotAuthenticated or NotAllowed unless the request's token may read the address."""
        if first in OPEN:
            return
        try:
            principal = await self._principal(parse_token(request))
        except NotAllowed as error:
            raise NotAuthenticated(
                error.what, rule=error.rule, subject=error.subject, next_step=error.next_step
            ) from error
        scope = principal.scope
        if Action.READ not in scope.actions:
            raise NotAllowed(
                "this token may not read", rule="token-scope", next_step="use a token with the action read"
            )
        if scope.projects is not None and first in _OF_PROJECTS and segments and segments[0]:
            project = parse_segment(segments[0])
            if project not in scope.projects:
                raise NotAllowed("this token may not read this project", subject=project, rule="token-scope")

    async def _principal(self, token: str) -> Principal:
        """Who holds ``token``, remembered by its digest for a moment: installers ask for many things at once."""
        key, now = hashlib.sha256(token.encode("utf-8", "replace")).digest(), self.clock()
        found = self._known.get(key)
        if found is not None and now - found[1] < REMEMBER_S:
            return found[0]
        self._known.pop(key, None)
        principal = await asyncio.to_thread(self.authenticate, token)
        self._known[key] = principal, now
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return principal


def keep_private(send: Send) -> Send:
    """``send``, telling shared caches to keep nothing of it."""

    async def send_privately(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, value.replace(b"public", b"private") if name == b"cache-control" else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return send_privately
