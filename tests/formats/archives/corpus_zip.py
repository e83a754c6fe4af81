"""ZIP: every rule of the container, both sides of each bound, and what readers are known to read differently."""

import struct
import unicodedata
from dataclasses import replace

from assay.formats.inspect import InspectionLimits
from formats.archives.case import Case
from formats.archives.zip_builder import (
    DEFLATED,
    DIST_INFO,
    METADATA,
    MODULE,
    STORED,
    WHEEL_NAME,
    Archive,
    Entry,
    Fields,
    deflate,
    extra,
    odd_module,
    wheel,
    wheel_entries,
    zip64_end,
)

SOUND = wheel_entries()
CONTENT = MODULE.content
TIMES = extra(0x5455, b"\x03" + bytes(8))
OWNERS = extra(0x7875, b"\x01\x04" + bytes(4) + b"\x04" + bytes(4))
ZIP64_SIZES = struct.pack("<QQ", len(CONTENT), len(deflate(CONTENT)))
EVIL = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: evil\n"


def _accepted(name: str, data: bytes, limits: InspectionLimits | None = None) -> Case:
    return Case(f"zip-accepts-{name}", WHEEL_NAME, data, limits=limits or InspectionLimits())


def _refused(name: str, data: bytes, rule: str, names: str = "demo.py", limits: InspectionLimits | None = None) -> Case:
    return Case(f"zip-refuses-{name}", WHEEL_NAME, data, rule, names, limits or InspectionLimits())


def _archive(**parts: object) -> bytes:
    return Archive(SOUND, **parts).build()  # type: ignore[arg-type]


def _end(**fields: int | bytes) -> bytes:
    return _archive(end=fields)


def _named(*names: str | bytes) -> bytes:
    return wheel(*(Entry(name, b"x = 1\n") for name in names))


def _zip64_hidden() -> bytes:
    """A whole ZIP64 end record and locator inside the last directory entry's extra field."""
    entries = [*SOUND[:-1], replace(SOUND[-1], central={"extra": extra(0x5455, zip64_end(1, 10, 0, 0))})]
    return Archive(entries).build()


def _overlapping() -> bytes:
    """Two members that share one local header and its data: a quoted bomb's building block."""
    entries = wheel_entries(Entry("twin.py", CONTENT))
    entries[1] = replace(entries[1], central={"offset": 0})
    return Archive(entries).build()


def _two_directories() -> bytes:
    """A sound wheel in front of another: readers that search forward find the first."""
    first = wheel(metadata=EVIL)
    return Archive(SOUND, prefix=first).build()


def _exact_expanded() -> int:
    return sum(len(entry.content) for entry in SOUND)


