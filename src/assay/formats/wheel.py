"""Wheels: the ZIP's members are what WHEEL, METADATA and RECORD say, and nothing else (binary distribution format 1.x).

Everything that decides an installation is checked against everything that repeats it: the filename against the
``.dist-info`` folder, METADATA and WHEEL; RECORD against every member's bytes; ``.data`` and entry points against what
installers would write outside the package.
"""

import base64
import csv
import hashlib
import io
import re
from typing import BinaryIO, Final, NamedTuple

from packaging.utils import parse_wheel_filename

from assay.formats.archive_paths import MemberPaths, PathKind, shown
from assay.formats.entry_points import check_script_name, parse_script_names
from assay.formats.limits import InspectionLimits
from assay.formats.zip import ZipArchive, open_zip
from assay.model.distributions import DistributionKind, parse_distribution
from assay.model.errors import InvalidDistribution, InvalidName

MAX_TAGS: Final = 256
MAX_WHEEL_BYTES: Final = 64 * 1024
_TAG_PART = re.compile(r"\A[a-z0-9_]+\Z")
_WHEEL_LINE = re.compile(r"\A([A-Za-z][A-Za-z-]*): ([!-~](?:[ -~]*[!-~])?)\Z")
_SINGLE_KEYS = frozenset({"wheel-version", "generator", "root-is-purelib", "build"})
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})


class WheelName(NamedTuple):
    """The parts of a wheel's filename, as written."""

    name: str
    version: str
    build: str | None
    tags: frozenset[str]

    @property
    def dist_info(self) -> str:
        """The one folder that holds the wheel's own metadata."""
        return f"{self.name}-{self.version}.dist-info"

    @property
    def data(self) -> str:
        """The one folder whose parts installers put elsewhere."""
        return f"{self.name}-{self.version}.data"


class _Recorded(NamedTuple):
    sha256: bytes
    size: int


def parse_wheel_name(filename: str) -> WheelName:
    """Take a wheel's filename apart, strictly. Raises InvalidName unless it is in its one normal form.

    Name and version must be normalised (PEP 503 with ``_``, PEP 440), so that one wheel cannot be published twice under
    two spellings; tags are lower-case ASCII words.
    """
    distribution = parse_distribution(filename)
    if distribution.kind is not DistributionKind.WHEEL:
        raise InvalidName("not a wheel", subject=filename)
    name, version, *build, python, abi, platform = filename.removesuffix(".whl").split("-")
    normal = f"{distribution.project.replace('-', '_')}-{distribution.version}"
    if f"{name}-{version}" != normal:
        raise InvalidName(
            "the filename is not normalised",
            rule="wheel-filename",
            subject=filename,
            expected=f"{normal}-...",
            next_step="build the wheel with a current build backend",
        )
    for part in (part for triple in (python, abi, platform) for part in triple.split(".")):
        if not _TAG_PART.match(part):
            raise InvalidName("not a legal tag", rule="wheel-tag", subject=filename, found=repr(part))
    tags = frozenset(str(tag) for tag in parse_wheel_filename(filename)[3])
    if len(tags) > MAX_TAGS:
        raise InvalidName("too many tags", rule="wheel-tag", subject=filename, expected=f"at most {MAX_TAGS}")
    return WheelName(name, version, build[0] if build else None, tags)


def read_wheel_metadata(stream: BinaryIO, filename: str) -> bytes:
    """METADATA out of the wheel in ``stream``, verbatim: structure as strict as for an upload, no other content read.

    Raises InvalidName, InvalidDistribution, TooLarge.
    """
    limits = InspectionLimits()
    name = parse_wheel_name(filename)
    archive = open_zip(stream, limits)
    _check_top_level(archive, name)
    return _read(archive, f"{name.dist_info}/METADATA", limits.max_metadata_bytes)


def inspect_wheel(stream: BinaryIO, filename: str, limits: InspectionLimits) -> bytes:
    """Check the whole wheel in ``stream`` and return its METADATA, verbatim (not yet parsed).

    Reads every member once. Raises InvalidName, InvalidDistribution naming the member and the rule, TooLarge.
    """
    name = parse_wheel_name(filename)
    archive = open_zip(stream, limits)
    _check_top_level(archive, name)
    metadata = _read(archive, f"{name.dist_info}/METADATA", limits.max_metadata_bytes)
    _check_wheel_file(_read(archive, f"{name.dist_info}/WHEEL", MAX_WHEEL_BYTES), name)
    _check_data_folder(archive, name, limits)
    _check_scripts(archive, name, limits)
    _check_record(archive, name, limits)
    return metadata


