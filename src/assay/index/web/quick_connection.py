"""Connections that answer hot reads on the spot, between two callbacks of the parser, and hand on everything else.

Invariants: an answer is given on the spot only when the connection owes no other one, so the order of pipelined
requests holds; only while the client keeps up with what was written, so that nothing piles up; and only to HTTP/1.1
requests without a body, so that the next byte begins the next request. All bounds of ``BoundedProtocol`` hold.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from assay.index.web.connection import BoundedProtocol
from assay.index.web.quick import Find

_OK = b"HTTP/1.1 200 OK\r\n"


class QuickProtocol(BoundedProtocol):
    """``BoundedProtocol``, asking the application's ``find_quick`` (where it has one) before a task is made."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._find: Find | None = getattr(config.app, "find_quick", None)
        self._answered = False
        self._answered_at = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._lines: list[tuple[bytes, bytes]] = []
        self._start = _OK

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins: what uvicorn makes for the application waits until that is asked."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Answer now, or let uvicorn begin a task."""
        self._answered = self._answer()
        if self._answered:
            self._drop_deadline()
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is over."""
        if self._answered:
            self._answered, self._head_bytes = False, 0
        else:
            super().on_message_complete()

    def _answer(self) -> bool:
        parser = self.parser
        if (
            self._find is None
            or (self.cycle is not None and not self.cycle.response_complete)
            or self.pipeline
            or self.flow.write_paused
            or parser.get_method() != b"GET"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or self.transport.is_closing()
            or (self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency)
        ):
            return False
        try:
            answer = self._find(self.url, self.headers)
        except Exception:  # noqa: BLE001 - the ordinary way meets the same, and answers for it
            return False
        if answer is None:
            return False
        self.transport.writelines((self._started(), answer.head, answer.body))
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)
        return True

    def _started(self) -> bytes:
        """The status line with the lines that every response has; uvicorn makes them anew each second (Date)."""
        lines = self.server_state.default_headers
        if lines is not self._lines:
            self._lines, self._start = lines, _OK + b"".join(b"%b: %b\r\n" % line for line in lines)
        return self._start

    def _look_whether_idle(self) -> None:
        """Close a connection that idles after an answer given on the spot; after others, uvicorn watches it."""
        self._idle = None
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self._deadline is not None or self.timeout_keep_alive_task is not None:
            return
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle = self.loop.call_later(left, self._look_whether_idle)
        else:
            self._close()