def accepted() -> list[Case]:
    long_name = "d/" * 390 + "x" * 244
    nested = wheel(metadata=EVIL)
    big = b"spam and eggs " * 40_000
    expanded = _exact_expanded()
    return [
        _accepted("a-plain-wheel", _archive()),
        _accepted("stored-members", odd_module(method=STORED)),
        _accepted("an-empty-stored-member", wheel(Entry("empty.py", method=STORED))),
        _accepted("an-empty-deflated-member", wheel(Entry("empty.py"))),
        _accepted("a-directory", wheel(Entry("pkg/", mode=0o040755, method=STORED), Entry("pkg/x.py", b"1"))),
        _accepted("a-directory-behind-its-files", wheel(Entry("pkg/x.py", b"1"), Entry("pkg/", mode=0, method=STORED))),
        _accepted("a-mode-of-zero", odd_module(mode=0)),
        _accepted("an-executable", odd_module(mode=0o100755)),
        _accepted("a-utf-8-name", _named("dæmo/naïve.py", "日本.py")),
        _accepted("deflate-level-flags", odd_module(both={"flags": 0x6})),
        _accepted("the-utf-8-flag-on-ascii", odd_module(both={"flags": 0x800})),
        _accepted("version-needed-45", odd_module(both={"needs": 45})),
        _accepted("version-needed-10", odd_module(both={"needs": 10})),
        _accepted("made-by-windows", odd_module(central={"made_by": 0x0014})),
        _accepted("dos-archive-and-read-only", odd_module(central={"external": 0x21})),
        _accepted("times-and-owners", odd_module(both={"extra": TIMES + OWNERS})),
        _accepted("ntfs-times", odd_module(both={"extra": extra(0x000A, bytes(4) + b"\1\0\x18\0" + bytes(24))})),
        _accepted("true-zip64-sizes-in-a-local-header", odd_module(local={"extra": extra(1, ZIP64_SIZES)})),
        _accepted(
            "zip64-sizes-only-in-a-local-header",
            odd_module(local={"extra": extra(1, ZIP64_SIZES), "size": 2**32 - 1, "compressed": 2**32 - 1, "needs": 45}),
        ),
        _accepted("a-directory-in-another-order", _archive(reverse_directory=True)),
        _accepted("a-stored-zip-inside", wheel(Entry("inner.whl", nested, method=STORED))),
        _accepted("an-end-record-inside", wheel(Entry("x.bin", b"PK\5\6" + bytes(18), method=STORED))),
        _accepted("many-chunks", wheel(Entry("big.txt", big))),
        _accepted("many-stored-chunks", wheel(Entry("big.txt", big, method=STORED))),
        _accepted("fixed-huffman-and-flushes", odd_module(data=_flushed(CONTENT))),
        _accepted("exactly-the-most-members", _archive(), InspectionLimits(max_members=4)),
        _accepted("exactly-the-most-bytes", _archive(), InspectionLimits(max_expanded_bytes=expanded)),
        _accepted("exactly-the-most-metadata", _archive(), InspectionLimits(max_metadata_bytes=len(METADATA))),
        _accepted("the-longest-path", _named(long_name)),
        _accepted("the-longest-component", _named("x" * 252 + ".py")),
        _accepted("spaces-and-signs", _named("a b/~x (1), [2] & 'c'.txt", "dots...in.name.py")),
        _accepted("names-that-only-look-alike", _named("a.py", "\u0430.py")),
        _accepted("one-name-under-two-folders", _named("a/same.py", "b/same.py", "ab/same.py")),
        _accepted(
            "a-high-ratio-in-a-small-archive",
            wheel(Entry("zeros.bin", bytes(1_000_000))),
            InspectionLimits(max_ratio=2),
        ),
    ]


def _flushed(content: bytes) -> bytes:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, strategy=zlib.Z_FIXED)
    return (
        packer.compress(content[:20]) + packer.flush(zlib.Z_FULL_FLUSH) + packer.compress(content[20:]) + packer.flush()
    )


