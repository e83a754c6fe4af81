"""What is installed in an environment, as its folders say (PEP 376, PEP 610, the wheel format). All of it is a claim.

The interpreter is asked with ``-I -S``: neither ``.pth`` files nor ``sitecustomize`` of the environment run. Should the
interpreter itself have been replaced, no audit that starts it can tell.
"""

import csv
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.tags import parse_tag
from packaging.utils import InvalidName as BadName
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from assay.model.errors import CallerError

MAX_METADATA_BYTES: Final = 16_000_000
ASK_TIMEOUT_S: Final = 30
_QUESTION: Final = """
import importlib.util, json, os, sys, sysconfig
base = sys.argv[1] or sys.prefix
names = sysconfig.get_scheme_names()
scheme = "venv" if sys.argv[1] and "venv" in names else sysconfig.get_default_scheme()
paths = sysconfig.get_paths(scheme, {"base": base, "platbase": base} if sys.argv[1] else None)
paths["headers"] = os.path.join(base, "include", "site", "python%d.%d" % sys.version_info[:2])
print(json.dumps({"paths": paths, "magic": importlib.util.MAGIC_NUMBER.hex()}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where an environment keeps what: one folder for each part of a wheel. ``magic``: of its byte-code, in hex."""

    python: Path
    purelib: Path
    platlib: Path
    scripts: Path
    data: Path
    headers: Path
    magic: str

    @property
    def libraries(self) -> tuple[Path, ...]:
        """The folders that modules are imported from, each once."""
        return tuple(dict.fromkeys((self.purelib, self.platlib)))


@dataclass(frozen=True, slots=True)
class Installed:
    """One ``.dist-info`` folder. ``project`` and ``version`` are normalised; ``tags``: what its WHEEL says.

    ``recorded``: the absolute paths of its RECORD, None where there is none. ``origin``: where it came from if not from
    an index (PEP 610), in words.
    """

    project: str
    version: str
    folder: Path
    library: Path
    tags: frozenset[str]
    recorded: tuple[str, ...] | None
    origin: str | None


def find_environment(python: Path) -> Environment:
    """The environment of an interpreter, or of a virtual environment's folder. Raises CallerError."""
    if python.is_dir():
        found = [python / "bin" / "python", python / "Scripts" / "python.exe"]
        python = next((path for path in found if path.exists()), found[0])
    python = Path(os.path.abspath(python))  # noqa: PTH100  # not resolved: a link is what tells a virtual environment
    base = python.parent.parent if (python.parent.parent / "pyvenv.cfg").is_file() else None
    command = [str(python), "-I", "-S", "-c", _QUESTION, str(base or "")]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=ASK_TIMEOUT_S, cwd=python.anchor)
        document = json.loads(done.stdout)
        paths = {key: Path(value) for key, value in document["paths"].items()}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise CallerError(
            "not a Python interpreter that answers",
            rule="python",
            subject=str(python),
            found=str(error)[:300],
            next_step="--python names an interpreter or the folder of a virtual environment",
        ) from error
    return Environment(
        python,
        paths["purelib"],
        paths["platlib"],
        paths["scripts"],
        paths["data"],
        paths["headers"],
        document["magic"],
    )


def installed_in(environment: Environment) -> list[Installed]:
    """Everything that is installed, by name. A folder whose name says no project and version is left to the strays."""
    found = [
        one
        for library in environment.libraries
        for folder in library.glob("*.dist-info")
        if (one := _read(folder, library)) is not None
    ]
    return sorted(found, key=lambda one: (one.project, one.version))


def _read(folder: Path, library: Path) -> Installed | None:
    name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
    try:
        project, canonical = canonicalize_name(name, validate=True), str(Version(version))
    except (BadName, InvalidVersion):
        return None
    return Installed(
        project=project,
        version=canonical,
        folder=folder,
        library=library,
        tags=_tags(_text(folder / "WHEEL") or ""),
        recorded=_recorded(_text(folder / "RECORD"), library),
        origin=_origin(_text(folder / "direct_url.json")),
    )


def _text(path: Path) -> str | None:
    """The file's text, bounded; None where there is none."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_METADATA_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _tags(wheel: str) -> frozenset[str]:
    lines = [line.partition(":") for line in wheel.splitlines()]
    values = [value.strip() for key, _, value in lines if key.lower() == "tag" and value.count("-") == 2]
    return frozenset(str(tag) for value in values for tag in parse_tag(value))


def _recorded(record: str | None, library: Path) -> tuple[str, ...] | None:
    if record is None:
        return None
    rows = csv.reader(record.splitlines())
    return tuple(os.path.normpath(library / row[0]) for row in rows if row and row[0])


def _origin(direct_url: str | None) -> str | None:
    """PEP 610 in words."""
    if direct_url is None:
        return None
    try:
        document = json.loads(direct_url)
        url = str(document["url"])
        if "vcs_info" in document:
            vcs = document["vcs_info"]
            return f"from {vcs['vcs']} {url} at {vcs['commit_id']}"
        return f"editable, from {url}" if document.get("dir_info", {}).get("editable") else f"from {url}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "from somewhere that its direct_url.json does not say"
