"""sdists: gzip framing, tar headers, pax and GNU extensions, links, the top folder."""

import gzip
import io
import struct
import tarfile
import zlib

from assay.formats.inspect import InspectionLimits
from formats.archives.case import Case
from formats.archives.tar_builder import (
    END,
    GNU,
    PKG_INFO,
    SDIST_NAME,
    Header,
    long_name,
    member,
    pax,
    pax_record,
    sdist,
    tar,
)

LONG = "demo-1.0/" + "d/" * 60 + "module.py"
MODULE = member("demo-1.0/demo.py", b"x = 1\n")
EVIL = member("demo-1.0/evil.py", b"evil()\n")


def _accepted(name: str, data: bytes, limits: InspectionLimits | None = None, filename: str = SDIST_NAME) -> Case:
    return Case(f"sdist-accepts-{name}", filename, data, limits=limits or InspectionLimits())


def _refused(name: str, data: bytes, rule: str, names: str = "", limits: InspectionLimits | None = None) -> Case:
    return Case(f"sdist-refuses-{name}", SDIST_NAME, data, rule, names, limits or InspectionLimits())


def _by_tarfile(style: int, *names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=style) as archive:
        for name, content in ((("demo-1.0/PKG-INFO"), PKG_INFO), *((name, b"x = 1\n") for name in names)):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_700_000_000
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _symlink(target: str, at: str = "demo-1.0/pkg/link") -> bytes:
    return member(at, type=b"2", link=target.encode())


def _hardlink(target: str, at: str = "demo-1.0/hard.py") -> bytes:
    return member(at, type=b"1", link=target.encode())