def refused_ends() -> list[Case]:
    expanded = _exact_expanded()
    last = Archive(SOUND).build()
    return [
        _refused("an-empty-file", b"", "zip-end", ""),
        _refused("text", b"not a zip, but long enough to hold an end record", "zip-end", ""),
        _refused("a-truncated-end", last[:-1], "zip-end", ""),
        _refused("a-missing-first-byte", last[1:], "zip-layout", ""),
        _refused("trailing-bytes", _archive(trailing=b"\0"), "zip-end", ""),
        _refused("a-second-end-record", _archive(trailing=last[-22:]), "zip-layout", ""),
        _refused("a-comment", _end(comment=b"hello"), "zip-end", ""),
        _refused("a-comment-that-is-an-end-record", _end(comment=last[-22:]), "zip-layout", ""),
        _refused("a-comment-length-without-comment", _end(comment_bytes=5), "zip-end", ""),
        _refused("a-prefix", _archive(prefix=b"#!/usr/bin/env python\n", adjust_offsets=False), "zip-local-header"),
        _refused("a-prefix-with-true-offsets", _archive(prefix=b"#!/usr/bin/env python\n"), "zip-layout"),
        _refused("a-wheel-in-front", _two_directories(), "zip-layout"),
        _refused("bytes-before-the-directory", _archive(before_directory=b"?"), "zip-layout", ""),
        _refused("bytes-behind-the-directory", _archive(before_end=b"?"), "zip-layout", ""),
        _refused("bytes-within-the-directory", _archive(after_directory=b"?"), "zip-directory", ""),
        _refused("a-directory-signature", _archive(after_directory=b"PK\5\5\0\0"), "zip-directory", ""),
        _refused("a-count-too-high", _end(count=5, here=5), "zip-directory", ""),
        _refused("a-count-too-low", _end(count=3, here=3), "zip-directory", ""),
        _refused("a-count-of-zero", _end(count=0, here=0), "zip-directory", ""),
        _refused("two-counts", _end(here=3), "zip-disks", ""),
        _refused("another-disk", _end(disk=1), "zip-disks", ""),
        _refused("a-first-disk", _end(first_disk=1), "zip-disks", ""),
        _refused("a-directory-size-too-low", _end(size=10), "zip-layout", ""),
        _refused("a-directory-offset-too-low", _end(offset=0), "zip-layout", ""),
        _refused("an-offset-and-size-that-only-add-up", _shifted_directory(), "zip-directory", ""),
        _refused("a-zip64-end", _zip64(), "zip-zip64", ""),
        _refused("a-zip64-end-that-is-not-needed", _zip64(saturated=False), "zip-layout", ""),
        _refused("a-zip64-end-hidden-in-an-extra-field", _zip64_hidden(), "zip-zip64", ""),
        _refused("a-saturated-count", _end(count=0xFFFF, here=0xFFFF), "zip-zip64", ""),
        _refused("a-saturated-offset", _end(offset=0xFFFFFFFF), "zip-zip64", ""),
        _refused("one-member-too-many", _archive(), "zip-members", "", InspectionLimits(max_members=3)),
        _refused("a-large-directory", _archive(), "zip-directory-size", "", InspectionLimits(max_directory_bytes=100)),
        _refused(
            "one-byte-too-many",
            _archive(),
            "archive-expanded-size",
            "",
            InspectionLimits(max_expanded_bytes=expanded - 1),
        ),
        _refused(
            "a-bomb",
            wheel(Entry("0", bytes(2_000_000))),
            "archive-ratio",
            "",
            InspectionLimits(ratio_free_bytes=1_000_000),
        ),
        _refused(
            "metadata-one-byte-too-long",
            _archive(),
            "zip-member-size",
            "METADATA",
            InspectionLimits(max_metadata_bytes=len(METADATA) - 1),
        ),
        _refused("a-long-record", _archive(), "zip-member-size", "RECORD", InspectionLimits(max_record_bytes=100)),
    ]


def _shifted_directory() -> bytes:
    whole = Archive(SOUND).build()
    size, offset = struct.unpack_from("<2L", whole, len(whole) - 10)
    return whole[:-10] + struct.pack("<2L", size + 4, offset - 4) + whole[-2:]


def _zip64(*, saturated: bool = True) -> bytes:
    whole = Archive(SOUND).build()
    size, offset = struct.unpack_from("<2L", whole, len(whole) - 10)
    tail = zip64_end(len(SOUND), size, offset, offset + size)
    end = {"count": 0xFFFF, "here": 0xFFFF, "size": 0xFFFFFFFF, "offset": 0xFFFFFFFF} if saturated else {}
    return _archive(before_end=tail, end=end)


