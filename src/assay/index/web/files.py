"""Distributions and their sidecars at ``/packages/``: whole or in one range, in chunks, for ever the same.

Invariants: a name is answered with the blob that the catalogue gives it, or not at all; memory per request is one
chunk; the descriptor is closed on every path; nothing is sent on to a client that has gone.
"""

import asyncio
import os
import re
from functools import lru_cache
from typing import Final, NamedTuple

from assay.index.blobs import BlobStore
from assay.index.web.asgi import IMMUTABLE, NOSNIFF, REVALIDATE, Headers, Request, Send, respond
from assay.index.web.cache import remember_paths
from assay.index.web.catalogue import PROVENANCE_SUFFIX
from assay.index.web.conditional import ByteRange, UnsatisfiableRange, choose_range, matching_tag
from assay.index.web.pages import parse_segment
from assay.index.web.representations import header_lines
from assay.index.web.services import Catalogue, LocatedFile, PullThrough
from assay.model.digests import Sha256
from assay.model.errors import NotFound, StorageUnavailable
from assay.model.names import ProjectName

CHUNK_BYTES: Final = 262_144
_HASHED_NAME: Final = re.compile(r"([0-9a-f]{64})\.(.+)\Z", re.DOTALL)
_BINARY: Final = (b"content-type", b"application/octet-stream")
_TYPES: Final = {
    "metadata": (b"content-type", b"text/plain; charset=utf-8"),
    "asc": (b"content-type", b"application/pgp-signature"),
    "provenance": (b"content-type", b"application/vnd.pypi.integrity.v1+json"),
}
_SANDBOX: Final = (b"content-security-policy", b"sandbox; default-src 'none'")
_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class KnownFile(NamedTuple):
    """A published file that is to be answered whole: the blob's path, its length, and the header lines of the 200.

    ``is_proxied``: the web server in front sends the bytes.
    """

    path: str
    size: int
    head: bytes
    is_proxied: bool