def _read(archive: ZipArchive, path: str, max_bytes: int) -> bytes:
    if path not in archive.members:
        raise InvalidDistribution("the wheel lacks it", rule="wheel-dist-info", subject=path)
    return archive.read(path, max_bytes)


def _check_top_level(archive: ZipArchive, name: WheelName) -> None:
    """Installers look for folders by their ending, in any case: there may be one of each."""
    for path in archive.members:
        top = path.partition("/")[0]
        for ending, only in ((".dist-info", name.dist_info), (".data", name.data)):
            if top.casefold().rstrip(". ").endswith(ending) and top != only:
                raise InvalidDistribution(
                    f"a second {ending} folder",
                    rule="wheel-top-level",
                    subject=shown(path),
                    expected=only,
                    found=shown(top),
                )


def _check_wheel_file(data: bytes, name: WheelName) -> None:
    """WHEEL repeats the filename: tags, build number, and a version that this reader knows."""
    subject = f"{name.dist_info}/WHEEL"
    values: dict[str, list[str]] = {}
    for line in data.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n").split("\n"):
        header = _WHEEL_LINE.match(line)
        if header is None:
            raise InvalidDistribution("not a header", rule="wheel-file", subject=subject, found=ascii(line[:80]))
        values.setdefault(header.group(1).lower(), []).append(header.group(2))
    for key in _SINGLE_KEYS:
        if len(values.get(key, [])) > 1:
            raise InvalidDistribution(f"{key} stands twice", rule="wheel-file", subject=subject)
    version = values.get("wheel-version", [""])[0]
    if not re.fullmatch(r"1\.[0-9]{1,3}", version):
        raise InvalidDistribution(
            "unknown Wheel-Version", rule="wheel-version", subject=subject, expected="1.x", found=version or "none"
        )
    if values.get("root-is-purelib", [""])[0].lower() not in {"true", "false"}:
        raise InvalidDistribution("no Root-Is-Purelib", rule="wheel-file", subject=subject, expected="true or false")
    tags = {tag for value in values.get("tag", []) for tag in _expand_tag(value)}
    if tags != name.tags:
        raise InvalidDistribution(
            "its tags are not the filename's",
            rule="wheel-tag",
            subject=subject,
            expected=" ".join(sorted(name.tags)),
            found=" ".join(sorted(tags))[:500] or "none",
        )
    if values.get("build", [name.build])[0] != name.build:
        raise InvalidDistribution(
            "its build number is not the filename's", rule="wheel-build", subject=subject, expected=name.build or "none"
        )


def _expand_tag(value: str) -> list[str]:
    parts = value.split("-")
    if len(parts) != 3:
        return [value]
    pythons, abis, platforms = (part.split(".") for part in parts)
    if len(pythons) * len(abis) * len(platforms) > MAX_TAGS:
        return [value]
    return [f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms]


def _check_data_folder(archive: ZipArchive, name: WheelName, limits: InspectionLimits) -> None:
    """No two members may install to one path: purelib and platlib are one folder in a virtual environment."""
    paths = MemberPaths(limits)
    for path, member in archive.members.items():
        if member.is_directory:
            continue
        top, _, below = path.partition("/")
        if top != name.data:
            paths.add(path, PathKind.FILE)
            continue
        scheme, _, target = below.partition("/")
        if scheme not in _SCHEMES or not target:
            raise InvalidDistribution(
                "no such part of a .data folder",
                rule="wheel-data",
                subject=shown(path),
                expected="one of " + ", ".join(sorted(_SCHEMES)),
            )
        if scheme in {"purelib", "platlib"}:
            paths.add(target, PathKind.FILE)
            if target.partition("/")[0].casefold().endswith((".dist-info", ".data")):
                raise InvalidDistribution("metadata inside a .data folder", rule="wheel-data", subject=shown(path))


