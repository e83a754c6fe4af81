"""A request's body in chunks, within its limits of size and time."""

import asyncio
from collections.abc import AsyncIterator

from assay.index.web.asgi import Receive
from assay.index.web.services import UploadLimits
from assay.model.errors import TooLarge, TooSlow


class ClientLeft(Exception):
    """The client has gone; there is nobody to answer."""


async def body_chunks(receive: Receive, max_bytes: int, limits: UploadLimits) -> AsyncIterator[bytes]:
    """The chunks of the body as they come.

    Raises TooLarge past ``max_bytes``, TooSlow where the client stalls, trickles or takes too long, ClientLeft where it
    hangs up.
    """
    loop = asyncio.get_running_loop()
    started, received, more = loop.time(), 0, True
    while more:
        try:
            async with asyncio.timeout(limits.stall_s):
                message = await receive()
        except TimeoutError as error:
            expected = f"a byte at least every {limits.stall_s:g} s"
            raise TooSlow("the upload stalled", rule="upload-rate", expected=expected) from error
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        received += len(chunk)
        if received > max_bytes:
            raise TooLarge("the upload is too large", rule="upload-size", expected=f"at most {max_bytes} bytes")
        _require_rate(received, loop.time() - started, limits)
        yield chunk


def _require_rate(received: int, elapsed_s: float, limits: UploadLimits) -> None:
    if elapsed_s > limits.max_seconds:
        raise TooSlow("the upload takes too long", rule="upload-rate", expected=f"at most {limits.max_seconds:g} s")
    if elapsed_s > limits.grace_s and received < elapsed_s * limits.min_bytes_per_s:
        expected = f"at least {limits.min_bytes_per_s} bytes a second"
        raise TooSlow("the upload is too slow", rule="upload-rate", expected=expected)
