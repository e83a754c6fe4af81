"""tar archives header by header: every field can be set to what no honest tool would write."""

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass

SDIST_NAME = "demo-1.0.tar.gz"
PKG_INFO = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\nA demo.\n"
POSIX, GNU = b"ustar\x0000", b"ustar  \x00"
END = bytes(1024)


@dataclass(frozen=True)
class Header:
    """One 512-byte header. Raw fields (``size_field`` and so on) win over numbers."""

    name: bytes
    size: int = 0
    type: bytes = b"0"
    link: bytes = b""
    magic: bytes = POSIX
    prefix: bytes = b""
    size_field: bytes | None = None
    mode_field: bytes = b"0000644\0"
    uid_field: bytes = b"0000000\0"
    mtime_field: bytes = b"00000000000\0"
    unused: bytes = bytes(12)
    checksum: bytes | None = None
    checksum_delta: int = 0

    def build(self) -> bytes:
        size = self.size_field if self.size_field is not None else b"%011o\0" % self.size
        parts = (
            self.name, self.mode_field, self.uid_field, b"0000000\0", size, self.mtime_field, b" " * 8, self.type,
            self.link, self.magic, b"root", b"root", b"0000000\0", b"0000000\0", self.prefix, self.unused,
        )  # fmt: skip
        block = struct.pack("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s", *parts)
        total = b"%06o\0 " % (sum(block) + self.checksum_delta)
        return block[:148] + (total if self.checksum is None else self.checksum) + block[156:]


def member(
    name: str | bytes,
    content: bytes = b"",
    *,
    type: bytes = b"0",  # noqa: A002 - as in the header
    link: bytes = b"",
    padding: bytes = b"\0",
    **fields: object,
) -> bytes:
    """A header with its content and padding."""
    raw = name if isinstance(name, bytes) else name.encode()
    header = Header(raw, len(content), type, link, **fields)  # type: ignore[arg-type]
    fill = -len(content) % 512
    return header.build() + content + (padding * fill)[:fill]


def pax(records: Sequence[tuple[str, str]] | bytes, *, type: bytes = b"x", magic: bytes = POSIX) -> bytes:  # noqa: A002
    """A pax extended header with ``records``, or with exactly these bytes."""
    data = records if isinstance(records, bytes) else b"".join(pax_record(key, value) for key, value in records)
    return member("demo-1.0/PaxHeaders/x", data, type=type, magic=magic)


def pax_record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def long_name(name: bytes, *, type: bytes = b"L") -> bytes:  # noqa: A002
    """A GNU long name (or, with type K, long link); ``name`` with its NUL."""
    return member("././@LongLink", name, type=type, magic=GNU)


def tar(*members: bytes, pkg_info: bytes | None = PKG_INFO, end: bytes = END) -> bytes:
    """A tar of a sound sdist with ``members`` behind PKG-INFO."""
    first = member("demo-1.0/PKG-INFO", pkg_info) if pkg_info is not None else b""
    return first + b"".join(members) + end


def sdist(*members: bytes, pkg_info: bytes | None = PKG_INFO, end: bytes = END) -> bytes:
    return gzip.compress(tar(*members, pkg_info=pkg_info, end=end), mtime=0)