def _check_scripts(archive: ZipArchive, name: WheelName, limits: InspectionLimits) -> None:
    """Every script has a safe name, and no two are one file in the scripts folder."""
    seen: dict[str, str] = {}
    for script, source in (*_listed_scripts(archive, name, limits), *_packed_scripts(archive, name)):
        check_script_name(script, source)
        if script.casefold() in seen:
            raise InvalidDistribution(
                "two scripts have one name",
                rule="wheel-script",
                subject=shown(source),
                found=f"{script} also from {shown(seen[script.casefold()])}",
            )
        seen[script.casefold()] = source


def _listed_scripts(archive: ZipArchive, name: WheelName, limits: InspectionLimits) -> list[tuple[str, str]]:
    path = f"{name.dist_info}/entry_points.txt"
    if path not in archive.members:
        return []
    return [(script, path) for script in parse_script_names(archive.read(path, limits.max_metadata_bytes), path)]


def _packed_scripts(archive: ZipArchive, name: WheelName) -> list[tuple[str, str]]:
    """Files that land in the scripts folder: those of ``scripts``, and those straight in the ``bin`` of ``data``."""
    packed = []
    for path, member in archive.members.items():
        top, _, below = path.partition("/")
        scheme, _, target = below.partition("/")
        if top != name.data or member.is_directory:
            continue
        folder, _, inner = target.partition("/")
        if scheme == "scripts":
            packed.append((target, path))
        elif scheme == "data" and folder.casefold() in {"bin", "scripts"} and "/" not in inner:
            packed.append((inner, path))
    return packed


def _check_record(archive: ZipArchive, name: WheelName, limits: InspectionLimits) -> None:
    """RECORD lists every file but itself with the sha256 and size of its content, and nothing else."""
    path = f"{name.dist_info}/RECORD"
    recorded = _parse_record(_read(archive, path, limits.max_record_bytes), path)
    for member in archive.members.values():
        if member.is_directory or member.name == path:
            continue
        expected = recorded.pop(member.name, None)
        if expected is None:
            raise InvalidDistribution("not listed in RECORD", rule="wheel-record", subject=shown(member.name))
        hasher = hashlib.sha256()
        for chunk in archive.chunks(member.name):
            hasher.update(chunk)
        if (hasher.digest(), member.size) != expected:
            raise InvalidDistribution(
                "content is not what RECORD lists",
                rule="wheel-record-hash",
                subject=shown(member.name),
                expected=f"{expected.size} bytes, sha256 {expected.sha256.hex()}",
                found=f"{member.size} bytes, sha256 {hasher.hexdigest()}",
            )
    for listed in recorded:
        raise InvalidDistribution("listed in RECORD, but not in the wheel", rule="wheel-record", subject=shown(listed))


def _parse_record(data: bytes, path: str) -> dict[str, _Recorded]:
    """RECORD's rows by path, without its own row (which must stand there once, empty)."""
    rows: dict[str, _Recorded] = {}
    own_rows = 0
    try:
        for row in csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True):
            if row == [path, "", ""]:
                own_rows += 1
                continue
            listed, digest, size = row
            if listed in rows or listed == path:
                raise InvalidDistribution("listed twice in RECORD", rule="wheel-record", subject=shown(listed))
            rows[listed] = _Recorded(_parse_digest(digest), _parse_size(size))
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise InvalidDistribution("not a RECORD", rule="wheel-record-syntax", subject=path, found=str(error)) from error
    if own_rows != 1:
        raise InvalidDistribution(
            "RECORD must list itself once, without hash and size",
            rule="wheel-record",
            subject=path,
            found=str(own_rows),
        )
    return rows


def _parse_digest(text: str) -> bytes:
    algorithm, _, encoded = text.partition("=")
    if algorithm != "sha256" or not re.fullmatch(r"[A-Za-z0-9_-]{43}", encoded):
        raise ValueError(f"expected sha256=<43 characters>, found {text[:80]!r}")
    digest = base64.urlsafe_b64decode(encoded + "=")
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != encoded:
        raise ValueError(f"not canonical base64: {text!r}")
    return digest


def _parse_size(text: str) -> int:
    if not re.fullmatch(r"0|[1-9][0-9]{0,11}", text):
        raise ValueError(f"expected a size in bytes, found {text[:80]!r}")
    return int(text)
