"""POST to ``/admin/<operation>``: one operation of an administrator, its parameters as a JSON object.

200 with the result when readers see it; it has ``state`` where there is something to see. What may be asked, and by
whom, is decided in ``index.administration``.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from assay.index.web.asgi import NO_STORE, NOSNIFF, Receive, Request, Send, respond
from assay.index.web.authentication import Authentication
from assay.index.web.body import ClientLeft, body_chunks
from assay.index.web.services import UploadLimits
from assay.model.errors import CallerError
from assay.model.permissions import Principal

MAX_BODY_BYTES: Final = 1_000_000
MAX_AT_ONCE: Final = 4
_LIMITS: Final = UploadLimits(max_seconds=20.0, stall_s=10.0)

Administer = Callable[[str, Mapping[str, Any], Principal], Mapping[str, Any]]


class Administration:
    """The address of the administrators. ``administer`` blocks until readers see what was done."""

    def __init__(self, authentication: Authentication, administer: Administer) -> None:
        self._authentication = authentication
        self._administer = administer
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def answer(self, request: Request, receive: Receive, send: Send, operation: str) -> None:
        """Do one operation. Raises CallerError and OperatorError."""
        principal = await self._authentication.require(request)
        try:
            body = b"".join([chunk async for chunk in body_chunks(receive, MAX_BODY_BYTES, _LIMITS)])
            async with self._slots:
                result = await asyncio.to_thread(self._administer, operation, _parameters(body), principal)
        except ClientLeft:
            return
        await respond(send, 200, [(b"content-type", b"application/json"), NOSNIFF, NO_STORE], orjson.dumps(result))


def _parameters(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise CallerError("the body is not what it must be", rule="invalid-payload", expected="a JSON object")
    return document
