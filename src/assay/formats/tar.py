"""tar inside gzip, with one reading or none (POSIX.1-2017 ustar and pax; GNU long names).

Every byte is accounted for: headers with true checksums and clean fields, content, zero padding, two or more zero
blocks, the end. Accepted are regular files, directories, hard links to earlier files, and symbolic links that stay in
the top folder. Where a pax record and the header could disagree on a size, they must agree; sparse, device, global and
unknown members, and old headers without magic, are refused. Memory: one block, one chunk, the names.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from assay.formats.archive_paths import MemberPaths, PathKind, check_member_path, shown
from assay.formats.gunzip import CHUNK_BYTES, GunzipReader
from assay.formats.limits import InspectionLimits
from assay.model.errors import InvalidDistribution, TooLarge

BLOCK: Final = 512
MAX_EXTENDED_BYTES: Final = 64 * 1024
"""Largest pax header or GNU long name."""

_ZERO = bytes(BLOCK)
_POSIX, _GNU = b"ustar\x0000", b"ustar  \x00"
_OCTAL = re.compile(rb"\A *([0-7]+)[ \0]*\Z")
_OCTAL_OR_EMPTY = re.compile(rb"\A *[0-7]*[ \0]*\Z")
_NUMBERS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
"""mode, uid, gid, mtime, devmajor, devminor: nothing depends on them, but every reader must be able to read them."""
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]+)=")
_PAX_IGNORED = frozenset({"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"})
_PAX_NUMBER = re.compile(r"\A-?[0-9]{1,19}(\.[0-9]{1,12})?\Z")

_FILE, _HARDLINK, _SYMLINK, _DIRECTORY = b"0", b"1", b"2", b"5"
_PAX, _LONG_NAME, _LONG_LINK = b"x", b"L", b"K"
_KINDS = {
    _FILE: PathKind.FILE,
    _HARDLINK: PathKind.HARD_LINK,
    _SYMLINK: PathKind.SYMBOLIC_LINK,
    _DIRECTORY: PathKind.DIRECTORY,
}


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member. ``name`` without final slash; ``size`` in bytes; ``target`` of links as written, else empty."""

    name: str
    kind: PathKind
    size: int
    target: str


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    type: bytes
    size: int
    link: str
    magic: bytes


@dataclass(slots=True)
class _Extended:
    """What extended headers say about the next member."""

    path: str | None = None
    link: str | None = None
    size: int | None = None
    magic: bytes | None = None


