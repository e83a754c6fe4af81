"""The answering side of one HTTP/1.1 connection: bytes to requests, answers to bytes.

A request that can be read in two ways ends its connection: llhttp refuses contradictory lengths, and a field that
decides where a request leads must not come twice (RFC 9112 sections 3.2 and 6.3).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final, cast

import httptools

MAX_HEAD_BYTES: Final = 16_384
MAX_HELD_BYTES: Final = 262_144
MAX_WAITING: Final = 16
"""Requests that a peer may send ahead of our answers."""
CHUNK_BYTES: Final = 262_144

_SINGLE: Final = frozenset({"host", "content-length", "transfer-encoding", "authorization", "proxy-authorization"})
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class BadRequest(ConnectionError):
    """What came is no request that can be answered. ``status`` says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RequestBody:
    """The body of a request, as it comes in; bounded, because the peer is made to wait."""

    def __init__(self, connection: "ServedConnection") -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self.is_complete = False

    def add(self, data: bytes) -> None:
        """More of it came."""
        self._chunks.append(data)
        self._held += len(data)
        if self._held > MAX_HELD_BYTES:
            self._connection.pause()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Each part once. Raises ConnectionError when the connection ends before."""
        while True:
            while self._chunks:
                data = self._chunks.popleft()
                self._held -= len(data)
                yield data
            if self.is_complete:
                return
            self._connection.resume()
            await self._connection.wait()


@dataclass(frozen=True, slots=True)
class Request:
    """``target`` as it was sent. ``fields``: names in lower case; a name that came more than once is joined (", ")."""

    method: str
    target: str
    fields: Mapping[str, str]
    version: str
    body: RequestBody
    keeps_alive: bool

    def get(self, name: str) -> str | None:
        """The value of the field ``name`` (lower case)."""
        return self.fields.get(name)


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes ``start`` up to, not including, ``stop`` of the file at ``path``."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Response:
    """``body``: bytes, a part of a file, or a stream of unknown length. ``length``: for a HEAD, of what is not sent."""

    status: int = 200
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FilePart | AsyncIterator[bytes] = b""
    reason: str = ""
    length: int | None = None


class ServedConnection(asyncio.Protocol):
    """``request`` gives the next request, ``answer`` answers it; in turn, by one task."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        self._tail = b""
        self._error: BadRequest | None = None
        self._ended = False
        self._upgrades = False
        self._waiter: asyncio.Future[None] | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._between = 0
        self._body: RequestBody | None = None
        self._reset()

    # --- for the one who answers ------------------------------------------------------------------------------

    async def request(self) -> Request | None:
        """The next request, None at the end. Raises BadRequest, ConnectionError."""
        while not self._requests:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self.resume()
            await self._wait()
        return self._requests.popleft()

    def tail(self) -> bytes:
        """What came after the head of a CONNECT, or after a request that wanted another protocol."""
        return self._tail

    async def answer(self, request: Request, response: Response) -> bool:
        """Send ``response``; False when the connection must end after it."""
        keeps = request.keeps_alive and not self._upgrades and request.body.is_complete and not self._ended
        body, fields = response.body, dict(response.fields)
        length = _length(response)
        is_chunked = length is None and request.version == "1.1"
        if length is not None and response.status not in _WITHOUT_BODY:
            fields["Content-Length"] = str(length)
        elif is_chunked:
            fields["Transfer-Encoding"] = "chunked"
        keeps = keeps and (length is not None or is_chunked)
        if not keeps:
            fields["Connection"] = "close"
        head = encode_head(response.status, response.reason, fields)
        if isinstance(body, bytes):
            self._write(head + (b"" if request.method == "HEAD" else body))
        else:
            self._write(head)
            if request.method != "HEAD":
                await self._stream(_read_part(body) if isinstance(body, FilePart) else body, is_chunked=is_chunked)
        await self._drained()
        return keeps

    def say(self, status: int, reason: str, fields: Mapping[str, str] | None = None) -> None:
        """A last answer without a body."""
        with suppress(ConnectionError):
            self._write(encode_head(status, reason, {**(fields or {}), "Content-Length": "0", "Connection": "close"}))

    def establish(self) -> None:
        """Answer a CONNECT: from here on the bytes are another protocol's."""
        self._write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def close(self) -> None:
        """End the connection once everything is written."""
        if self.transport is not None:
            self.transport.close()

    def pause(self) -> None:
        """Take no more bytes for now."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Take bytes again."""
        if self.transport is not None:
            self.transport.resume_reading()

    async def wait(self) -> None:
        """Until something has come. Raises ConnectionError when nothing can come any more."""
        if self._ended or self._error is not None:
            raise ConnectionResetError("the connection ended within a request")
        await self._wait()

    # --- writing ----------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.transport.write(data)

    async def _drained(self) -> None:
        await self._can_write.wait()
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")

    async def _stream(self, parts: AsyncIterator[bytes], *, is_chunked: bool) -> None:
        async for part in parts:
            if part:
                self._write(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
                await self._drained()
        if is_chunked:
            self._write(b"0\r\n\r\n")

    # --- asyncio.Protocol -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol. Not called after an upgrade to TLS, where ``transport`` is set from outside."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse, bounded: heads are counted, bodies and waiting requests make the peer wait."""
        if self._error is not None or self._upgrades:
            self._tail = (self._tail + data)[:MAX_HEAD_BYTES]
            return
        self._between += len(data)
        try:
            self._parser.feed_data(data)
            if self._between > MAX_HEAD_BYTES + MAX_HELD_BYTES:
                raise BadRequest(431, "the head is too long")
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrades = True
            self._tail = data[upgrade.args[0] :]
        except (httptools.HttpParserError, BadRequest) as error:
            cause = error.__context__ if isinstance(error.__context__, BadRequest) else error
            self._error = cause if isinstance(cause, BadRequest) else BadRequest(400, "malformed request")
        if len(self._requests) > MAX_WAITING:
            self.pause()
        self._wake()

    def eof_received(self) -> bool | None:
        """The peer sends no more, and hears no more."""
        self._ended = True
        self._wake()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended = True
        self._can_write.set()
        self._wake()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._can_write.set()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- httptools --------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._target = b""
        self._fields: dict[str, str] = {}
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head; those of a trailer count for nothing."""
        self._count(len(name) + len(value))
        if self._body is not None:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in self._fields and key in _SINGLE:
            raise BadRequest(400, f"the field {key} came twice")
        self._fields[key] = f"{self._fields[key]}, {text}" if key in self._fields else text

    def on_headers_complete(self) -> None:
        """The head is whole: the request can be answered while its body still comes."""
        if "content-length" in self._fields and "transfer-encoding" in self._fields:
            raise BadRequest(400, "two lengths of one body")
        if self._fields.get("transfer-encoding", "chunked").lower() != "chunked":
            raise BadRequest(400, "a transfer coding that is not known")
        self._body = RequestBody(self)
        method = self._parser.get_method().decode("ascii")
        target = self._target.decode("latin-1")
        version, keeps = self._parser.get_http_version(), self._parser.should_keep_alive()
        self._requests.append(Request(method, target, self._fields, version, self._body, keeps))
        self._reset()
        self._between = 0

    def on_body(self, data: bytes) -> None:
        """A part of a body."""
        if self._body is not None:
            self._body.add(data)
        self._between = 0

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._body is not None:
            self._body.is_complete = True
        self._body = None

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > MAX_HEAD_BYTES:
            raise BadRequest(431, "the head is too long")


def encode_head(status: int, reason: str, fields: Mapping[str, str]) -> bytes:
    """The head of an answer. ``reason``: printable ASCII, the usual phrase when empty."""
    lines = [f"HTTP/1.1 {status} {reason or _PHRASES.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in the head of an answer")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _length(response: Response) -> int | None:
    match response.body:
        case bytes() as data:
            return response.length if response.length is not None else len(data)
        case FilePart(start=start, stop=stop):
            return stop - start
    return response.length


async def _read_part(part: FilePart) -> AsyncIterator[bytes]:
    """Straight from disk with flat memory: the file was written or hashed just now, so it is in the page cache."""
    left = part.stop - part.start
    with part.path.open("rb", buffering=0) as stream:
        stream.seek(part.start)
        while left:
            data = stream.read(min(CHUNK_BYTES, left))
            if not data:
                raise ConnectionAbortedError("a file became shorter while it was sent")
            yield data
            left -= len(data)
