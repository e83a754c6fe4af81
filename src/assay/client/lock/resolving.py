"""What uv or pip resolve behind the proxy: the commands, and what they wrote."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import orjson
from packaging.utils import canonicalize_name
from packaging.version import Version

from assay.model.errors import CallerError

REPORT: Final = "report.json"


class Resolver(Enum):
    """Who resolves."""

    UV = "uv"
    PIP = "pip"


class LockFormat(Enum):
    """What is written, and the file's usual name."""

    REQUIREMENTS = "requirements.txt"
    PYLOCK = "pylock.toml"


def find_resolver(environ: Mapping[str, str], wanted: Resolver | None) -> tuple[Resolver, tuple[str, ...]]:
    """The resolver and the words that start it: uv where there is one, else pip. Raises CallerError."""
    path = environ.get("PATH")
    for resolver in (wanted,) if wanted is not None else Resolver:
        if resolver is Resolver.PIP and find_spec("pip") is not None:
            return resolver, (sys.executable, "-P", "-m", "pip")
        if (program := shutil.which(resolver.value, path=path)) is not None:
            return resolver, (program,)
        if find_spec(resolver.value) is not None:
            return resolver, (sys.executable, "-P", "-m", resolver.value)
    raise CallerError(
        "neither uv nor pip is here to resolve" if wanted is None else f"{wanted.value} is not here",
        rule="resolver-missing",
        next_step="pip install uv",
    )


def resolve_command(
    resolver: Resolver, words: Sequence[str], inputs: Sequence[Path], out: Path, extra: Sequence[str]
) -> list[str]:
    """The command that resolves ``inputs`` into ``out`` (uv: a lock file; pip: ``REPORT`` beside it)."""
    if resolver is Resolver.UV:
        command = [*words, "pip", "compile", "--quiet", "--no-header", "--output-file", str(out)]
        return [*command, "--generate-hashes", *extra, *map(str, inputs)]
    command = [*words, "install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(out.parent / REPORT)]
    for path in inputs:
        command += ["--requirement", str(path)]
    return [*command, *extra]


def read_report(path: Path) -> list[tuple[str, str]]:
    """Project and version of everything in pip's installation report, by name. Raises CallerError."""
    try:
        document = orjson.loads(path.read_bytes())
        found = [(each["metadata"]["name"], each["metadata"]["version"]) for each in document["install"]]
        return sorted((canonicalize_name(name), str(Version(version))) for name, version in found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CallerError("pip left no report that can be read", rule="resolver-report", found=str(error)) from error