def refused_headers() -> list[Case]:
    def both(**fields: int | bytes) -> bytes:
        return odd_module(both=fields)

    def central(**fields: int | bytes) -> bytes:
        return odd_module(central=fields)

    def local(**fields: int | bytes) -> bytes:
        return odd_module(local=fields)

    descriptor: Fields = {"flags": 0x8}
    return [
        _refused("encryption", both(flags=0x1), "zip-encrypted"),
        _refused("strong-encryption", both(flags=0x41), "zip-encrypted"),
        _refused(
            "a-data-descriptor",
            odd_module(
                both=descriptor,
                local={"crc": 0, "size": 0, "compressed": 0},
                after=b"PK\7\x08" + struct.pack("<3L", 0, len(deflate(CONTENT)), len(CONTENT)),
            ),
            "zip-data-descriptor",
        ),
        _refused("a-data-descriptor-flag-with-sizes", both(flags=0x8), "zip-data-descriptor"),
        _refused("patched-data", both(flags=0x20), "zip-flags"),
        _refused("a-masked-header", both(flags=0x2000), "zip-flags"),
        _refused("a-reserved-flag", both(flags=0x4000), "zip-flags"),
        *(
            _refused(f"method-{method}", both(method=method), "zip-method")
            for method in (1, 6, 9, 12, 14, 93, 95, 98, 99)
        ),
        _refused("version-needed-46", both(needs=46), "zip-version"),
        _refused("version-needed-99-locally", local(needs=99), "zip-local-header"),
        _refused("made-by-a-macintosh", central(made_by=0x0714), "zip-version"),
        _refused("made-by-vms", central(made_by=0x0214), "zip-version"),
        _refused("a-zip64-size", central(size=0xFFFFFFFF), "zip-zip64"),
        _refused("a-zip64-offset", central(offset=0xFFFFFFFF), "zip-zip64"),
        _refused("another-disk-for-a-member", central(disk=1), "zip-entry"),
        _refused("a-comment-on-a-member", central(comment=b"?"), "zip-entry"),
        _refused("a-comment-past-the-end", central(comment_bytes=60_000), "zip-directory", ""),
        _refused("a-name-past-the-end", central(name_bytes=60_000), "zip-directory", ""),
        _refused("another-signature", central(magic=b"PK\1\3"), "zip-directory", ""),
        _refused("a-local-signature", local(magic=b"PK\1\2"), "zip-local-header"),
        _refused("another-local-name", local(name=b"evil.py"), "zip-local-header"),
        _refused("another-local-case", local(name=b"Demo.py"), "zip-local-header"),
        _refused("a-longer-local-name", local(name=b"demo.pyc"), "zip-local-header"),
        _refused("another-local-method", local(method=STORED), "zip-local-header"),
        _refused("another-local-crc", local(crc=1), "zip-local-header"),
        _refused("another-local-size", local(size=1), "zip-local-header"),
        _refused("another-compressed-size", local(compressed=1), "zip-local-header"),
        _refused("other-local-flags", local(flags=0x800), "zip-local-header"),
        _refused("a-local-data-descriptor", local(flags=0x8), "zip-local-header"),
        _refused("local-extras-into-the-directory", _last(local={"extra_bytes": 9_999}), "zip-local-header", "RECORD"),
        _refused("a-local-name-into-the-directory", _last(local={"name_bytes": 9_999}), "zip-local-header", "RECORD"),
        _refused("false-zip64-sizes", local(extra=extra(1, bytes(16))), "zip-extra"),
        _refused("zip64-sizes-that-are-missing", local(size=0xFFFFFFFF, compressed=0xFFFFFFFF), "zip-local-header"),
        _refused("zip64-sizes-in-the-directory", central(extra=extra(1, ZIP64_SIZES)), "zip-extra"),
        _refused("a-unicode-path", both(extra=extra(0x7075, b"\1" + bytes(4) + b"evil.py")), "zip-extra"),
        _refused("a-unicode-path-locally", local(extra=extra(0x7075, b"\1" + bytes(4) + b"evil.py")), "zip-extra"),
        _refused("a-unicode-comment", central(extra=extra(0x6375, b"\1" + bytes(4) + b"x")), "zip-extra"),
        _refused("an-aes-header", both(extra=extra(0x9901, bytes(7))), "zip-extra"),
        _refused("an-unknown-extra", both(extra=extra(0xCAFE, b"")), "zip-extra"),
        _refused("half-an-extra", both(extra=TIMES + b"\0"), "zip-extra"),
        _refused("an-extra-past-its-end", both(extra=struct.pack("<HH", 0x5455, 9) + b"\1"), "zip-extra"),
        _refused("times-twice", both(extra=TIMES + TIMES), "zip-extra"),
        _refused("times-too-long", both(extra=extra(0x5455, bytes(14))), "zip-extra"),
    ]


def _last(**changes: Fields) -> bytes:
    return Archive([*SOUND[:-1], replace(SOUND[-1], **changes)]).build()  # type: ignore[arg-type]


