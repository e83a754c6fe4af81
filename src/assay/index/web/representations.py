"""Bodies as ready responses, plain and compressed, and the one function that answers with them.

Invariant: two different bodies never share an ETag, and each coding has its own (RFC 9110 section 8.8.3.3).
"""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from assay.formats.negotiation import Encoding, choose_encoding
from assay.index.web.asgi import NOSNIFF, Headers, Message, Request, Send
from assay.index.web.cache import Kind
from assay.index.web.conditional import matching_tag

VARY_ENCODING: Final = (b"vary", b"Accept-Encoding")
VARY_TYPE_AND_ENCODING: Final = (b"vary", b"Accept, Accept-Encoding")

_GZIP_LEVEL: Final = 6
_MIN_GZIP_BYTES: Final = 200
_MAX_REMEMBERED_CHARS: Final = 256
_IN_304: Final = frozenset((b"cache-control", b"vary"))


@dataclass(frozen=True, slots=True)
class Representation:
    """One body with its quoted strong ``etag``, as the two ASGI messages of its 200; ``head``: its header lines."""

    etag: str
    start: Message
    body: Message
    head: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """The same body twice; ``gzip`` is None where compressing does not pay. ``cost``: bytes of memory."""

    identity: Representation
    gzip: Representation | None
    cost: int


def encode(body: bytes, tag: str, *headers: tuple[bytes, bytes]) -> Encoded:
    """``body`` plain under the ETag ``"<tag>"``, and compressed under ``"<tag>-gzip"``, with ``headers`` on both."""
    identity = _represent(body, f'"{tag}"', headers)
    packed = gzip.compress(body, _GZIP_LEVEL, mtime=0) if len(body) >= _MIN_GZIP_BYTES else body
    if len(packed) >= len(body):
        return Encoded(identity, None, len(body))
    coded = _represent(packed, f'"{tag}-gzip"', (*headers, (b"content-encoding", b"gzip")))
    return Encoded(identity, coded, len(body) + len(packed))


def encode_as(coding: str, packed: bytes, tag: str, *headers: tuple[bytes, bytes]) -> Encoded:
    """A body that is ``packed`` in one ``coding`` only, under the ETag ``"<tag>-<coding>"``."""
    lines = (*headers, (b"content-encoding", coding.encode("ascii")))
    return Encoded(_represent(packed, f'"{tag}-{coding}"', lines), None, len(packed))


def _represent(body: bytes, etag: str, headers: tuple[tuple[bytes, bytes], ...]) -> Representation:
    lines = [*headers, NOSNIFF, (b"etag", etag.encode("ascii")), (b"content-length", b"%d" % len(body))]
    return Representation(
        etag,
        {"type": "http.response.start", "status": 200, "headers": lines},
        {"type": "http.response.body", "body": body},
        header_lines(lines),
    )


def header_lines(headers: Headers) -> bytes:
    """``headers`` as they go over the wire, with the empty line behind them."""
    return b"".join(b"%b: %b\r\n" % line for line in headers) + b"\r\n"


def sha256_tag(data: bytes) -> str:
    """The SHA-256 of ``data`` in hex: an ETag without its quotes."""
    return hashlib.sha256(data).hexdigest()


def encoded_kind(
    name: str, render: Callable[[bytes], bytes], *headers: tuple[bytes, bytes], tag_suffix: str = ""
) -> Kind[Encoded]:
    """The kind of values that are ``render(file)`` as a response; the ETag is the *file's* SHA-256, with a suffix."""

    def make(data: bytes) -> Encoded:
        return encode(render(data), sha256_tag(data) + tag_suffix, *headers)

    return Kind(name, make, lambda encoded: encoded.cost)


async def send_encoded(request: Request, send: Send, encoded: Encoded) -> None:
    """Answer with the coding that the client prefers: 200, or 304 where it has either coding of this body already."""
    chosen, other = choose(encoded, request.header(b"accept-encoding"))
    if_none_match = request.header(b"if-none-match")
    if if_none_match is not None:
        etags = (chosen.etag, other.etag) if other is not None else (chosen.etag,)
        etag = matching_tag(if_none_match, *etags)
        if etag is not None:
            kept = [line for line in chosen.start["headers"] if line[0] in _IN_304]
            headers = [*kept, (b"etag", etag.encode("ascii"))]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
    await send(chosen.start)
    await send(chosen.body)


def choose(encoded: Encoded, accept_encoding: str | None) -> tuple[Representation, Representation | None]:
    """The coding that a client with this ``Accept-Encoding`` prefers, and the other one."""
    if encoded.gzip is not None and _encoding(accept_encoding) == "gzip":
        return encoded.gzip, encoded.identity
    return encoded.identity, encoded.gzip


_remembered_encoding = lru_cache(maxsize=512)(choose_encoding)


def _encoding(accept_encoding: str | None) -> Encoding:
    if accept_encoding is None or len(accept_encoding) > _MAX_REMEMBERED_CHARS:
        return choose_encoding(accept_encoding)
    return _remembered_encoding(accept_encoding)
