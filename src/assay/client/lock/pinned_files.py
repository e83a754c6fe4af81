"""Lock files as they are written: hash-pinned requirements and ``pylock.toml`` (PEP 751). Pure: values in, text out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from assay.formats.moments import format_time
from assay.formats.pages import PageFile
from assay.model.distributions import DistributionKind, parse_distribution
from assay.model.names import ProjectName

LOCK_VERSION: Final = "1.0"
CREATED_BY: Final = "assay"
Identity = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PinnedPackage:
    """One release with its files. ``urls``: where each file is, by filename. ``identities``: who attested them."""

    project: ProjectName
    version: str
    files: tuple[PageFile, ...]
    urls: Mapping[str, str]
    identities: tuple[Identity, ...] = ()


def render_requirements(packages: Sequence[PinnedPackage], comment: str) -> str:
    """``requirements.txt`` with every file's hash."""
    lines = [f"# {comment}"]
    for package in packages:
        hashes = sorted(file.sha256 for file in package.files)
        lines.append(
            " \\\n    ".join([f"{package.project}=={package.version}", *(f"--hash=sha256:{h}" for h in hashes)])
        )
    return "\n".join(lines) + "\n"


def render_pylock(packages: Sequence[PinnedPackage]) -> str:
    """``pylock.toml`` with every file of every package."""
    lines = [f'lock-version = "{LOCK_VERSION}"', f'created-by = "{CREATED_BY}"']
    for package in packages:
        lines += ["", "[[packages]]", f"name = {_text(package.project)}", f"version = {_text(package.version)}"]
        if package.identities:
            lines.append(render_identities(package.identities))
        wheels = [file for file in package.files if _kind(file, package) is DistributionKind.WHEEL]
        sdists = [file for file in package.files if file not in wheels]
        lines += [f"sdist = {_file(file, package)}" for file in sdists[:1]]
        if wheels:
            lines += ["wheels = [", *(f"    {_file(file, package)}," for file in wheels), "]"]
    return "\n".join(lines) + "\n"


def render_identities(identities: Sequence[Identity]) -> str:
    """The key ``attestation-identities`` of a package, on one line."""
    return f"attestation-identities = [{', '.join(_table(each) for each in identities)}]"


def with_identities(pylock: str, identities: Mapping[str, Sequence[Identity]]) -> str:
    """``pylock``, as a resolver wrote it, with the identities of each package by its name.

    A package begins with ``[[packages]]``, and resolvers write its name next; the rest is left as it is.
    """
    lines: list[str] = []
    for block in pylock.split("\n"):
        lines.append(block)
        key, _, value = block.partition(" = ")
        if key == "name" and len(lines) > 1 and lines[-2].strip() == "[[packages]]":
            found = identities.get(value.strip().strip('"'))
            if found:
                lines.append(render_identities(found))
    return "\n".join(lines)


def _file(file: PageFile, package: PinnedPackage) -> str:
    entry = {"name": file.filename, "url": package.urls[file.filename]}
    parts = [f"{key} = {_text(value)}" for key, value in entry.items()]
    parts.append(f"upload-time = {format_time(file.upload_time)}")
    parts.append(f"size = {file.size}")
    parts.append(f"hashes = {{ sha256 = {_text(file.sha256)} }}")
    return "{ " + ", ".join(parts) + " }"


def _kind(file: PageFile, package: PinnedPackage) -> DistributionKind:
    return parse_distribution(file.filename, package.project).kind


def _table(values: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{key} = {_text(value)}" for key, value in values.items()) + " }"


def _text(value: Any) -> str:
    """JSON's strings are TOML's."""
    return orjson.dumps(value).decode()