def refused_content() -> list[Case]:
    packed = deflate(CONTENT)
    bomb = deflate(bytes(50_000_000), 9)
    return [
        _refused("a-wrong-crc", odd_module(both={"crc": 1}), "zip-crc"),
        _refused("stored-with-two-sizes", odd_module(method=STORED, both={"size": 1}), "zip-size"),
        _refused("content-too-short", odd_module(both={"size": len(CONTENT) + 1}), "zip-size"),
        _refused("content-too-long", odd_module(both={"size": len(CONTENT) - 1}), "zip-size"),
        _refused("a-size-of-zero-over-content", odd_module(both={"size": 0, "crc": 0}), "zip-size"),
        _refused("a-bomb-with-a-small-size", odd_module(data=bomb), "zip-size"),
        _refused("bytes-behind-the-deflate-stream", odd_module(data=packed + b"\0"), "zip-deflate"),
        _refused("a-second-deflate-stream", odd_module(data=packed + deflate(b"evil")), "zip-deflate"),
        _refused("many-bytes-behind-the-stream", odd_module(data=packed + bytes(300_000)), "zip-deflate"),
        _refused("a-cut-deflate-stream", odd_module(data=packed[:-2]), "zip-deflate"),
        _refused("no-deflate-stream", odd_module(data=b""), "zip-deflate"),
        _refused("zlib-framing", odd_module(data=b"\x78\x9c" + packed), "zip-deflate"),
        _refused("noise", odd_module(data=b"\xff" * 40), "zip-deflate"),
        _refused("bytes-before-a-member", odd_module(before=b"?"), "zip-layout"),
        _refused("bytes-between-members", odd_module(after=b"?"), "zip-layout", "METADATA"),
        _refused("a-hidden-member", odd_module(after=wheel(metadata=EVIL)[:200]), "zip-layout", "METADATA"),
        _refused("members-that-overlap", _overlapping(), "zip-layout", "twin.py"),
        _refused("a-member-past-the-directory", _last(both={"compressed": 9_999}), "zip-layout", "RECORD"),
        _refused("an-offset-past-the-file", odd_module(central={"offset": 2**31}), "zip-layout", "METADATA"),
        _refused("a-symbolic-link", wheel(Entry("link", b"/etc/passwd", mode=0o120777)), "zip-link", "link"),
        _refused(
            "a-symbolic-link-made-by-windows",
            wheel(Entry("link", b"demo.py", mode=0o120777, central={"made_by": 0x0014})),
            "zip-link",
            "link",
        ),
        _refused("a-device", wheel(Entry("null", mode=0o020666)), "zip-kind", "null"),
        _refused("a-fifo", wheel(Entry("fifo", mode=0o010666)), "zip-kind", "fifo"),
        _refused("a-socket", wheel(Entry("socket", mode=0o140777)), "zip-kind", "socket"),
        _refused("a-directory-mode-on-a-file", odd_module(mode=0o040755), "zip-kind"),
        _refused("a-file-mode-on-a-directory", wheel(Entry("d/", method=STORED)), "zip-kind", "d/"),
        _refused("a-dos-directory-without-slash", odd_module(central={"external": 0x10}), "zip-kind"),
        _refused("a-dos-volume-label", odd_module(central={"external": 0x08}), "zip-kind"),
        _refused(
            "a-directory-with-content",
            wheel(Entry("d/", b"x", mode=0o040755, method=STORED)),
            "zip-directory-content",
            "d/",
        ),
        _refused(
            "a-deflated-directory",
            wheel(Entry("d/", mode=0o040755, method=DEFLATED)),
            "zip-directory-content",
            "d/",
        ),
    ]


