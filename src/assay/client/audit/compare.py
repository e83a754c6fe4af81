"""One installed distribution against the wheel it must have come from, file by file.

The wheel's RECORD is the measure, never the installed one, which whoever alters a file alters, too. The wheel was
verified before, so its RECORD is what was vouched for. Paths are text: there are thousands.
"""
# ruff: noqa: PTH118, PTH123

import base64
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from assay.client.audit.installed import Environment, Installed
from assay.client.audit.launchers import entry_points, is_launcher, is_of_environment, split_shebang
from assay.model.errors import VerificationFailed

WRITTEN_BY_INSTALLERS: Final = frozenset(
    {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json", "provenance_url.json"}
)
MAX_RECORD_BYTES: Final = 64_000_000
_UNRECORDED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")
_MAX_SCRIPT_BYTES: Final = 8_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not what was vouched for. ``found``: its hash, or in words."""

    path: str
    expected: str
    found: str


@dataclass(slots=True)
class Comparison:
    """What was found. ``explained``: absolute paths of the wheel's files; ``sources``: its sound ``.py`` files."""

    differences: list[Difference] = field(default_factory=list)
    explained: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    files: int = 0


def compare(wheel: Path, installed: Installed, environment: Environment) -> Comparison:
    """Compare the files of ``installed`` with ``wheel``. Raises VerificationFailed when the wheel cannot be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return _compare(archive, installed, environment)
    except (zipfile.BadZipFile, ValueError, KeyError, csv.Error, NotImplementedError, RuntimeError) as error:
        raise VerificationFailed(
            "not a readable wheel", subject=installed.folder.name, rule="wheel-unreadable", found=str(error)
        ) from error


def _compare(archive: zipfile.ZipFile, installed: Installed, environment: Environment) -> Comparison:
    info = _info_folder(archive)
    done = Comparison()
    for member, digest in _record(archive, info):
        path, is_script = _place(member, installed, environment)
        done.explained.add(path)
        done.files += 1
        found = _digest_of(path, digest.partition("=")[0])
        if found == digest:
            if path.endswith(".py"):
                done.sources.add(path)
        elif not (is_script and found is not None and _is_same_script(archive, member, path, environment)):
            done.differences.append(Difference(path, digest, found or "missing"))
    done.explained.update(os.path.join(installed.folder, name) for name in WRITTEN_BY_INSTALLERS)
    _compare_launchers(archive, info, environment, done)
    return done


def _info_folder(archive: zipfile.ZipFile) -> str:
    found = {name.split("/")[0] for name in archive.namelist() if name.split("/")[0].endswith(".dist-info")}
    if len(found) != 1:
        raise ValueError(f"{len(found)} .dist-info folders")
    return found.pop()


def _record(archive: zipfile.ZipFile, info: str) -> Iterator[tuple[str, str]]:
    """Path and hash (``sha256=...``) of every file that RECORD lists."""
    if archive.getinfo(f"{info}/RECORD").file_size > MAX_RECORD_BYTES:
        raise ValueError("RECORD is too long")
    text = io.StringIO(archive.read(f"{info}/RECORD").decode("utf-8"), newline="")
    for row in csv.reader(text):
        if row and row[0] not in [f"{info}/{name}" for name in _UNRECORDED]:
            yield row[0], row[1]


def _place(member: str, installed: Installed, environment: Environment) -> tuple[str, bool]:
    """Where installers put a wheel's member, and whether they rewrite its first line (a script's)."""
    top, _, rest = member.partition("/")
    if top.endswith(".dist-info"):
        return os.path.join(installed.folder, rest), False
    if not top.endswith(".data"):
        return os.path.normpath(os.path.join(installed.library, member)), False
    scheme, _, rest = rest.partition("/")
    folders = {
        "purelib": environment.purelib,
        "platlib": environment.platlib,
        "scripts": environment.scripts,
        "data": environment.data,
        "headers": environment.headers / installed.folder.name.rpartition("-")[0],
    }
    if scheme not in folders:
        raise ValueError(f"no such part of a wheel: {member}")
    return os.path.normpath(os.path.join(folders[scheme], rest)), scheme == "scripts"


def _digest_of(path: str, algorithm: str) -> str | None:
    """The file's hash as RECORD writes it; None where there is no such file. Raises ValueError for a weak algorithm."""
    if algorithm not in ("sha256", "sha384", "sha512"):
        raise ValueError(f"RECORD has a hash of kind {algorithm!r}")
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, algorithm).digest()
    except OSError:
        return None
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _is_same_script(archive: zipfile.ZipFile, member: str, path: str, environment: Environment) -> bool:
    """Installers put the environment's interpreter in the place of ``#!python``, and change nothing else."""
    if archive.getinfo(member).file_size > _MAX_SCRIPT_BYTES or Path(path).stat().st_size > _MAX_SCRIPT_BYTES:
        return False
    packed_first, _, packed = archive.read(member).partition(b"\n")
    if not packed_first.startswith(b"#!python"):
        return False
    interpreter, body = split_shebang(Path(path).read_bytes().decode("utf-8", "surrogateescape"))
    return body.encode("utf-8", "surrogateescape") == packed and is_of_environment(interpreter, environment.scripts)


def _compare_launchers(archive: zipfile.ZipFile, info: str, environment: Environment, done: Comparison) -> None:
    """The scripts of entry points, which stand in no wheel. One that is missing runs nothing: it is not reported."""
    name = f"{info}/entry_points.txt"
    if name not in archive.namelist():
        return
    for script, (module, target) in entry_points(archive.read(name).decode("utf-8", "replace")).items():
        path = environment.scripts / script
        if str(path) in done.explained or not path.is_file():
            continue
        done.explained.add(str(path))
        if not is_launcher(path.read_bytes(), module, target, environment.scripts):
            done.differences.append(Difference(str(path), f"a launcher of {module}:{target}", "something else"))
