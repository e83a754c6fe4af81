"""Distributions: a file of one release of one project, known by its filename (PEP 427, PEP 625)."""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from assay.model.errors import InvalidName
from assay.model.names import ProjectName, parse_project_name

MAX_FILENAME_BYTES = 255
_SAFE = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._+!-]*\Z")
SDIST_SUFFIXES = (".tar.gz", ".zip")


class DistributionKind(Enum):
    """``filetype`` of the upload API."""

    WHEEL = "bdist_wheel"
    SDIST = "sdist"


REMEMBERED: Final = 16_384
"""Filenames whose reading is remembered: a page's are read again whenever a file is added."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a filename says. ``version`` is in canonical form (PEP 440), ``filename`` as it was given."""

    project: ProjectName
    version: str
    filename: str
    kind: DistributionKind


@lru_cache(maxsize=REMEMBERED)
def parse_distribution(filename: str, project: ProjectName | None = None) -> Distribution:
    """Read a wheel's or sdist's filename.

    With ``project`` given, an old-style sdist name whose project part contains dashes is read as installers read it
    (the prefix that normalises to ``project``). Raises InvalidName for every other kind of file, separators, control
    characters, or a filename of another project.
    """
    if len(filename) > MAX_FILENAME_BYTES or not _SAFE.match(filename):
        raise InvalidName("not a safe filename", subject=repr(filename[:MAX_FILENAME_BYTES]))
    try:
        found = _parse_wheel(filename) if filename.endswith(".whl") else _parse_sdist(filename, project)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion) as error:
        raise InvalidName(str(error), subject=filename) from error
    if project is not None and found.project != project:
        raise InvalidName("the filename names another project", subject=filename, expected=project, found=found.project)
    return found


def _parse_wheel(filename: str) -> Distribution:
    name, version, _build, _tags = parse_wheel_filename(filename)
    return Distribution(parse_project_name(name), str(version), filename, DistributionKind.WHEEL)


def _parse_sdist(filename: str, project: ProjectName | None) -> Distribution:
    for suffix in SDIST_SUFFIXES:
        if filename.endswith(suffix):
            stem = filename.removesuffix(suffix)
            break
    else:
        raise InvalidSdistFilename(f"neither a wheel nor a source distribution: {filename!r}")
    name, version = _split_for(stem, project) if project else stem.rpartition("-")[::2]
    if not name:
        raise InvalidSdistFilename(f"no version in {filename!r}")
    return Distribution(parse_project_name(name), str(Version(version)), filename, DistributionKind.SDIST)


def _split_for(stem: str, project: ProjectName) -> tuple[str, str]:
    """The split at a dash whose left side normalises to ``project`` (as pip's candidate finder does)."""
    for index, char in enumerate(stem):
        if char == "-" and re.sub(r"[-_.]+", "-", stem[:index]).lower() == project:
            return stem[:index], stem[index + 1 :]
    return "", ""
