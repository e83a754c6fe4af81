"""A verified file's bytes to the child: whole or one range, straight from disk, with flat memory."""

import asyncio
from typing import TYPE_CHECKING, BinaryIO, Final

from aiohttp import web

from assay.client.proxy.ranges import ByteRange, Unsatisfiable, parse_range
from assay.model.errors import StorageUnavailable

if TYPE_CHECKING:
    from assay.client.trusted_index import VerifiedFile

CHUNK_BYTES: Final = 256 * 1024
IMMUTABLE: Final = "public, max-age=31536000, immutable"


def file_headers(sha256: str) -> dict[str, str]:
    """The headers that every answer about a file has: it never changes."""
    return {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Cache-Control": IMMUTABLE,
        "ETag": f'"{sha256}"',
    }


def requested_range(request: web.BaseRequest, sha256: str, size: int) -> ByteRange | None:
    """The range that ``request`` asks for, None for the whole file. Raises Unsatisfiable."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition != f'"{sha256}"':
        return None
    return parse_range(request.headers.get("Range"), size)


async def answer_file(request: web.BaseRequest, file: "VerifiedFile") -> web.StreamResponse:
    """Send ``file``, or the part that is asked for."""
    headers = file_headers(file.sha256)
    try:
        part = requested_range(request, file.sha256, file.size)
    except Unsatisfiable:
        return web.Response(status=416, headers=headers | {"Content-Range": f"bytes */{file.size}"})
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    if part:
        response.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
    part = part or ByteRange(0, file.size)
    response.content_length = len(part)
    stream = await asyncio.to_thread(file.path.open, "rb")
    try:
        await response.prepare(request)
        await _send(response, stream, part)
        await response.write_eof()
    finally:
        stream.close()
    return response


async def _send(response: web.StreamResponse, stream: BinaryIO, part: ByteRange) -> None:
    await asyncio.to_thread(stream.seek, part.start)
    left = len(part)
    while left:
        chunk = await asyncio.to_thread(stream.read, min(CHUNK_BYTES, left))
        if not chunk:
            raise StorageUnavailable("a downloaded file became shorter while it was sent", subject=stream.name)
        await response.write(chunk)
        left -= len(chunk)
