"""Multipart bodies written by hand, so that a test can be as wrong as it likes."""

import hashlib
from collections.abc import Mapping, Sequence

from client.small_distributions import build_wheel

WHEEL = "demo-1.0-py3-none-any.whl"
BYTES = build_wheel("demo", "1.0")
BOUNDARY = "7f9a"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

FIELDS: Mapping[str, str] = {
    ":action": "file_upload",
    "protocol_version": "1",
    "metadata_version": "2.1",
    "name": "demo",
    "version": "1.0",
    "filetype": "bdist_wheel",
    "pyversion": "py3",
    "sha256_digest": hashlib.sha256(BYTES).hexdigest(),
}

Part = tuple[str, bytes]


def field(name: str, value: str) -> Part:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(name: str, filename: str, data: bytes) -> Part:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return f"{disposition}\r\nContent-Type: application/octet-stream", data


def parts(fields: Mapping[str, str] = FIELDS, data: bytes = BYTES, filename: str = WHEEL) -> list[Part]:
    return [*(field(name, value) for name, value in fields.items()), file("content", filename, data)]


def body(found: Sequence[Part], boundary: str = BOUNDARY) -> bytes:
    pieces = [f"--{boundary}\r\n{headers}\r\n\r\n".encode() + data + b"\r\n" for headers, data in found]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()
