"""Laws: whatever is done to a sound archive, it is refused, or Python's own readers find in it exactly what we find."""

import configparser
import email.parser
import email.policy
import gzip
import importlib.metadata
import io
import tarfile
import zipfile
from dataclasses import replace
from os import PathLike
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from assay.formats.core_metadata import parse_core_metadata
from assay.formats.entry_points import parse_script_names
from assay.formats.inspect import inspect_distribution
from assay.formats.limits import InspectionLimits
from assay.model.errors import CallerError, InvalidDistribution
from formats.archives.readers import PYTHON_TAR, PYTHON_ZIP
from formats.archives.tar_builder import GNU, POSIX, SDIST_NAME, long_name, member, pax, sdist, tar
from formats.archives.test_corpus import our_tar, our_zip
from formats.archives.zip_builder import WHEEL_NAME, Archive, Entry, extra, wheel, wheel_entries

LIMITS = InspectionLimits(max_expanded_bytes=10_000_000)
NOWHERE = Path("/nonexistent")
WHEEL_BYTES = wheel(
    Entry("pkg/", mode=0o040755, method=0), Entry("pkg/naïve.py", b"1"), Entry("stored", b"ab" * 9, method=0)
)
TAR_BYTES = tar(
    member("demo-1.0/pkg", type=b"5"),
    member("demo-1.0/pkg/x.py", b"x = 1\n" * 100),
    pax([("path", "demo-1.0/" + "d/" * 70 + "x")]),
    member("demo-1.0/short", b"1"),
    member("demo-1.0/link", type=b"2", link=b"pkg/x.py"),
    end=b"",
) + tar(long_name(b"demo-1.0/long\0"), member("demo-1.0/l", b"2", magic=GNU), pkg_info=None)


def check_wheel(data: bytes) -> None:
    """Refused, or read alike; nothing but a refusal may be raised."""
    try:
        inspected = inspect_distribution(io.BytesIO(data), WHEEL_NAME, LIMITS)
    except CallerError:
        return
    found = PYTHON_ZIP.read(data, NOWHERE)
    assert found == our_zip(data, LIMITS)
    assert found["demo-1.0.dist-info/METADATA"] == inspected.metadata_bytes


def check_sdist(data: bytes) -> None:
    try:
        inspected = inspect_distribution(io.BytesIO(data), SDIST_NAME, LIMITS)
    except CallerError:
        return
    found = PYTHON_TAR.read(data, NOWHERE)
    assert found == our_tar(data, LIMITS)
    assert found["demo-1.0/PKG-INFO"] == inspected.metadata_bytes


