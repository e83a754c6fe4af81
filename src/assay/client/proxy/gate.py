"""One connection's bytes, held until it is known who reads them.

asyncio hands bytes to a protocol as they come; here the reader is chosen only after the first head was read, and the
TLS transport is known only after bytes may have arrived on it. What is held is bounded.
"""

import asyncio
from typing import Final

MAX_HELD_BYTES: Final = 65_536


class Gate(asyncio.Protocol):
    """Holds what arrives until ``open``, then passes everything on. ``closed`` is done when the connection is lost."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = loop.create_future()
        self._reader: asyncio.Protocol | None = None
        self._held = bytearray()
        self._eof = False
        self._arrival: asyncio.Event = asyncio.Event()

    async def head(self, max_bytes: int) -> bytes | None:
        """The bytes up to and including the first empty line; they stay held. None when that is past ``max_bytes``.

        Raises ConnectionError when the connection ends before.
        """
        while (end := self._held.find(b"\r\n\r\n", 0, max_bytes)) < 0:
            if len(self._held) >= max_bytes:
                return None
            if self._eof or self.closed.done():
                raise ConnectionResetError("the connection ended within the head")
            self._arrival.clear()
            await self._arrival.wait()
        return bytes(self._held[: end + 4])

    def drop_head(self, length: int) -> bool:
        """Forget the first ``length`` bytes; False when more has arrived already."""
        del self._held[:length]
        return not self._held

    def open(self, reader: asyncio.Protocol, transport: asyncio.Transport) -> None:
        """From now on ``reader`` gets everything, what was held first."""
        self.transport = transport
        self._reader = reader
        reader.connection_made(transport)
        if self._held:
            held, self._held = bytes(self._held), bytearray()
            reader.data_received(held)
        if self._eof:
            self.eof_received()
        if self.closed.done():
            reader.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol, as for all below. Not called inside TLS, where ``open`` brings the transport."""
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hold or pass on; a peer that sends too much too early is cut off."""
        if self._reader is not None:
            self._reader.data_received(data)
            return
        self._held += data
        self._arrival.set()
        if len(self._held) > MAX_HELD_BYTES and self.transport is not None:
            self.transport.abort()

    def eof_received(self) -> bool | None:
        """The peer sends no more."""
        if self._reader is not None:
            return self._reader.eof_received()
        self._eof = True
        self._arrival.set()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if not self.closed.done():
            self.closed.set_result(None)
        self._arrival.set()
        if self._reader is not None:
            self._reader.connection_lost(exc)

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        if self._reader is not None:
            self._reader.pause_writing()

    def resume_writing(self) -> None:
        """The peer caught up."""
        if self._reader is not None:
            self._reader.resume_writing()
