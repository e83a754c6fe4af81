"""The asking side of one HTTP/1.1 connection: a request out, the head of the answer and its body in."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

import httptools

MAX_HEAD_BYTES: Final = 65_536
MAX_HELD_BYTES: Final = 1_048_576
"""Past this much unread body the peer is made to wait."""

_SINGLE: Final = frozenset({"content-length", "content-encoding", "etag", "location", "transfer-encoding"})
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class BrokenMessage(ConnectionError):
    """The peer does not speak HTTP, or ended in the middle of a message."""


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """``fields``: names in lower case, in the order they came."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first value of the field ``name`` (lower case)."""
        return next((value for key, value in self.fields if key == name), None)


class Connection(asyncio.Protocol):
    """One request at a time: ``send``, then ``head``, then ``read`` until it returns nothing."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self.is_reusable = True
        self._is_complete = False
        self._held = 0
        self._begin(without_body=False)

    # --- for the one who asks ---------------------------------------------------------------------------------

    def send(self, request: bytes, *, without_body: bool = False) -> None:
        """Write a whole request. ``without_body``: the answer will have none whatever its head says (HEAD)."""
        if self.transport is None or not self.is_reusable:
            raise BrokenMessage("the connection is closed")
        self._begin(without_body=without_body)
        self.is_reusable = False
        self.transport.write(request)

    async def send_more(self, data: bytes) -> None:
        """A part of the request's body. Raises ConnectionError."""
        if self.transport is None or self._closed:
            raise BrokenMessage("the connection is closed")
        self.transport.write(data)
        await self._can_write.wait()

    async def head(self) -> AnswerHead:
        """The head of the answer. Raises ConnectionError."""
        while self._head is None:
            self._require_open()
            await self._wait()
        return self._head

    async def read(self) -> bytes:
        """The next bytes of the body, as many as are here; none at its end. Raises ConnectionError."""
        while not self._chunks:
            if self._is_complete:
                return b""
            self._require_open()
            await self._wait()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._held > MAX_HELD_BYTES and self.transport is not None:
            self.transport.resume_reading()
        self._held = 0
        return data

    @property
    def was_answered(self) -> bool:
        """Has any byte of an answer come?"""
        return self._fed > 0

    def close(self) -> None:
        """End the connection."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End the connection without a word; for one that is in the middle of something."""
        self.is_reusable = False
        if self.transport is not None:
            self.transport.abort()

    # --- state of one answer ----------------------------------------------------------------------------------

    def _begin(self, *, without_body: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._without_body = without_body
        self._reason = b""
        self._fields: list[tuple[str, str]] = []
        self._head: AnswerHead | None = None
        self._chunks: list[bytes] = []
        self._held = self._fed = self._body = 0
        self._is_complete = False
        self._error: BaseException | None = None
        self.is_reusable = True

    def _require_open(self) -> None:
        if self._error is not None:
            raise BrokenMessage(str(self._error)) from self._error
        if self._closed:
            raise BrokenMessage("the connection ended before the answer did")

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- asyncio.Protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol. Not called after an upgrade to TLS, where ``transport`` is set from outside."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        """Parse; a message that is not HTTP, or mostly not body, ends the connection."""
        if self.is_reusable or self._is_complete:  # bytes that nobody asked for
            self.abort()
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
            if self._fed - self._body > MAX_HEAD_BYTES + self._body:
                raise BrokenMessage("the head of the answer is too long")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, BrokenMessage) as error:
            if not self._is_complete:
                self._error = error.__context__ if isinstance(error.__context__, BrokenMessage) else error
            self.abort()
        self._wake()

    def eof_received(self) -> bool | None:
        """The end of the connection is the end of a body that nothing else delimits (RFC 9112 section 6.3)."""
        if self._head is not None and self._is_delimited_by_end(self._head):
            self._is_complete = True
        self._wake()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._closed = True
        self.is_reusable = False
        self._can_write.set()
        self._error = self._error or exc
        self._wake()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._can_write.set()

    @staticmethod
    def _is_delimited_by_end(head: AnswerHead) -> bool:
        return head.get("content-length") is None and head.get("transfer-encoding") is None

    # --- httptools --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """One answer for one request: what comes behind it in the same breath would be taken for the next one's."""
        if self._is_complete:
            raise BrokenMessage("an answer that nobody asked for")

    def on_status(self, status: bytes) -> None:
        """A part of the reason phrase."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; one that decides how the answer is read must not come twice."""
        if self._head is not None:
            return  # a trailer
        key = name.decode("latin-1").lower()
        if key in _SINGLE and any(key == other for other, _ in self._fields):
            raise BrokenMessage(f"two fields {key}")
        self._fields.append((key, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is whole; heads of interim answers (1xx) are passed over."""
        status = self._parser.get_status_code()
        if status >= HTTPStatus.OK:
            self._head = AnswerHead(status, self._reason.decode("latin-1"), tuple(self._fields))
            if self._without_body or status in _WITHOUT_BODY:
                self._is_complete = True
                self.is_reusable = not self._without_body and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._is_complete:
            return
        self._chunks.append(body)
        self._body += len(body)
        self._held += len(body)
        if self._held > MAX_HELD_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._head is None:  # an interim answer
            self._reason, self._fields = b"", []
        elif not self._is_complete:
            self._is_complete = True
            self.is_reusable = self._parser.should_keep_alive()


def encode_request(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    """The head of a request. Raises ValueError for a field that is more than one line."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