class TarReader:
    """Walks the tar in a gzip ``stream``. Use ``members`` once, to its end: only the end proves the archive sound."""

    def __init__(self, stream: BinaryIO, limits: InspectionLimits) -> None:
        self._gunzip = GunzipReader(stream, limits)
        self._limits = limits
        self._paths = MemberPaths(limits)
        self._files: set[str] = set()
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[TarMember]:
        """Each member after its checks, in order. Raises InvalidDistribution naming member and rule, TooLarge."""
        extended, count = _Extended(), 0
        while (block := self._block()) != _ZERO:
            header = _parse_header(block)
            self._check_size(header)
            if header.type in _KINDS:
                count += 1
                if count > self._limits.max_members:
                    raise TooLarge(
                        "too many members", rule="tar-members", expected=f"at most {self._limits.max_members}"
                    )
                member = _merge(header, extended)
                extended = _Extended()
                self._accept(member)
                yield member
            else:
                self._read_extended(header, extended)
            self._skip()
        if extended.magic is not None:
            raise refused_member(None, "tar-extended", "an extended header without a member")
        self._check_end()

    def content(self, max_bytes: int) -> bytes:
        """The whole content of the member that ``members`` gave last. Raises TooLarge beyond ``max_bytes``."""
        if self._left > max_bytes:
            raise TooLarge("member is too large", rule="tar-member-size", expected=f"at most {max_bytes} bytes")
        data = self._exactly(self._left)
        self._left = 0
        return data

    def _block(self) -> bytes:
        return self._exactly(BLOCK)

    def _exactly(self, size: int) -> bytes:
        data = self._gunzip.read(size)
        if len(data) != size:
            raise refused_member(None, "tar-truncated", "the archive ends too early (no end-of-archive blocks)")
        return data

    def _check_size(self, header: _Header) -> None:
        if header.size > self._limits.max_expanded_bytes:
            raise TooLarge(
                "expands too far",
                rule="archive-expanded-size",
                subject=shown(header.name),
                expected=f"at most {self._limits.max_expanded_bytes} bytes",
                found=f"{header.size} bytes",
            )
        self._left = header.size
        self._padding = -header.size % BLOCK

    def _skip(self) -> None:
        """Read over what is left of the content, and the padding, which must be zero."""
        while self._left:
            self._left -= len(self._exactly(min(self._left, CHUNK_BYTES)))
        if any(self._exactly(self._padding)):
            raise refused_member(None, "tar-padding", "data hidden behind a member's content")

    def _check_end(self) -> None:
        """A second zero block, then nothing but zeros, in whole blocks."""
        if self._block() != _ZERO:
            raise refused_member(None, "tar-end", "a lone zero block: readers disagree whether the archive ends there")
        while rest := self._gunzip.read(BLOCK):
            if rest != _ZERO:
                raise refused_member(None, "tar-end", "data behind the end of the archive")

    def _accept(self, member: TarMember) -> None:
        self._paths.add(member.name, member.kind)
        if member.kind is PathKind.FILE:
            self._files.add(member.name)
        elif member.kind is PathKind.HARD_LINK and member.target not in self._files:
            raise refused_member(
                member.name,
                "tar-hard-link",
                "a hard link to something that is no earlier file",
                found=shown(member.target),
            )
        elif member.kind is PathKind.SYMBOLIC_LINK:
            _check_symbolic_link(member, self._limits)

    def _read_extended(self, header: _Header, extended: _Extended) -> None:
        """Take a pax header or a GNU long name into ``extended``."""
        if header.size > MAX_EXTENDED_BYTES:
            raise TooLarge(
                "extended header is too large",
                rule="tar-extended-size",
                subject=shown(header.name),
                expected=f"at most {MAX_EXTENDED_BYTES} bytes",
            )
        expected_magic = _POSIX if header.type == _PAX else _GNU
        if header.magic != expected_magic or (extended.magic or header.magic) != header.magic:
            raise refused_member(header.name, "tar-extended", "pax and GNU headers are mixed")
        if header.type == _PAX and extended.magic is None:
            _read_pax(self.content(MAX_EXTENDED_BYTES), extended)
        elif header.type == _LONG_NAME and extended.path is None:
            extended.path = _long_name(self.content(MAX_EXTENDED_BYTES))
        elif header.type == _LONG_LINK and extended.link is None:
            extended.link = _long_name(self.content(MAX_EXTENDED_BYTES))
        else:
            raise refused_member(header.name, "tar-extended", "two extended headers of one kind before a member")
        extended.magic = header.magic


def _parse_header(block: bytes) -> _Header:
    """One 512-byte header whose every field has one reading."""
    checksum = _octal(block, 148, 156, "checksum")
    if checksum != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise refused_member(None, "tar-checksum", "a header's checksum is wrong")
    magic = block[257:265]
    if magic not in {_POSIX, _GNU}:
        raise refused_member(None, "tar-magic", "not a POSIX or GNU tar header", found=ascii(magic))
    name, prefix = _text(block, 0, 100), _text(block, 345, 500)
    if any(block[500:]) or (magic == _GNU and any(block[345:])):
        raise refused_member(name, "tar-header", "data in a header's unused fields")
    kind = block[156:157]
    if kind not in _KINDS and kind not in {_PAX, _LONG_NAME, _LONG_LINK}:
        raise refused_member(
            name, "tar-type", "not a regular file, directory or link", "types 0, 1, 2, 5, x, L, K", ascii(kind)
        )
    size = _octal(block, 124, 136, "size")
    if size and kind in {_HARDLINK, _SYMLINK, _DIRECTORY}:
        raise refused_member(name, "tar-size", "a link or directory claims content", "0", str(size))
    link = _text(block, 157, 257)
    if link and kind not in {_HARDLINK, _SYMLINK}:
        raise refused_member(name, "tar-header", "a link's target on something that is no link", found=shown(link))
    for start, end in _NUMBERS:
        field = block[start:end]
        if not _OCTAL_OR_EMPTY.match(field) and field[0] not in {0x80, 0xFF}:
            raise refused_member(name, "tar-number", "a number in a header is malformed", found=ascii(field))
    return _Header(f"{prefix}/{name}" if prefix else name, kind, size, link, magic)