def _gzip(data: bytes, *, name: bytes = b"", extra_field: bytes = b"", comment: bytes = b"") -> bytes:
    flags = (0x08 if name else 0) | (0x04 if extra_field else 0) | (0x10 if comment else 0)
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(4) + b"\x02\xff"
    header += struct.pack("<H", len(extra_field)) + extra_field if extra_field else b""
    header += name + b"\0" if name else b""
    header += comment + b"\0" if comment else b""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(data) + packer.flush()
    return header + body + struct.pack("<2L", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def accepted() -> list[Case]:
    folder = member("demo-1.0/", type=b"5")
    plain = tar(MODULE)
    return [
        _accepted("a-plain-sdist", sdist(MODULE)),
        _accepted("pkg-info-alone", sdist()),
        _accepted("pax-by-tarfile", _by_tarfile(tarfile.PAX_FORMAT, LONG, "demo-1.0/ünï.py", "demo-1.0/" + "x" * 200)),
        _accepted("gnu-by-tarfile", _by_tarfile(tarfile.GNU_FORMAT, LONG, "demo-1.0/ünï.py", "demo-1.0/" + "x" * 200)),
        _accepted("ustar-by-tarfile", _by_tarfile(tarfile.USTAR_FORMAT, LONG, "demo-1.0/" + "x" * 91)),
        _accepted("folders-first", gzip.compress(folder + plain, mtime=0)),
        _accepted("a-folder-without-slash", sdist(member("demo-1.0/pkg", type=b"5"), member("demo-1.0/pkg/x", b"1"))),
        _accepted(
            "a-folder-behind-its-files", sdist(member("demo-1.0/pkg/x", b"1"), member("demo-1.0/pkg/", type=b"5"))
        ),
        _accepted("an-empty-file", sdist(member("demo-1.0/empty"))),
        _accepted("a-file-of-exactly-one-block", sdist(member("demo-1.0/block", b"x" * 512))),
        _accepted("a-file-of-many-chunks", sdist(member("demo-1.0/big", b"spam and eggs" * 60_000))),
        _accepted("a-name-of-100-bytes", sdist(member("demo-1.0/" + "x" * 91, b"1"))),
        _accepted("a-prefix", sdist(member("module.py", b"1", prefix=b"demo-1.0/" + b"d/" * 72 + b"e"))),
        _accepted("a-gnu-header", sdist(member("demo-1.0/x.py", b"1", magic=GNU))),
        _accepted("a-gnu-long-name", sdist(long_name(LONG.encode() + b"\0"), member("demo-1.0/d", b"1", magic=GNU))),
        _accepted(
            "a-gnu-long-name-and-link",
            sdist(
                long_name(b"demo-1.0/" + b"n" * 150 + b"\0"),
                long_name(b"x" * 150 + b"\0", type=b"K"),
                member("demo-1.0/n", type=b"2", link=b"x", magic=GNU),
            ),
        ),
        _accepted("a-pax-path", sdist(pax([("path", LONG)]), member("demo-1.0/short", b"1"))),
        _accepted("a-pax-size-that-agrees", sdist(pax([("size", "6")]), MODULE)),
        _accepted(
            "pax-times-and-owners", sdist(pax([("mtime", "1700000000.25"), ("uid", "1"), ("uname", "zoë")]), MODULE)
        ),
        _accepted("a-pax-link", sdist(pax([("linkpath", "d/" * 70 + "x")]), _symlink("d"))),
        _accepted(
            "a-large-user-number",
            sdist(member("demo-1.0/x", b"1", magic=GNU, uid_field=b"\x80" + bytes(3) + b"\1" * 4)),
        ),
        _accepted(
            "numbers-with-spaces", sdist(member("demo-1.0/x", b"1", uid_field=b"     12 ", size_field=b"         1 \0"))
        ),
        _accepted("numbers-left-empty", sdist(member("demo-1.0/x", b"1", uid_field=bytes(8), mtime_field=bytes(12)))),
        _accepted("a-size-of-twelve-digits", sdist(member("demo-1.0/x", b"1", size_field=b"000000000001"))),
        _accepted("a-link-beside", sdist(MODULE, _symlink("demo.py", "demo-1.0/link.py"))),
        _accepted("a-link-up-within", sdist(MODULE, _symlink("../demo.py"))),
        _accepted("a-link-to-a-folder", sdist(member("demo-1.0/src/x", b"1"), _symlink("../src"))),
        _accepted("a-link-to-the-top", sdist(_symlink("..", "demo-1.0/a/b"), _symlink("..", "demo-1.0/c/d"))),
        _accepted("a-link-to-nothing", sdist(_symlink("nothing", "demo-1.0/link"))),
        _accepted("a-hard-link", sdist(MODULE, _hardlink("demo-1.0/demo.py"))),
        _accepted("much-padding", sdist(MODULE, end=bytes(20 * 512))),
        _accepted("exactly-two-zero-blocks", sdist(MODULE, end=bytes(1024))),
        _accepted("a-gzip-name", _gzip(plain, name=b"demo-1.0.tar")),
        _accepted("a-gzip-comment-and-extra", _gzip(plain, comment=b"hello", extra_field=b"ab\2\0xy")),
        _accepted("exactly-the-most-members", sdist(MODULE), InspectionLimits(max_members=2)),
        _accepted("exactly-the-most-bytes", sdist(MODULE), InspectionLimits(max_expanded_bytes=len(plain))),
        _accepted("exactly-the-most-metadata", sdist(), InspectionLimits(max_metadata_bytes=len(PKG_INFO))),
        _accepted("a-name-spelled-otherwise", _spelled(), filename="zope_interface-7.0.post1.tar.gz"),
        _accepted("pkg-info-last", gzip.compress(MODULE + tar(), mtime=0)),
        _accepted("egg-info", sdist(member("demo-1.0/demo.egg-info/PKG-INFO", b"Name: x\n"))),
    ]


def _spelled() -> bytes:
    text = PKG_INFO.replace(b"demo", b"Zope.Interface").replace(b"1.0", b"7.0-1")
    return gzip.compress(member("zope_interface-7.0.post1/PKG-INFO", text) + END, mtime=0)


def refused_gzip() -> list[Case]:
    whole = sdist(MODULE)
    plain = tar(MODULE)
    half = len(plain) // 1024 * 512
    return [
        _refused("an-empty-file", b"", "gzip-truncated"),
        _refused("a-bare-tar", plain, "gzip"),
        _refused("a-zip", b"PK\3\4" + bytes(100), "gzip"),
        _refused("zlib-framing", zlib.compress(plain), "gzip"),
        _refused("bzip2", b"BZh9" + bytes(50), "gzip"),
        _refused("half-a-gzip", whole[: len(whole) // 2], "gzip-truncated"),
        _refused("a-gzip-without-its-last-byte", whole[:-1], "gzip-truncated"),
        _refused("a-wrong-gzip-crc", whole[:-8] + b"\0\0\0\0" + whole[-4:], "gzip"),
        _refused("a-wrong-gzip-length", whole[:-4] + b"\0\0\0\0", "gzip"),
        _refused("reserved-gzip-flags", whole[:3] + b"\x80" + whole[4:], "gzip"),
        _refused("a-zero-behind-the-gzip", whole + b"\0", "gzip-trailing"),
        _refused("text-behind-the-gzip", whole + b"hello", "gzip-trailing"),
        _refused("a-second-gzip-member", whole + whole, "gzip-trailing"),
        _refused("an-empty-second-member", whole + gzip.compress(b""), "gzip-trailing"),
        _refused("one-tar-in-two-members", gzip.compress(plain[:half]) + gzip.compress(plain[half:]), "gzip-trailing"),
        _refused("much-behind-the-gzip", whole + bytes(300_000), "gzip-trailing"),
        _refused("an-empty-member-first", gzip.compress(b"") + whole, "gzip-trailing"),
        _refused("an-empty-gzip", gzip.compress(b""), "tar-truncated"),
        _refused(
            "one-byte-too-many", whole, "archive-expanded-size", "", InspectionLimits(max_expanded_bytes=len(plain) - 1)
        ),
        _refused(
            "a-bomb",
            sdist(member("demo-1.0/0", bytes(2_000_000))),
            "archive-ratio",
            "",
            InspectionLimits(ratio_free_bytes=1_000_000),
        ),
        _refused(
            "a-bomb-of-padding",
            sdist(end=bytes(2_097_152)),
            "archive-ratio",
            "",
            InspectionLimits(ratio_free_bytes=1_000_000),
        ),
        _refused(
            "a-huge-declared-size",
            sdist(Header(b"demo-1.0/x", size=8**11 - 1).build()),
            "archive-expanded-size",
            "demo-1.0/x",
        ),
        _refused("one-member-too-many", sdist(MODULE), "tar-members", "", InspectionLimits(max_members=1)),
    ]


def refused_headers() -> list[Case]:
    def odd(**fields: object) -> bytes:
        return sdist(member("demo-1.0/odd.py", b"x = 1\n", **fields))  # type: ignore[arg-type]

    types = {
        "an-old-file": b"\0",
        "a-character-device": b"3",
        "a-block-device": b"4",
        "a-fifo": b"6",
        "a-contiguous-file": b"7",
        "a-sparse-file": b"S",
        "a-multi-volume-part": b"M",
        "a-volume-label": b"V",
        "a-directory-dump": b"D",
        "a-solaris-header": b"X",
        "a-global-header": b"g",
        "an-unknown-type": b"Z",
        "a-long-name-of-old": b"N",
    }
    return [
        *(
            _refused(name, sdist(member("demo-1.0/odd", type=t)), "tar-type", "demo-1.0/odd")
            for name, t in types.items()
        ),
        _refused("a-checksum-one-too-high", odd(checksum_delta=1), "tar-checksum"),
        _refused("a-signed-checksum", sdist(member("demo-1.0/ü", b"", checksum=_signed_checksum())), "tar-checksum"),
        _refused("a-checksum-of-spaces", odd(checksum=b" " * 8), "tar-number"),
        _refused("no-magic", odd(magic=bytes(8)), "tar-magic"),
        _refused("another-magic", odd(magic=b"ustar\x0001"), "tar-magic"),
        _refused("star's-trailer", odd(unused=bytes(8) + b"tar\0"), "tar-header", "odd.py"),
        _refused("a-gnu-header-with-prefix", odd(magic=GNU, prefix=b"demo-1.0/evil"), "tar-header", "odd.py"),
        _refused("a-gnu-header-that-is-extended", odd(magic=GNU, prefix=bytes(137) + b"\1"), "tar-header"),
        _refused("bytes-behind-a-name", sdist(member(b"demo-1.0/a\0evil", b"")), "tar-header"),
        _refused("bytes-behind-a-prefix", odd(prefix=b"demo-1.0\0x"), "tar-header"),
        _refused("a-target-on-a-file", odd(link=b"demo-1.0/PKG-INFO"), "tar-header", "odd.py"),
        _refused("a-negative-size", odd(size_field=b"-0000000001\0"), "tar-number"),
        _refused("a-base-256-size", odd(size_field=b"\x80" + bytes(10) + b"\6"), "tar-number"),
        _refused("a-negative-base-256-size", odd(size_field=b"\xff" * 12), "tar-number"),
        _refused("a-decimal-size", odd(size_field=b"00000000008\0"), "tar-number"),
        _refused("an-empty-size", odd(size_field=bytes(12)), "tar-number"),
        _refused("a-size-with-underscore", odd(size_field=b"0000000_006\0"), "tar-number"),
        _refused("a-size-with-prefix", odd(size_field=b"00000000o06\0"), "tar-number"),
        _refused("a-size-with-more-behind-it", odd(size_field=b"0000006\0evil"), "tar-number"),
        _refused("a-mode-of-letters", odd(mode_field=b"rwxr-xr\0"), "tar-number", "odd.py"),
        _refused("a-user-of-letters", odd(uid_field=b"nobody\0\0"), "tar-number", "odd.py"),
        _refused("a-size-too-low", odd(size_field=b"00000000000\0"), "tar-number"),
        _refused("a-size-too-high", odd(size_field=b"00000002000\0"), "tar-truncated"),
        _refused("a-size-past-the-end", odd(size_field=b"00000777777\0"), "tar-truncated"),
        _refused("data-in-the-padding", odd(padding=b"!"), "tar-padding"),
        _refused("a-folder-with-content", sdist(member("demo-1.0/d/", b"x", type=b"5")), "tar-size", "demo-1.0/d"),
        _refused("a-symbolic-link-with-content", sdist(member("demo-1.0/l", b"x", type=b"2", link=b"d")), "tar-size"),
        _refused(
            "a-hard-link-with-content",
            sdist(MODULE, member("demo-1.0/l", b"evil", type=b"1", link=b"demo-1.0/demo.py")),
            "tar-size",
        ),
        _refused("no-end", sdist(end=b""), "tar-truncated"),
        _refused("one-zero-block", sdist(end=bytes(512)), "tar-truncated"),
        _refused("a-lone-zero-block", sdist(end=bytes(512) + EVIL + END), "tar-end"),
        _refused("members-behind-the-end", sdist(end=END + EVIL + END), "tar-end"),
        _refused("a-second-tar-behind-the-end", sdist(end=END + tar()), "tar-end"),
        _refused("half-a-block-at-the-end", sdist(end=END + bytes(100)), "tar-end"),
        _refused("text-behind-the-end", sdist(end=END + b"hello"), "tar-end"),
        _refused("a-cut-header", sdist(end=EVIL[:300]), "tar-truncated"),
        _refused("cut-content", sdist(end=EVIL[:515]), "tar-truncated"),
    ]


def _signed_checksum() -> bytes:
    block = Header("demo-1.0/ü".encode()).build()
    block = block[:148] + b" " * 8 + block[156:]
    return b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in block)


def refused_extensions() -> list[Case]:
    keys = {
        "a-sparse-map": ("GNU.sparse.map", "0,5"),
        "a-sparse-size": ("GNU.sparse.realsize", "999"),
        "a-sparse-name": ("GNU.sparse.name", "demo-1.0/evil.py"),
        "a-charset": ("hdrcharset", "BINARY"),
        "an-unknown-key": ("ASSAY.evil", "1"),
        "another-size": ("size", "0"),
        "a-larger-size": ("size", "5000"),
        "a-size-with-sign": ("size", "+6"),
        "a-negative-size": ("size", "-6"),
        "a-fractional-size": ("size", "6.0"),
        "a-size-in-arabic": ("size", "٦"),
        "an-empty-path": ("path", ""),
        "a-nul-in-a-path": ("path", "demo-1.0/x\0evil"),
        "a-time-that-is-nan": ("mtime", "nan"),
        "a-target-on-a-file": ("linkpath", "demo.py"),
        "a-path-out-of-the-top": ("path", "demo-1.0/../evil.py"),
        "an-absolute-path": ("path", "/etc/passwd"),
        "another-top-folder": ("path", "evil-1.0/x"),
    }
    rules = {
        "another-size": "tar-size",
        "a-larger-size": "tar-size",
        "a-target-on-a-file": "tar-link",
        "a-negative-size": "tar-pax",
        "a-path-out-of-the-top": "archive-path",
        "an-absolute-path": "archive-path",
        "another-top-folder": "sdist-top-folder",
    }
    records = {
        "no-length": b" path=demo-1.0/x\n",
        "a-length-too-short": b"9 path=demo-1.0/x\n",
        "a-length-too-long": b"99 path=demo-1.0/x\n",
        "a-length-with-zeros": b"020 path=demo-1.0/xy\n",
        "a-negative-length": b"-9 path=demo-1.0/x\n",
        "no-key": b"8 =abcd\n",
        "no-equals-sign": b"10 pathdemo\n",
        "no-newline": b"18 path=demo-1.0/x",
        "a-nul-behind-the-records": pax_record("uid", "1") + b"\0\0",
        "a-key-twice": pax_record("path", "demo-1.0/x") + pax_record("path", "demo-1.0/y"),
        "latin-1": b"20 path=demo-1.0/\xe9\xe9\n",
    }
    gnu = member("demo-1.0/x", b"1", magic=GNU)
    name = long_name(b"demo-1.0/long\0")
    return [
        *(_refused(f"pax-with-{n}", sdist(pax([kv]), MODULE), rules.get(n, "tar-pax")) for n, kv in keys.items()),
        *(
            _refused(f"pax-with-{n}", sdist(pax(data), MODULE), "tar-name-encoding" if n == "latin-1" else "tar-pax")
            for n, data in records.items()
        ),
        _refused("a-sparse-file-of-version-1", sdist(_sparse()), "tar-pax"),
        _refused("two-pax-headers", sdist(pax([("uid", "1")]), pax([("path", LONG)]), MODULE), "tar-extended"),
        _refused("two-long-names", sdist(name, name, gnu), "tar-extended"),
        _refused("a-long-name-before-a-posix-header", sdist(name, MODULE), "tar-extended"),
        _refused("a-pax-header-before-a-gnu-header", sdist(pax([("path", LONG)]), gnu), "tar-extended"),
        _refused("a-pax-header-and-a-long-name", sdist(pax([("path", LONG)]), name, gnu), "tar-extended"),
        _refused("a-pax-header-in-gnu-style", sdist(pax([("path", LONG)], magic=GNU), MODULE), "tar-extended"),
        _refused(
            "a-long-name-in-posix-style",
            sdist(member("././@LongLink", b"demo-1.0/x\0", type=b"L"), MODULE),
            "tar-extended",
        ),
        _refused("a-long-name-without-nul", sdist(long_name(b"demo-1.0/x"), gnu), "tar-extended"),
        _refused("a-long-name-with-two-nuls", sdist(long_name(b"demo-1.0/x\0evil\0"), gnu), "tar-extended"),
        _refused("an-empty-long-name", sdist(long_name(b"\0"), gnu), "tar-extended"),
        _refused("a-pax-header-without-member", sdist(pax([("path", LONG)])), "tar-extended"),
        _refused("a-long-name-without-member", sdist(name), "tar-extended"),
        _refused("a-long-link-on-a-file", sdist(long_name(b"x\0", type=b"K"), gnu), "tar-link", "demo-1.0/x"),
        _refused("a-large-pax-header", sdist(pax([("uname", "x" * 70_000)]), MODULE), "tar-extended-size"),
    ]


def _sparse() -> bytes:
    """GNU sparse format 1.0: readers that know it see another name and size than the header's."""
    records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "demo-1.0/evil.py"),
        ("GNU.sparse.realsize", "6"),
    ]
    return pax(records) + member("demo-1.0/GNUSparseFile.0/evil.py", b"1\n0\n6\n".ljust(512, b"\0") + b"x = 1\n")


