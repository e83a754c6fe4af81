"""ZIP archives, with one reading or none (APPNOTE 6.3.10).

What is accepted is a small subset of the format, chosen so that readers of every kind (from the end record, from the
central directory, or streaming over the local headers) see the same members with the same bytes: the members tile the
file from its first byte to the directory, the directory ends where the end record begins, the end record ends the
file, and each local header repeats its directory entry. No ZIP64 directory, comments, data descriptors, encryption,
links or methods other than stored and deflated. Memory: the directory, and one chunk of a member.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple

from assay.formats.archive_paths import MemberPaths, PathKind, shown
from assay.formats.limits import InspectionLimits
from assay.model.errors import InvalidDistribution, TooLarge

CHUNK_BYTES: Final = 128 * 1024

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MAGIC, _ENTRY_MAGIC, _LOCAL_MAGIC, _LOCATOR_MAGIC = b"PK\5\6", b"PK\1\2", b"PK\3\4", b"PK\6\7"
_LOCATOR_BYTES = 20

_STORED, _DEFLATED = 0, 8
_UTF8_FLAG = 0x800
_KNOWN_FLAGS = _UTF8_FLAG | 0x6
"""Bits 1 and 2 say how hard deflate tried; every other bit changes how the member is read."""
_FLAG_RULES = (
    (0x1, "zip-encrypted", "the member is encrypted"),
    (0x8, "zip-data-descriptor", "the member's sizes stand behind its data (data descriptor)"),
)
_MAX_VERSION_NEEDED = 45
_SYSTEMS = {0, 3}
_FILE_TYPE_MASK, _REGULAR, _DIRECTORY, _LINK = 0o170000, 0o100000, 0o040000, 0o120000
_DOS_DIRECTORY, _DOS_IGNORED = 0x10, 0x21
_SATURATED_32 = 0xFFFFFFFF
_ZIP64_EXTRA = 0x0001
_HARMLESS_EXTRAS = {0x5455: (1, 13), 0x7875: (3, 32), 0x000A: (32, 32), 0x5855: (8, 12), 0x7855: (0, 4)}
"""Extra fields that carry times and owners only, with their legal lengths in bytes."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One entry of the directory. ``name`` ends with ``/`` for a directory; sizes in bytes."""

    name: str
    crc: int
    size: int
    compressed_bytes: int
    header_offset: int
    method: int
    flags: int

    @property
    def raw_name(self) -> bytes:
        """The name as both headers have it."""
        return self.name.encode()

    @property
    def is_directory(self) -> bool:
        """Directories hold no bytes."""
        return self.name.endswith("/")


class _End(NamedTuple):
    entries: int
    directory_bytes: int
    directory_offset: int


class _Entry(NamedTuple):
    made_by: int
    needs: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed_bytes: int
    size: int
    name_bytes: int
    extra_bytes: int
    comment_bytes: int
    disk: int
    internal: int
    external: int
    header_offset: int


