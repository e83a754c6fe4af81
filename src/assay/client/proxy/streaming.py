"""A verified file to the child: whole or one range."""

from typing import TYPE_CHECKING, Final

from assay.client.proxy.ranges import ByteRange, Unsatisfiable, parse_range
from assay.http1.serving import FilePart, Request, Response

if TYPE_CHECKING:
    from assay.client.trusted_index import VerifiedFile

IMMUTABLE: Final = "public, max-age=31536000, immutable"


def file_headers(sha256: str) -> dict[str, str]:
    """The headers that every answer about a file has: it never changes."""
    return {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Cache-Control": IMMUTABLE,
        "ETag": f'"{sha256}"',
    }


def requested_range(request: Request, sha256: str, size: int) -> ByteRange | None:
    """The range that ``request`` asks for, None for the whole file. Raises Unsatisfiable."""
    condition = request.get("if-range")
    if condition is not None and condition != f'"{sha256}"':
        return None
    return parse_range(request.get("range"), size)


def answer_file(request: Request, file: "VerifiedFile") -> Response:
    """``file``, or the part of it that is asked for."""
    fields = file_headers(file.sha256)
    try:
        part = requested_range(request, file.sha256, file.size)
    except Unsatisfiable:
        return Response(416, fields | {"Content-Range": f"bytes */{file.size}"})
    if part is None:
        return Response(200, fields, FilePart(file.path, 0, file.size))
    fields["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{file.size}"
    return Response(206, fields, FilePart(file.path, part.start, part.stop))