def refused_members() -> list[Case]:
    names = {
        "an-absolute-path": ("/etc/passwd", "archive-path"),
        "a-parent-path": ("demo-1.0/../../evil", "archive-path"),
        "a-leading-parent": ("../demo-1.0/x", "archive-path"),
        "a-leading-dot": ("./demo-1.0/x", "archive-path"),
        "two-slashes": ("demo-1.0//x", "archive-path"),
        "a-file-with-final-slash": ("demo-1.0/x/", "archive-path"),
        "no-name": ("", "archive-path"),
        "a-backslash": ("demo-1.0/..\\..\\evil", "archive-path-character"),
        "a-drive": ("C:/demo-1.0/x", "archive-path-character"),
        "a-newline": ("demo-1.0/a\nb", "archive-path-character"),
        "an-escape": ("demo-1.0/\x1b[2J", "archive-path-character"),
        "a-bidi-override": ("demo-1.0/a\u202eyp", "archive-path-character"),
        "another-top-folder": ("evil-1.0/x", "sdist-top-folder"),
        "the-top-folder-in-another-case": ("Demo-1.0/x", "sdist-top-folder"),
        "a-file-beside-the-top-folder": ("setup.py", "sdist-top-folder"),
        "a-longer-top-folder": ("demo-1.0.1/x", "sdist-top-folder"),
        "a-second-pkg-info": ("demo-1.0/PKG-INFO", "archive-duplicate"),
        "a-pkg-info-in-another-case": ("demo-1.0/pkg-info", "archive-collision"),
        "a-file-below-a-file": ("demo-1.0/PKG-INFO/x", "archive-collision"),
    }
    link = _symlink("..", "demo-1.0/a/link")
    targets = {
        "an-absolute-target": ("/etc/passwd", "archive-path"),
        "a-target-in-the-parent": ("../../evil", "tar-symbolic-link"),
        "a-target-far-up": ("../../../../etc/passwd", "tar-symbolic-link"),
        "a-target-that-is-the-parent": ("../..", "tar-symbolic-link"),
        "a-target-down-and-up": ("sub/../../../evil", "archive-path"),
        "a-target-with-backslash": ("..\\..\\evil", "archive-path-character"),
        "a-target-with-drive": ("C:/evil", "archive-path-character"),
        "a-target-with-two-slashes": ("a//b", "archive-path"),
        "a-target-with-newline": ("a\nb", "archive-path-character"),
    }
    return [
        *(_refused(n, sdist(member(path, b"x")), rule) for n, (path, rule) in names.items()),
        *(_refused(n, sdist(_symlink(target)), rule) for n, (target, rule) in targets.items()),
        _refused("latin-1-names", sdist(member(b"demo-1.0/d\xe9mo", b"x")), "tar-name-encoding"),
        _refused("a-link-without-target", sdist(_symlink("")), "tar-link", "demo-1.0/pkg/link"),
        _refused("a-hard-link-without-target", sdist(_hardlink("")), "tar-link", "demo-1.0/hard.py"),
        _refused("a-file-through-a-link", sdist(link, member("demo-1.0/a/link/x", b"1")), "archive-collision", "link"),
        _refused(
            "a-file-through-a-link-in-another-case",
            sdist(link, member("demo-1.0/a/LINK/x", b"1")),
            "archive-collision",
            "LINK",
        ),
        _refused(
            "a-file-before-its-folder-becomes-a-link",
            sdist(member("demo-1.0/a/link/x", b"1"), link),
            "archive-duplicate",
            "link",
        ),
        _refused("a-file-over-a-link", sdist(link, member("demo-1.0/a/link", b"1")), "archive-duplicate", "link"),
        _refused("a-hard-link-to-nothing", sdist(_hardlink("demo-1.0/nothing")), "tar-hard-link", "nothing"),
        _refused("a-hard-link-forward", sdist(_hardlink("demo-1.0/demo.py"), MODULE), "tar-hard-link", "demo.py"),
        _refused("a-hard-link-out", sdist(_hardlink("/etc/passwd")), "tar-hard-link", "/etc/passwd"),
        _refused("a-hard-link-up", sdist(_hardlink("demo-1.0/../../evil")), "tar-hard-link", "evil"),
        _refused("a-hard-link-to-a-link", sdist(link, _hardlink("demo-1.0/a/link")), "tar-hard-link", "link"),
        _refused(
            "a-hard-link-to-a-folder",
            sdist(member("demo-1.0/d/", type=b"5"), _hardlink("demo-1.0/d")),
            "tar-hard-link",
            "d",
        ),
        _refused(
            "a-top-folder-that-is-a-link",
            sdist(_symlink("demo-1.0", "demo-1.0"), pkg_info=None),
            "sdist-top-folder",
            "demo-1.0",
        ),
        _refused(
            "a-top-folder-that-is-a-file",
            sdist(member("demo-1.0", b"x"), pkg_info=None),
            "sdist-top-folder",
            "demo-1.0",
        ),
        _refused(
            "pkg-info-as-a-link", sdist(_symlink("x", "demo-1.0/PKG-INFO"), pkg_info=None), "sdist-pkg-info", "PKG-INFO"
        ),
        _refused(
            "pkg-info-as-a-hard-link",
            sdist(MODULE, _hardlink("demo-1.0/demo.py", "demo-1.0/PKG-INFO"), pkg_info=None),
            "sdist-pkg-info",
            "PKG-INFO",
        ),
        _refused(
            "pkg-info-as-a-folder",
            sdist(member("demo-1.0/PKG-INFO", type=b"5"), pkg_info=None),
            "sdist-pkg-info",
            "PKG-INFO",
        ),
        _refused("no-pkg-info", sdist(MODULE, pkg_info=None), "sdist-pkg-info", "PKG-INFO"),
        _refused(
            "pkg-info-elsewhere",
            sdist(member("demo-1.0/d/PKG-INFO", PKG_INFO), pkg_info=None),
            "sdist-pkg-info",
            "PKG-INFO",
        ),
        _refused("an-empty-tar", sdist(pkg_info=None), "sdist-pkg-info", "PKG-INFO"),
        _refused("another-project", sdist(pkg_info=PKG_INFO.replace(b"demo", b"evil")), "metadata-name", "evil"),
        _refused("another-version", sdist(pkg_info=PKG_INFO.replace(b"1.0", b"1.1")), "metadata-version", "1.1"),
        _refused(
            "long-pkg-info", sdist(), "tar-member-size", "", InspectionLimits(max_metadata_bytes=len(PKG_INFO) - 1)
        ),
    ]


def refused_filenames() -> list[Case]:
    names = {
        "a-zip-sdist": ("demo-1.0.zip", "sdist-filename"),
        "an-upper-case-name": ("Demo-1.0.tar.gz", "sdist-filename"),
        "a-dashed-name": ("de-mo-1.0.tar.gz", "sdist-filename"),
        "a-version-spelled-otherwise": ("demo-1.0.0-1.tar.gz", "sdist-filename"),
        "a-version-with-zeros": ("demo-01.0.tar.gz", "sdist-filename"),
        "an-upper-case-ending": ("demo-1.0.TAR.GZ", "invalid-name"),
        "tgz": ("demo-1.0.tgz", "invalid-name"),
        "bzip2": ("demo-1.0.tar.bz2", "invalid-name"),
        "no-version": ("demo.tar.gz", "invalid-name"),
        "a-slash": ("../demo-1.0.tar.gz", "invalid-name"),
    }
    return [
        Case(f"sdist-refuses-{name}-as-filename", filename, sdist(), rule) for name, (filename, rule) in names.items()
    ]


def cases() -> list[Case]:
    return [
        *accepted(),
        *refused_gzip(),
        *refused_headers(),
        *refused_extensions(),
        *refused_members(),
        *refused_filenames(),
    ]