class ZipArchive:
    """An archive whose directory and local headers were checked. ``stream`` stays the caller's and must not change.

    Only ``open_zip`` builds one. ``members`` are in the order of their data.
    """

    def __init__(self, stream: BinaryIO, members: dict[str, ZipMember], data_offsets: dict[str, int]) -> None:
        self._stream = stream
        self._data_offsets = data_offsets
        self.members = members

    def read(self, name: str, max_bytes: int) -> bytes:
        """The whole content of ``name``, its CRC checked. Raises TooLarge beyond ``max_bytes``, KeyError if absent."""
        member = self.members[name]
        if member.size > max_bytes:
            raise TooLarge(
                "member is too large",
                rule="zip-member-size",
                subject=shown(name),
                expected=f"at most {max_bytes} bytes",
                found=f"{member.size} bytes",
            )
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of ``name``, at most CHUNK_BYTES at a time.

        The last step raises InvalidDistribution unless exactly ``size`` bytes with the declared CRC came out of exactly
        ``compressed_bytes``; nothing read before that is trustworthy.
        """
        member = self.members[name]
        content = _inflate if member.method == _DEFLATED else _stored
        crc = size = 0
        for chunk in content(self._compressed(member), member):
            size += len(chunk)
            if size > member.size:
                break
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if size != member.size:
            raise _refused(
                member.name, "zip-size", "content has not the declared size", str(member.size), f"at least {size}"
            )
        if crc != member.crc:
            raise _refused(
                member.name, "zip-crc", "content has not the declared CRC", f"{member.crc:08x}", f"{crc:08x}"
            )

    def _compressed(self, member: ZipMember) -> Iterator[bytes]:
        offset, left = self._data_offsets[member.name], member.compressed_bytes
        while left:
            chunk = _read_at(self._stream, offset, min(left, CHUNK_BYTES))
            offset, left = offset + len(chunk), left - len(chunk)
            yield chunk


def open_zip(stream: BinaryIO, limits: InspectionLimits) -> ZipArchive:
    """Check the structure of the ZIP in ``stream`` (seekable) without reading any member's content.

    Raises InvalidDistribution naming the member and the rule, TooLarge for a bound. Costs one read of the directory
    and one read of 30 bytes and more per member.
    """
    archive_bytes = stream.seek(0, 2)
    end = _read_end(stream, archive_bytes, limits)
    members = _parse_directory(_read_at(stream, end.directory_offset, end.directory_bytes), end.entries, limits)
    _check_totals(members, archive_bytes, limits)
    members.sort(key=lambda member: member.header_offset)
    data_offsets = _check_local_headers(stream, members, end.directory_offset)
    return ZipArchive(stream, {member.name: member for member in members}, data_offsets)


def _read_end(stream: BinaryIO, archive_bytes: int, limits: InspectionLimits) -> _End:
    if archive_bytes < _END.size:
        raise _refused(None, "zip-end", "not a ZIP archive", f"at least {_END.size} bytes", f"{archive_bytes} bytes")
    magic, disk, first_disk, here, count, size, offset, comment_bytes = _END.unpack(
        _read_at(stream, archive_bytes - _END.size, _END.size)
    )
    if magic != _END_MAGIC or comment_bytes:
        raise _refused(
            None,
            "zip-end",
            "the file does not end with a ZIP end record (trailing data, a comment, or not a ZIP)",
            "an end record without comment as the last 22 bytes",
        )
    if count == 0xFFFF or here == 0xFFFF or _SATURATED_32 in (size, offset):
        raise _refused(None, "zip-zip64", "a ZIP64 directory is not accepted", "under 65,535 members and 4 GiB")
    if disk or first_disk or here != count:
        raise _refused(None, "zip-disks", "the archive claims to span several disks")
    if offset + size != archive_bytes - _END.size:
        raise _refused(
            None,
            "zip-layout",
            "the directory does not end where the end record begins",
            str(archive_bytes - _END.size),
            str(offset + size),
        )
    _check_bound("members", count, limits.max_members, "zip-members")
    _check_bound("bytes of directory", size, limits.max_directory_bytes, "zip-directory-size")
    if size >= _LOCATOR_BYTES:
        tail = _read_at(stream, archive_bytes - _END.size - _LOCATOR_BYTES, _LOCATOR_BYTES)
        if tail.startswith(_LOCATOR_MAGIC):
            raise _refused(None, "zip-zip64", "a ZIP64 locator is hidden in the directory")
    return _End(count, size, offset)


def _parse_directory(data: bytes, count: int, limits: InspectionLimits) -> list[ZipMember]:
    members: list[ZipMember] = []
    paths = MemberPaths(limits)
    at = 0
    for _ in range(count):
        if len(data) - at < _ENTRY.size or data[at : at + 4] != _ENTRY_MAGIC:
            raise _refused(
                None, "zip-directory", "the directory has fewer entries than the end record says", str(count)
            )
        entry = _Entry._make(_ENTRY.unpack_from(data, at)[1:])
        name_at = at + _ENTRY.size
        extra_at = name_at + entry.name_bytes
        at = extra_at + entry.extra_bytes + entry.comment_bytes
        if at > len(data):
            raise _refused(None, "zip-directory", "a directory entry runs past the directory's end")
        member = _parse_member(entry, data[name_at:extra_at])
        _check_entry(member, entry, data[extra_at : extra_at + entry.extra_bytes])
        paths.add(member.name.removesuffix("/"), PathKind.DIRECTORY if member.is_directory else PathKind.FILE)
        members.append(member)
    if at != len(data):
        raise _refused(None, "zip-directory", "the directory has more bytes than its entries", str(at), str(len(data)))
    return members


def _parse_member(entry: _Entry, raw_name: bytes) -> ZipMember:
    try:
        name = raw_name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(ascii(raw_name[:200]), "zip-name-encoding", "member name is not UTF-8") from error
    if not raw_name.isascii() and not entry.flags & _UTF8_FLAG:
        raise _refused(name, "zip-name-encoding", "member name is not ASCII, and not flagged as UTF-8")
    return ZipMember(
        name=name,
        crc=entry.crc,
        size=entry.size,
        compressed_bytes=entry.compressed_bytes,
        header_offset=entry.header_offset,
        method=entry.method,
        flags=entry.flags,
    )


def _check_entry(member: ZipMember, entry: _Entry, extra: bytes) -> None:
    """Refuse entries that some reader would not read as a plain file or directory."""
    name = member.name
    for bit, rule, what in _FLAG_RULES:
        if entry.flags & bit:
            raise _refused(name, rule, what)
    if entry.flags & ~_KNOWN_FLAGS:
        raise _refused(name, "zip-flags", "unknown general purpose flags", found=f"{entry.flags:#06x}")
    if entry.method not in {_STORED, _DEFLATED}:
        raise _refused(name, "zip-method", "compression method is neither stored nor deflated", found=str(entry.method))
    if entry.needs > _MAX_VERSION_NEEDED or entry.made_by >> 8 not in _SYSTEMS:
        raise _refused(
            name,
            "zip-version",
            "made by, or made for, an unknown system",
            f"system 0 or 3, version needed at most {_MAX_VERSION_NEEDED}",
            f"system {entry.made_by >> 8}, version {entry.needs}",
        )
    if _SATURATED_32 in (entry.size, entry.compressed_bytes, entry.header_offset):
        raise _refused(name, "zip-zip64", "a ZIP64 member is not accepted", "under 4 GiB")
    if entry.disk or entry.comment_bytes:
        raise _refused(name, "zip-entry", "the directory entry has a comment or lies on another disk")
    if member.method == _STORED and member.size != member.compressed_bytes:
        raise _refused(name, "zip-size", "stored, but the sizes differ", str(member.size), str(member.compressed_bytes))
    _check_kind(member, entry.external)
    _check_extra(name, extra)


def _check_kind(member: ZipMember, external: int) -> None:
    """The name's final slash, the Unix mode and the DOS attributes must all say the same."""
    file_type = external >> 16 & _FILE_TYPE_MASK
    if file_type == _LINK:
        raise _refused(member.name, "zip-link", "the member is a symbolic link")
    if file_type not in {0, _DIRECTORY if member.is_directory else _REGULAR}:
        raise _refused(member.name, "zip-kind", "the mode contradicts the name", found=f"{external >> 16:o}")
    if external & 0xFF & ~(_DOS_IGNORED | (_DOS_DIRECTORY if member.is_directory else 0)):
        raise _refused(member.name, "zip-kind", "the DOS attributes contradict the name", found=f"{external & 0xFF:#x}")
    if member.is_directory and (member.size or member.method != _STORED or member.crc):
        raise _refused(member.name, "zip-directory-content", "a directory holds content")