def _octal(block: bytes, start: int, end: int, field: str) -> int:
    digits = _OCTAL.match(block[start:end])
    if digits is None:
        raise refused_member(None, "tar-number", f"a header's {field} is not octal", found=ascii(block[start:end]))
    return int(digits.group(1), 8)


def _text(block: bytes, start: int, end: int) -> str:
    text, _, rest = block[start:end].partition(b"\0")
    if any(rest):
        raise refused_member(None, "tar-header", "data behind the end of a name", found=ascii(rest.strip(b"\0")))
    return _decode(text)


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused_member(ascii(text[:200]), "tar-name-encoding", "member name is not UTF-8") from error


def _long_name(data: bytes) -> str:
    if not data.endswith(b"\0") or b"\0" in data[:-1] or len(data) == 1:
        raise refused_member(None, "tar-extended", "a GNU long name does not end with its only NUL")
    return _decode(data[:-1])


def _read_pax(data: bytes, extended: _Extended) -> None:
    """Records ``<length> <key>=<value>\\n`` (pax interchange format): known keys, each once."""
    at, seen = 0, set[str]()
    while at < len(data):
        record = _PAX_RECORD.match(data, at)
        end = at + int(record.group(1)) if record else 0
        if record is None or not record.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise refused_member(None, "tar-pax", "a malformed pax record", found=ascii(data[at : at + 80]))
        key, value = _decode(record.group(2)), _decode(data[record.end() : end - 1])
        if key in seen:
            raise refused_member(None, "tar-pax", "a pax key stands twice", found=ascii(key))
        seen.add(key)
        at = end
        _take_pax(key, value, extended)


def _take_pax(key: str, value: str, extended: _Extended) -> None:
    number = key in {"size", "mtime", "atime", "ctime", "uid", "gid"}
    if not value or "\0" in value or (number and not _PAX_NUMBER.match(value)):
        raise refused_member(None, "tar-pax", "a pax value is empty or malformed", found=ascii(f"{key}={value[:80]}"))
    if key == "path":
        extended.path = value
    elif key == "linkpath":
        extended.link = value
    elif key == "size" and value.isdecimal():
        extended.size = int(value)
    elif key not in _PAX_IGNORED:
        raise refused_member(None, "tar-pax", "a pax key that could change the reading", found=ascii(key[:80]))


def _merge(header: _Header, extended: _Extended) -> TarMember:
    """The member that a header and its extended headers describe together."""
    name = extended.path or header.name
    if extended.magic not in {None, header.magic}:
        raise refused_member(name, "tar-extended", "pax and GNU headers are mixed")
    if extended.size not in {None, header.size}:
        raise refused_member(
            name, "tar-size", "the pax size contradicts the header's", str(header.size), str(extended.size)
        )
    kind = _KINDS[header.type]
    link = extended.link or header.link
    if bool(link) != (kind in {PathKind.HARD_LINK, PathKind.SYMBOLIC_LINK}):
        raise refused_member(name, "tar-link", "a link without target, or a target without link")
    if kind is PathKind.DIRECTORY:
        name = name.removesuffix("/")
    return TarMember(name, kind, header.size, link)


def _check_symbolic_link(member: TarMember, limits: InspectionLimits) -> None:
    """The target stays in the top folder, whatever its other components are.

    ``..`` may only lead: there the folders are real ones, because no member lies under a link. What follows can only go
    down, or through links that were checked in the same way.
    """
    folder = member.name.split("/")[:-1]
    parts = member.target.removesuffix("/").split("/")
    ups = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    if ups >= max(len(folder), 1):
        raise refused_member(
            member.name, "tar-symbolic-link", "a link out of the top folder", found=shown(member.target)
        )
    if parts[ups:]:
        check_member_path("/".join(parts[ups:]), limits)


def refused_member(
    member: str | None, rule: str, what: str, expected: str | None = None, found: str | None = None
) -> InvalidDistribution:
    """The refusal of one member; without a name, of the archive."""
    return InvalidDistribution(
        what, rule=rule, subject=shown(member) if member is not None else None, expected=expected, found=found
    )