def refused_names() -> list[Case]:
    paths = {
        "an-absolute-path": ("/etc/passwd", "archive-path"),
        "a-parent-path": ("../evil.py", "archive-path"),
        "a-parent-in-the-middle": ("pkg/../../evil.py", "archive-path"),
        "a-parent-at-the-end": ("pkg/..", "archive-path"),
        "a-dot": ("./evil.py", "archive-path"),
        "a-dot-in-the-middle": ("pkg/./evil.py", "archive-path"),
        "two-slashes": ("pkg//evil.py", "archive-path"),
        "no-name": ("", "archive-path"),
        "a-component-of-dots": ("pkg/.../evil.py", "archive-path"),
        "a-component-of-a-space": ("pkg/ /evil.py", "archive-path"),
        "a-backslash": ("pkg\\evil.py", "archive-path-character"),
        "a-backslash-parent": ("..\\evil.py", "archive-path-character"),
        "a-drive": ("C:evil.py", "archive-path-character"),
        "a-drive-path": ("C:/evil.py", "archive-path-character"),
        "an-alternate-stream": ("demo.py:evil", "archive-path-character"),
        "a-default-stream": (f"{DIST_INFO}/METADATA::$DATA", "archive-path-character"),
        "a-nul": ("demo.py\0.txt", "archive-path-character"),
        "a-newline": ("a\nb.py", "archive-path-character"),
        "an-escape": ("a\x1b[2J.py", "archive-path-character"),
        "a-delete": ("a\x7f.py", "archive-path-character"),
        "a-c1-control": ("a\x85.py", "archive-path-character"),
        "a-bidi-override": ("a\u202eyp.exe", "archive-path-character"),
        "a-zero-width-joiner": ("de\u200dmo.py", "archive-path-character"),
        "a-byte-order-mark": ("\ufeffdemo.py", "archive-path-character"),
        "a-line-separator": ("a\u2028b.py", "archive-path-character"),
        "a-path-too-long": ("d/" * 390 + "x" * 245, "archive-path-length"),
        "a-component-too-long": ("x" * 256, "archive-path-component"),
        "a-component-too-long-in-utf-8": ("ä" * 128, "archive-path-component"),
    }
    collisions = {
        "a-duplicate": ("demo.py", "archive-duplicate"),
        "another-case": ("Demo.PY", "archive-collision"),
        "a-trailing-dot": ("demo.py.", "archive-collision"),
        "a-trailing-space": ("demo.py ", "archive-collision"),
        "a-file-as-folder": ("demo.py/x.py", "archive-collision"),
        "a-file-as-folder-in-another-case": ("DEMO.py/x.py", "archive-collision"),
        "metadata-in-another-case": (f"{DIST_INFO}/metadata", "archive-collision"),
        "metadata-twice": (f"{DIST_INFO}/METADATA", "archive-duplicate"),
    }
    cases = [_refused(name, _named(path), rule, "") for name, (path, rule) in paths.items()]
    cases += [_refused(name, _named(path), rule, "") for name, (path, rule) in collisions.items()]
    composed, decomposed = "café.py", unicodedata.normalize("NFD", "café.py")
    return [
        *cases,
        _refused("two-unicode-forms", _named(composed, decomposed), "archive-collision", ""),
        _refused("a-sharp-s-and-two", _named("straße.py", "STRASSE.py"), "archive-collision", ""),
        _refused("the-kelvin-sign", _named("\u212a.py", "k.py"), "archive-collision", ""),
        _refused(
            "a-folder-twice",
            wheel(Entry("d/", mode=0, method=STORED), Entry("d/", mode=0, method=STORED)),
            "archive-duplicate",
            "d",
        ),
        _refused(
            "a-file-and-a-folder", wheel(Entry("d/", mode=0, method=STORED), Entry("d", b"1")), "archive-duplicate", "d"
        ),
        _refused("a-folder-over-a-file", wheel(Entry("d/x", b"1"), Entry("d", b"1")), "archive-duplicate", "d"),
        _refused("latin-1", odd_module(name=b"d\xe9mo.py"), "zip-name-encoding", ""),
        _refused(
            "an-overlong-slash", odd_module(name=b"..\xc0\xafevil.py", both={"flags": 0x800}), "zip-name-encoding", ""
        ),
        _refused("a-surrogate", odd_module(name=b"\xed\xa0\x80.py", both={"flags": 0x800}), "zip-name-encoding", ""),
        _refused("utf-8-without-its-flag", odd_module(name="dé.py", both={"flags": 0}), "zip-name-encoding", ""),
    ]


def cases() -> list[Case]:
    return [*accepted(), *refused_ends(), *refused_headers(), *refused_content(), *refused_names()]