class PackageFiles:
    """Everything under ``/packages/``."""

    def __init__(
        self,
        blobs: BlobStore,
        catalogue: Catalogue,
        pull_through: PullThrough | None = None,
        proxied_blobs: str = "",
    ) -> None:
        self._path = remember_paths(blobs.path)
        self._proxied = proxied_blobs
        self._root_length = len(os.fspath(blobs.root)) + 1
        self._catalogue = catalogue
        self._pull_through = pull_through

    async def answer(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET or HEAD of ``/packages/`` + project, version, filename (plain or hashed). Raises NotFound."""
        if len(segments) != 3:
            raise NotFound("no such address")
        text, version, name = segments
        project = parse_segment(text)
        filename, located = await self._locate(project, version, name)
        if located is None and self._pull_through is not None:
            if name.endswith(PROVENANCE_SUFFIX):
                await self._pull_through.fetch_provenance(project, version, name.removesuffix(PROVENANCE_SUFFIX))
            else:
                await self._pull_through.fetch_page(project)
            filename, located = await self._locate(project, version, name)
        if located is None or project != text:
            raise NotFound("no such file here", subject=name[:255])
        path = self._path(located.sha256)
        descriptor = await self._open(path, project, version, filename)
        try:
            await _send_file(request, send, descriptor, located, _content_type(name), self._proxied_at(path))
        finally:
            os.close(descriptor)

    def peek(self, segments: list[str]) -> KnownFile | None:
        """What ``answer`` would send for these segments, if its page is at hand and knows the length; else None."""
        if len(segments) != 3:
            return None
        project, version, name = segments
        hashed = _HASHED_NAME.match(name)
        located = self._catalogue.peek(project, version, hashed.group(2) if hashed else name)
        if located is None or located.size is None or (hashed and hashed.group(1) != located.sha256):
            return None
        path = self._path(located.sha256)
        head = _whole_head(located, name.rpartition(".")[2], self._proxied_at(path))
        return KnownFile(path, located.size, head, bool(self._proxied))

    def _proxied_at(self, path: str) -> str | None:
        """Where the web server in front finds the blob at ``path``; None where there is none."""
        return self._proxied + path[self._root_length :] if self._proxied else None

    async def _locate(self, project: ProjectName, version: str, name: str) -> tuple[str, LocatedFile | None]:
        """The plain filename, and its blob. A hashed name (a consistent snapshot's) must carry the blob's own hash."""
        hashed = _HASHED_NAME.match(name)
        if hashed is None:
            return name, await self._catalogue.locate(project, version, name)
        located = await self._catalogue.locate(project, version, hashed.group(2))
        return hashed.group(2), located if located and located.sha256 == Sha256(hashed.group(1)) else None

    async def _open(self, path: str, project: ProjectName, version: str, filename: str) -> int:
        """A descriptor of the blob, which the pull-through may bring in first."""
        descriptor = _open_blob(path)
        if descriptor is None and self._pull_through is not None:
            await self._pull_through.fetch_file(project, version, filename)
            descriptor = _open_blob(path)
        if descriptor is None:
            raise StorageUnavailable("a published file is not in the store", rule="blob-missing", subject=filename)
        return descriptor


def _content_type(name: str) -> tuple[bytes, bytes]:
    return _TYPES.get(name.rpartition(".")[2], _BINARY)


def _open_blob(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable("a published file cannot be read", found=str(error)) from error


async def _send_file(
    request: Request,
    send: Send,
    descriptor: int,
    located: LocatedFile,
    content_type: tuple[bytes, bytes],
    proxied_at: str | None,
) -> None:
    """``proxied_at``: where a web server in front finds the blob; what comes with ``If-Range`` it cannot answer."""
    size = os.fstat(descriptor).st_size
    if located.size is not None and located.size != size:
        raise StorageUnavailable(
            "the store's file has another length than was published",
            rule="blob-length",
            subject=located.sha256,
            expected=str(located.size),
            found=str(size),
        )
    etag, headers = _validators(located)
    if matching_tag(request.header(b"if-none-match"), etag) is not None:
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    headers += [content_type, NOSNIFF, _SANDBOX]
    if proxied_at is not None and request.header(b"if-range") is None:
        await respond(send, 200, [*headers, (b"x-accel-redirect", proxied_at.encode("ascii"))])
        return
    wanted = _wanted_range(request, etag, size)
    if isinstance(wanted, UnsatisfiableRange):
        await respond(send, 416, [*headers[:1], (b"content-range", b"bytes */%d" % size), NOSNIFF])
        return
    part = wanted or ByteRange(0, size)
    headers.append((b"content-length", b"%d" % (part.stop - part.start)))
    if wanted is not None:
        headers.append((b"content-range", wanted.content_range(size)))
    await send({"type": "http.response.start", "status": 206 if wanted else 200, "headers": headers})
    if request.method == "HEAD":
        await send({"type": "http.response.body", "body": b""})
    else:
        await _send_chunks(request, send, descriptor, part)


def _validators(located: LocatedFile) -> tuple[str, Headers]:
    etag = f'"{located.sha256}"'
    caching = IMMUTABLE if located.immutable else REVALIDATE
    return etag, [(b"etag", etag.encode("ascii")), caching, (b"accept-ranges", b"bytes")]


@lru_cache(maxsize=4_096)
def _whole_head(located: LocatedFile, extension: str, proxied_at: str | None) -> bytes:
    """The header lines of a whole file, as ``_send_file`` sends them."""
    _, headers = _validators(located)
    headers += [_TYPES.get(extension, _BINARY), NOSNIFF, _SANDBOX]
    if proxied_at is not None:
        return header_lines([*headers, (b"x-accel-redirect", proxied_at.encode("ascii")), (b"content-length", b"0")])
    return header_lines([*headers, (b"content-length", b"%d" % (located.size or 0))])


def _wanted_range(request: Request, etag: str, size: int) -> ByteRange | UnsatisfiableRange | None:
    """Ranges are defined for GET alone (RFC 9110 section 14.2)."""
    text = request.header(b"range") if request.method == "GET" else None
    return choose_range(text, request.header(b"if-range"), etag, size) if text is not None else None


async def _send_chunks(request: Request, send: Send, descriptor: int, part: ByteRange) -> None:
    """Send the bytes of ``part``. A file that ends early raises, so that the server cuts the response off."""
    connection = request.connection
    offset = part.start
    if connection is not None and part.stop - part.start > CHUNK_BYTES:
        offset = await connection.send_file(descriptor, part.start, part.stop)
    while offset < part.stop:
        if connection is not None and connection.is_lost():
            return
        chunk = await _read(descriptor, min(CHUNK_BYTES, part.stop - offset), offset)
        if not chunk:
            raise StorageUnavailable("a published file ended early", rule="blob-length")
        offset += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _read(descriptor: int, length: int, offset: int) -> bytes | bytearray:
    """At most ``length`` bytes at ``offset``: at once from the page cache, from a slow disk in a thread."""
    if _NOWAIT:
        buffer = bytearray(length)
        try:
            count = os.preadv(descriptor, [buffer], offset, _NOWAIT)
        except OSError:  # not in the page cache, or a file system that cannot tell
            count = 0
        if count:
            return buffer if count == length else buffer[:count]
    return await asyncio.to_thread(os.pread, descriptor, length, offset)