def _check_extra(name: str, extra: bytes, zip64: bytes | None = None) -> None:
    """Extra fields may carry times and owners; ``zip64`` is the only legal content of a ZIP64 field."""
    at, seen = 0, set[int]()
    while at < len(extra):
        if len(extra) - at < 4:
            raise _refused(name, "zip-extra", "extra fields end in the middle of a header")
        kind, size = struct.unpack_from("<HH", extra, at)
        content = extra[at + 4 : at + 4 + size]
        at += 4 + size
        low, high = _HARMLESS_EXTRAS.get(kind, (1, 0))
        legal = content == zip64 if kind == _ZIP64_EXTRA else low <= size <= high
        if not legal or len(content) != size or kind in seen:
            raise _refused(
                name,
                "zip-extra",
                "an extra field that could change the reading",
                "at most one each of times and owners",
                f"{kind:#06x} with {size} bytes",
            )
        seen.add(kind)


def _check_totals(members: list[ZipMember], archive_bytes: int, limits: InspectionLimits) -> None:
    expanded = sum(member.size for member in members)
    _check_bound("expanded bytes", expanded, limits.max_expanded_bytes, "archive-expanded-size")
    if expanded > limits.ratio_free_bytes:
        _check_bound("times the archive's size", -(-expanded // archive_bytes), limits.max_ratio, "archive-ratio")


def _check_local_headers(stream: BinaryIO, members: list[ZipMember], directory_offset: int) -> dict[str, int]:
    """Where each member's data begins. The members, in order, must fill the file up to the directory."""
    at, data_offsets = 0, {}
    for member in members:
        if member.header_offset != at:
            raise _refused(
                member.name,
                "zip-layout",
                "unclaimed or shared bytes before the member",
                str(at),
                str(member.header_offset),
            )
        data_at = at + _check_local_header(stream, member, directory_offset - at)
        at = data_at + member.compressed_bytes
        if at > directory_offset:
            raise _refused(
                member.name, "zip-layout", "the member runs into the directory", str(directory_offset), str(at)
            )
        data_offsets[member.name] = data_at
    if at != directory_offset:
        raise _refused(None, "zip-layout", "unclaimed bytes before the directory", str(at), str(directory_offset))
    return data_offsets


def _check_local_header(stream: BinaryIO, member: ZipMember, available: int) -> int:
    """The local header's length in bytes, after it was found to repeat the directory entry."""
    raw_name = member.raw_name
    if available < _LOCAL.size + len(raw_name):
        raise _refused(member.name, "zip-local-header", "no room for a local header")
    header = _read_at(stream, member.header_offset, _LOCAL.size + len(raw_name))
    magic, needs, flags, method, _time, _date, crc, compressed, size, name_bytes, extra_bytes = _LOCAL.unpack_from(
        header
    )
    if magic != _LOCAL_MAGIC or needs > _MAX_VERSION_NEEDED:
        raise _refused(member.name, "zip-local-header", "no local header where the directory says")
    if name_bytes != len(raw_name) or header[_LOCAL.size :] != raw_name:
        raise _local_differs(member, "name", raw_name, header[_LOCAL.size :])
    if available < len(header) + extra_bytes:
        raise _refused(member.name, "zip-local-header", "the local header runs into the directory")
    extra = _read_at(stream, member.header_offset + len(header), extra_bytes) if extra_bytes else b""
    zip64 = struct.pack("<QQ", member.size, member.compressed_bytes)
    if compressed == size == _SATURATED_32 and extra.startswith(struct.pack("<HH", _ZIP64_EXTRA, len(zip64))):
        compressed, size = member.compressed_bytes, member.size
    _check_extra(member.name, extra, zip64)
    for field, here, there in (
        ("flags", flags, member.flags),
        ("method", method, member.method),
        ("CRC", crc, member.crc),
        ("compressed size", compressed, member.compressed_bytes),
        ("size", size, member.size),
    ):
        if here != there:
            raise _local_differs(member, field, there, here)
    return len(header) + int(extra_bytes)


def _local_differs(member: ZipMember, field: str, there: bytes | int, here: bytes | int) -> InvalidDistribution:
    return _refused(
        member.name,
        "zip-local-header",
        f"local header and directory disagree on the {field}",
        ascii(there),
        ascii(here),
    )


def _inflate(compressed: Iterator[bytes], member: ZipMember) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for block in compressed:
            pending = block
            while pending and not inflater.eof:
                yield inflater.decompress(pending, CHUNK_BYTES)
                pending = inflater.unconsumed_tail
            if inflater.eof:
                break
        while not inflater.eof and (chunk := inflater.decompress(b"", CHUNK_BYTES)):
            yield chunk
    except zlib.error as error:
        raise _refused(member.name, "zip-deflate", f"not a deflate stream ({error})") from error
    if not inflater.eof or inflater.unused_data or next(compressed, None) is not None:
        raise _refused(member.name, "zip-deflate", "the deflate stream does not end with the member's data")


def _stored(compressed: Iterator[bytes], member: ZipMember) -> Iterator[bytes]:
    return compressed


def _read_at(stream: BinaryIO, offset: int, size: int) -> bytes:
    stream.seek(offset)
    data = stream.read(size)
    if len(data) != size:
        raise _refused(None, "zip-truncated", "the file ends too early", f"{size} bytes at {offset}", str(len(data)))
    return data


def _check_bound(what: str, found: int, most: int, rule: str) -> None:
    if found > most:
        raise TooLarge(f"too many {what}", rule=rule, expected=f"at most {most}", found=str(found))


def _refused(
    member: str | None, rule: str, what: str, expected: str | None = None, found: str | None = None
) -> InvalidDistribution:
    return InvalidDistribution(
        what, rule=rule, subject=shown(member) if member is not None else None, expected=expected, found=found
    )
