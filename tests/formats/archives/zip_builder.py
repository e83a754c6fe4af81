"""ZIP archives byte by byte: every field of every header can be set to what no honest tool would write."""

import base64
import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

STORED, DEFLATED = 0, 8
UTF8 = 0x800
DIST_INFO = "demo-1.0.dist-info"
WHEEL_NAME = "demo-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: idna>=3\n\nA demo.\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

Fields = Mapping[str, "int | bytes"]


@dataclass(frozen=True)
class Entry:
    """One member. ``both``, ``central`` and ``local`` overwrite fields of the two headers by name.

    ``data``: the bytes in the archive, if not what ``content`` compresses to. ``before``, ``after``: unclaimed.
    """

    name: str | bytes
    content: bytes = b""
    method: int = DEFLATED
    mode: int = 0o100644
    both: Fields = field(default_factory=dict)
    central: Fields = field(default_factory=dict)
    local: Fields = field(default_factory=dict)
    data: bytes | None = None
    before: bytes = b""
    after: bytes = b""

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    def packed(self) -> bytes:
        if self.data is not None:
            return self.data
        return deflate(self.content) if self.method == DEFLATED else self.content


@dataclass(frozen=True)
class Archive:
    """What stands around the members. ``end`` overwrites fields of the end record; ``directory_order`` reorders it."""

    entries: Sequence[Entry]
    prefix: bytes = b""
    before_directory: bytes = b""
    after_directory: bytes = b""
    before_end: bytes = b""
    trailing: bytes = b""
    end: Fields = field(default_factory=dict)
    reverse_directory: bool = False
    adjust_offsets: bool = True

    def build(self) -> bytes:
        out, records = bytearray(self.prefix), []
        for entry in self.entries:
            out += entry.before
            records.append(_central(entry, len(out) if self.adjust_offsets else len(out) - len(self.prefix)))
            out += _local(entry) + entry.packed() + entry.after
        out += self.before_directory
        offset = len(out)
        directory = b"".join(reversed(records) if self.reverse_directory else records) + self.after_directory
        fields: dict[str, int | bytes] = {
            "magic": b"PK\5\6",
            "disk": 0,
            "first_disk": 0,
            "here": len(records),
            "count": len(records),
            "size": len(directory),
            "offset": offset,
            "comment": b"",
        }
        fields |= self.end
        return bytes(out + directory + self.before_end + _end(fields) + self.trailing)


def deflate(content: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def extra(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _fields(entry: Entry) -> dict[str, int | bytes]:
    return {
        "needs": 20,
        "flags": 0 if entry.raw_name.isascii() else UTF8,
        "method": entry.method,
        "crc": zlib.crc32(entry.content),
        "compressed": len(entry.packed()),
        "size": len(entry.content),
        "name": entry.raw_name,
        "extra": b"",
    }


def _local(entry: Entry) -> bytes:
    f = {"magic": b"PK\3\4"} | _fields(entry) | dict(entry.both) | dict(entry.local)
    name, extras = f["name"], f["extra"]
    if not isinstance(name, bytes) or not isinstance(extras, bytes):
        raise TypeError("name and extra are bytes")
    header = struct.pack(
        "<4s5H3L2H", f["magic"], f["needs"], f["flags"], f["method"], 0, 33, f["crc"], f["compressed"], f["size"],
        f.get("name_bytes", len(name)), f.get("extra_bytes", len(extras)),
    )  # fmt: skip
    return header + name + extras


def _central(entry: Entry, offset: int) -> bytes:
    f: dict[str, int | bytes] = {
        "magic": b"PK\1\2",
        "made_by": 0x0314,
        "comment": b"",
        "disk": 0,
        "external": entry.mode << 16 | (0x10 if entry.raw_name.endswith(b"/") else 0),
        "offset": offset,
    }
    f |= _fields(entry) | dict(entry.both) | dict(entry.central)
    name, extras, comment = f["name"], f["extra"], f["comment"]
    if not isinstance(name, bytes) or not isinstance(extras, bytes) or not isinstance(comment, bytes):
        raise TypeError("name, extra and comment are bytes")
    header = struct.pack(
        "<4s6H3L5H2L", f["magic"], f["made_by"], f["needs"], f["flags"], f["method"], 0, 33, f["crc"], f["compressed"],
        f["size"], f.get("name_bytes", len(name)), f.get("extra_bytes", len(extras)),
        f.get("comment_bytes", len(comment)), f["disk"], 0, f["external"], f["offset"],
    )  # fmt: skip
    return header + name + extras + comment


def _end(f: Mapping[str, int | bytes]) -> bytes:
    comment = f["comment"]
    if not isinstance(comment, bytes):
        raise TypeError("comment is bytes")
    length = f.get("comment_bytes", len(comment))
    counts = f["disk"], f["first_disk"], f["here"], f["count"]
    return struct.pack("<4s4H2LH", f["magic"], *counts, f["size"], f["offset"], length) + comment


def zip64_end(count: int, size: int, offset: int, at: int) -> bytes:
    """A ZIP64 end record and its locator, the record lying at ``at``."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)


def record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    quoted = '"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name
    return f"{quoted},sha256={digest},{len(content)}\n"


MODULE = Entry("demo.py", b"VERSION = '1.0'\n" * 8)


def wheel_entries(
    *more: Entry,
    module: Entry = MODULE,
    metadata: bytes | None = METADATA,
    wheel: bytes | None = WHEEL,
    record: bytes | None = None,
    stem: str = "demo-1.0",
    dist_info: str | None = None,
) -> list[Entry]:
    """The members of a sound wheel with ``more`` of them; RECORD is computed unless given."""
    folder = dist_info or f"{stem}.dist-info"
    entries = [module, *more]
    if metadata is not None:
        entries.append(Entry(f"{folder}/METADATA", metadata))
    if wheel is not None:
        entries.append(Entry(f"{folder}/WHEEL", wheel))
    if record is None:
        files = [e for e in entries if not e.raw_name.endswith(b"/")]
        lines = [record_line(e.raw_name.decode("utf-8", "replace"), e.content) for e in files]
        record = ("".join(lines) + f"{folder}/RECORD,,\n").encode()
    return [*entries, Entry(f"{folder}/RECORD", record)]


def wheel(
    *more: Entry,
    module: Entry = MODULE,
    metadata: bytes | None = METADATA,
    wheel: bytes | None = WHEEL,
    record: bytes | None = None,
    stem: str = "demo-1.0",
    dist_info: str | None = None,
) -> bytes:
    """A wheel of ``wheel_entries``, as an archive with nothing odd around its members."""
    entries = wheel_entries(
        *more, module=module, metadata=metadata, wheel=wheel, record=record, stem=stem, dist_info=dist_info
    )
    return Archive(entries).build()


def odd_module(**changes: object) -> bytes:
    """A sound wheel but for its module, with ``changes`` to that entry."""
    return wheel(module=replace(MODULE, **changes))  # type: ignore[arg-type]
