"""The server's HTTP/1.1 connections: uvicorn's, with the bounds and the two abilities that it lacks.

Invariants: a request's head is complete within ``HEAD_SECONDS`` and ``MAX_HEAD_BYTES``; an idle connection is closed;
what is answered before its body has arrived is drained for ``DRAIN_SECONDS`` at most, so that the client gets to read
the answer; a client that does not read is cut off. The application reaches its connection as
``scope["extensions"]["assay.connection"]`` (``web.asgi.Connection``).

uvicorn has no hook for a reason phrase, so the response's first write is rewritten. Should an internal name that this
module touches move in a later uvicorn, the tests of this module fail.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from assay.index.web.asgi import CONNECTION
from assay.index.web.direct import DirectSocket

HEAD_SECONDS: Final = 20.0
DRAIN_SECONDS: Final = 120.0
STALL_SECONDS: Final = 30.0
MIN_READ_BYTES_PER_S: Final = 1_024
MAX_HEAD_BYTES: Final = 65_536

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class ReasonedTransport:
    """A transport whose first write begins with an HTTP status line, whose reason phrase it replaces."""

    def __init__(self, cycle: RequestResponseCycle, reason: str) -> None:
        self._cycle, self._reason = cycle, reason
        self._transport = cycle.transport

    def write(self, data: bytes) -> None:
        """Write ``data`` under the new reason phrase, and step aside."""
        self._cycle.transport = self._transport
        status_line, separator, rest = data.partition(b"\r\n")
        version, status, *_ = status_line.split(b" ", 2)
        reasoned = b"%b %b %b" % (version, status, self._reason.encode("latin-1", errors="replace"))
        self._transport.write(reasoned + separator + rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LingeringTransport:
    """A transport that is not closed while its request is still coming in: a client that sends does not read yet.

    Closing with bytes unread would reset the connection, and the client would see a broken pipe in the place of the
    answer (RFC 9112 section 9.6).
    """

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._cycle = cycle
        self._transport = transport
        self.wants_close = False

    def close(self) -> None:
        """Close, or remember to when the request is complete."""
        if self._cycle.more_body:
            self.wants_close = True
        else:
            self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class RequestConnection:
    """The ``web.asgi.Connection`` of one request. ``direct``: gives the socket, None where it cannot be had (TLS)."""

    __slots__ = ("_cycle", "_direct")

    def __init__(self, cycle: RequestResponseCycle, direct: Callable[[], DirectSocket | None]) -> None:
        self._cycle = cycle
        self._direct = direct

    def say(self, reason: str) -> None:
        """Make ``reason``, one line of latin-1, the reason phrase of the response that is about to start."""
        self._cycle.transport = ReasonedTransport(self._cycle, reason)  # type: ignore[assignment]

    def has_answered(self) -> bool:
        """Whether the response has started: it is too late for another status."""
        return self._cycle.response_started

    def is_lost(self) -> bool:
        """Whether the client is gone: what is sent from now on goes nowhere."""
        return self._cycle.disconnected or self._cycle.transport.is_closing()

    async def send_file(self, descriptor: int, start: int, stop: int) -> int:
        """See ``web.asgi.Connection.send_file``."""
        cycle, direct = self._cycle, self._direct()
        if direct is None or cycle.chunked_encoding is not False:
            return start
        while cycle.transport.get_write_buffer_size() and not cycle.disconnected:
            await (cycle.flow.drain() if cycle.flow.write_paused else asyncio.sleep(0))
        if cycle.disconnected:
            return start
        try:
            offset = await direct.send_file(descriptor, start, stop, STALL_SECONDS, MIN_READ_BYTES_PER_S)
        except TimeoutError:
            cycle.transport.abort()
            await asyncio.sleep(0)  # the connection's end is told in the next turn
            return start
        cycle.expected_content_length -= offset - start
        return offset


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with every wait and every buffer bounded."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._in_head = True
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._lingering: LingeringTransport | None = None
        self._direct: DirectSocket | None = None

    def direct(self) -> DirectSocket | None:
        """The connection's socket, for writes while the transport has nothing to send; None under TLS."""
        if self._direct is None and self.scheme == "http" and not self.transport.is_closing():
            self._direct = DirectSocket(self.transport, self.loop)
        return self._direct

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: its first request must come. Where there are far too many, it is sent away unheard."""
        super().connection_made(transport)
        limit = self.limit_concurrency
        if limit is not None and len(self.connections) > limit + limit // 4:
            transport.abort()
        else:
            self._set_deadline(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._drop_deadline()
        self._drop_stall()
        super().connection_lost(exc)
        if self._direct is not None:
            self._direct.close()

    def data_received(self, data: bytes) -> None:
        """Bytes have come. While they belong to a head, they are counted and the rest must follow soon."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes and not self.transport.is_closing():
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
            elif self._deadline is None:
                self._set_deadline(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """A head is complete. The request does not run before ``super`` has returned, so its scope may still grow."""
        self._in_head, self._head_bytes = False, 0
        self._drop_deadline()
        super().on_headers_complete()
        self.scope["extensions"] = {CONNECTION: RequestConnection(self.cycle, self.direct)}  # type: ignore[dict-item]
        self._lingering = LingeringTransport(self.cycle, self.transport)
        self.cycle.transport = self._lingering  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """A body is complete; the next head may begin with the bytes that follow."""
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0
        self._drop_deadline()
        if self._lingering is not None and self._lingering.wants_close:
            self._close()

    def on_response_complete(self) -> None:
        """A response was handed over; if its request is still coming in, it is drained for a while."""
        super().on_response_complete()
        if not self._in_head and self._deadline is None and not self.transport.is_closing():
            self._set_deadline(DRAIN_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """The connection is idle."""
        self._close()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        super().pause_writing()
        self._watch_stall(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._drop_stall()
        super().resume_writing()

    def _watch_stall(self, unsent: int) -> None:
        self._drop_stall()
        self._stall = self.loop.call_later(STALL_SECONDS, self._require_progress, unsent)

    def _require_progress(self, before: int) -> None:
        unsent = self.transport.get_write_buffer_size()
        if before - unsent < min(before, STALL_SECONDS * MIN_READ_BYTES_PER_S):
            self.transport.abort()
        else:
            self._watch_stall(unsent)

    def _drop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _set_deadline(self, seconds: float) -> None:
        self._drop_deadline()
        self._deadline = self.loop.call_later(seconds, self._deadline_passed)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _deadline_passed(self) -> None:
        """Close, unless a response is under way: then the head that began behind it waits for its turn."""
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._set_deadline(HEAD_SECONDS)
        else:
            self._close()

    def _refuse_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_TOO_LARGE)
        self._close()

    def _close(self) -> None:
        """Close after what is unsent, but do not wait for a client that never reads it."""
        if not self.transport.is_closing():
            self.transport.close()
            if self.transport.get_write_buffer_size():
                self.loop.call_later(STALL_SECONDS, self.transport.abort)
