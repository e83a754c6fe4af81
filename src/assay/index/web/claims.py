"""POST to ``/claims/<project>``: the role that a project's developers signed, as JSON; 200 when it is published.

Files come with their role through ``/legacy/``, in the field ``assay_claim``.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from assay.index.web.asgi import Receive, Request, Send, respond_text
from assay.index.web.authentication import Authentication
from assay.index.web.body import ClientLeft, body_chunks
from assay.index.web.services import UploadLimits
from assay.model.errors import CallerError
from assay.model.names import ProjectName
from assay.model.permissions import Principal

MAX_ROLE_BYTES: Final = 2_000_000
MAX_AT_ONCE: Final = 8

ClaimHandler = Callable[[ProjectName, str, Principal], object]


class Claims:
    """The address of claims. ``submit`` blocks until the role is published."""

    def __init__(self, authentication: Authentication, submit: ClaimHandler, limits: UploadLimits) -> None:
        self._authentication = authentication
        self._submit = submit
        self._limits = limits
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def answer(self, request: Request, receive: Receive, send: Send, project: ProjectName) -> None:
        """Take one role. Raises CallerError and OperatorError."""
        principal = await self._authentication.require(request)
        try:
            async with self._slots:
                body = b"".join([chunk async for chunk in body_chunks(receive, MAX_ROLE_BYTES, self._limits)])
                await asyncio.to_thread(self._submit, project, _text(body), principal)
        except ClientLeft:
            return
        await respond_text(send, 200, f"the claim on {project} is published")


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CallerError("a role is UTF-8 text", rule="claim-malformed", found=error.reason) from error