@st.composite
def mutated(draw: st.DrawFn, sound: bytes) -> bytes:
    """``sound`` with a few bytes changed, cut out, doubled or put in."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(["change", "cut", "double", "insert", "zero"])):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case _:
                data[at : at + length] = bytes(min(length, len(data) - at))
    return bytes(data)


NUMBERS = st.one_of(st.sampled_from([0, 1, 8, 20, 45, 0x800, 0xFFFF]), st.integers(0, 0xFFFF))
SIZES = st.one_of(NUMBERS, st.integers(0, 0xFFFFFFFF))
EXTRAS = st.one_of(
    st.binary(max_size=30),
    st.builds(extra, st.sampled_from([1, 0x5455, 0x7875, 0x7075, 0x000A]), st.binary(max_size=32)),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "needs": NUMBERS,
        "flags": NUMBERS,
        "method": NUMBERS,
        "crc": SIZES,
        "compressed": SIZES,
        "size": SIZES,
        "extra": EXTRAS,
        "name": st.sampled_from([b"demo.py", b"DEMO.py", b"evil.py", b"a/../b", b"demo.py/", b"\xff"]),
    },
)
CENTRAL = st.one_of(
    FIELDS,
    st.fixed_dictionaries(
        {}, optional={"made_by": NUMBERS, "external": SIZES, "comment": st.binary(max_size=9), "offset": SIZES}
    ),
)
END = st.fixed_dictionaries(
    {}, optional={"count": NUMBERS, "here": NUMBERS, "size": SIZES, "offset": SIZES, "comment": st.binary(max_size=30)}
)


@settings(max_examples=400, deadline=None)
@given(mutated(WHEEL_BYTES))
def test_a_mutated_wheel_is_refused_or_reads_alike(data: bytes) -> None:
    check_wheel(data)


@settings(max_examples=400, deadline=None)
@given(FIELDS, CENTRAL, FIELDS, END, st.binary(max_size=12), st.binary(max_size=12), st.booleans())
def test_a_wheel_with_odd_headers_is_refused_or_reads_alike(
    both: dict[str, int | bytes],
    central: dict[str, int | bytes],
    local: dict[str, int | bytes],
    end: dict[str, int | bytes],
    before: bytes,
    after: bytes,
    reverse: bool,
) -> None:
    entries = wheel_entries()
    entries[0] = replace(entries[0], both=both, central=central, local=local, before=before, after=after)
    check_wheel(Archive(entries, end=end, reverse_directory=reverse).build())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=4))
@example(["a", "A"])
@example(["a/b", "a"])
@example(["con", "nul.txt"])
def test_any_names_are_refused_or_read_alike(names: list[str]) -> None:
    check_wheel(wheel(*(Entry(name, name.encode()) for name in names)))


@settings(max_examples=400, deadline=None)
@given(mutated(TAR_BYTES))
def test_a_mutated_tar_is_refused_or_reads_alike(data: bytes) -> None:
    check_sdist(gzip.compress(data, 1, mtime=0))


@settings(max_examples=150, deadline=None)
@given(mutated(sdist(member("demo-1.0/x", b"x = 1\n"))))
def test_a_mutated_gzip_is_refused_or_reads_alike(data: bytes) -> None:
    check_sdist(data)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["demo-1.0/x", "demo-1.0/x/", "demo-1.0/PKG-INFO", "/x", "x", "demo-1.0/ü"]),
    st.binary(max_size=20),
    st.sampled_from([b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"K", b"S", b"7", b"\0"]),
    st.sampled_from([b"", b"demo-1.0/PKG-INFO", b"PKG-INFO", b"../x", b"/x"]),
    st.sampled_from([POSIX, GNU, bytes(8), b"ustar\x0001"]),
    st.one_of(st.none(), st.binary(max_size=12), st.from_regex(rb"[ 0]{0,11}[0-7]{1,4}[ \0]?", fullmatch=True)),
    st.one_of(
        st.binary(max_size=12), st.from_regex(rb"[0-9]{1,3} (path|size|linkpath)=[a-z0-9./-]{0,9}\n", fullmatch=True)
    ),
    st.binary(max_size=12),
)
def test_a_tar_with_odd_headers_is_refused_or_reads_alike(
    name: str, content: bytes, kind: bytes, link: bytes, magic: bytes, size: bytes | None, records: bytes, prefix: bytes
) -> None:
    odd = member(name, content, type=kind, link=link, magic=magic, size_field=size, prefix=prefix)
    check_sdist(sdist(pax(records) if records else b"", odd, member("demo-1.0/last", b"1")))


HEADER_TEXT = st.text(
    st.one_of(st.sampled_from("\n\r \t:;,\x0b\x0c\x1c\x85\u2028()[]=<>'\""), st.characters(codec="utf-8")), max_size=40
)
HEADER_NAMES = st.sampled_from(
    ["Requires-Dist", "License", "Summary", "Name", "Description", "Requires-Python", "X", "License "]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(HEADER_NAMES, HEADER_TEXT), max_size=4), HEADER_TEXT)
@example([("License", "a\rRequires-Dist: evil")], "")
@example([("Requires-Dist", "a; " + "(" * 900)], "")
@example([("Requires-Dist", "a==" + "9" * 5000)], "")
def test_accepted_metadata_has_the_same_dependencies_for_every_parser(
    headers: list[tuple[str, str]], body: str
) -> None:
    text = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
    text += "".join(f"{name}: {value}\n" for name, value in headers) + f"\n{body}"
    try:
        facts = parse_core_metadata(text.encode())
    except InvalidDistribution:
        return
    by_line = [
        line[15:].strip() for line in text.partition("\n\n")[0].splitlines() if line.startswith("Requires-Dist: ")
    ]
    by_email = (
        email.parser.BytesParser(policy=email.policy.compat32).parsebytes(text.encode()).get_all("Requires-Dist") or []
    )
    assert list(facts.requires_dist) == by_line == [str(value).strip() for value in by_email]


class _Installed(importlib.metadata.Distribution):
    """An installed distribution whose every metadata file is ``text``."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, filename: str) -> str:
        return self._text

    def locate_file(self, path: str | PathLike[str]) -> Path:
        raise NotImplementedError


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "[console_scripts]",
                    "[gui_scripts]",
                    "[x]",
                    "",
                    "# c",
                    "; c",
                    " # d",
                    "a = b:c",
                    "d=e.f:g.h [x]",
                    " i = j:k",
                ]
            ),
            st.text("ab=:[]#; .\t\r\x0b", max_size=10),
        ),
        max_size=6,
    )
)
def test_accepted_entry_points_are_what_python_reads(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        scripts = parse_script_names(text.encode(), "entry_points.txt")
    except InvalidDistribution:
        return
    ini = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    ini.optionxform = str  # type: ignore[assignment,method-assign]
    ini.read_string(text)
    groups = ("console_scripts", "gui_scripts")
    assert set(scripts) == {name for group in groups if ini.has_section(group) for name in ini[group]}
    points = _Installed(text).entry_points
    assert set(scripts) == {point.name for point in points if point.group in groups}


def test_the_sound_archives_are_sound() -> None:
    assert inspect_distribution(io.BytesIO(WHEEL_BYTES), WHEEL_NAME).metadata.name == "demo"
    data = gzip.compress(TAR_BYTES, mtime=0)
    assert inspect_distribution(io.BytesIO(data), SDIST_NAME).metadata.name == "demo"
    assert zipfile.is_zipfile(io.BytesIO(WHEEL_BYTES))
    assert len(tarfile.open(fileobj=io.BytesIO(data)).getmembers()) == 6  # noqa: SIM115 - in memory
