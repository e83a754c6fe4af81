"""Source distributions: one gzip member, one tar, one top folder, one PKG-INFO (PEP 625, PEP 643)."""

from typing import BinaryIO

from assay.formats.archive_paths import PathKind, shown
from assay.formats.limits import InspectionLimits
from assay.formats.tar import TarReader
from assay.model.distributions import parse_distribution
from assay.model.errors import InvalidDistribution, InvalidName


def parse_sdist_name(filename: str) -> str:
    """The top folder that ``filename`` promises.

    Raises InvalidName unless it is ``{name}-{version}.tar.gz`` with both parts normalised (PEP 625).
    """
    distribution = parse_distribution(filename)
    stem = f"{distribution.project.replace('-', '_')}-{distribution.version}"
    if filename != f"{stem}.tar.gz":
        raise InvalidName(
            "not the one legal filename of this sdist",
            rule="sdist-filename",
            subject=filename,
            expected=f"{stem}.tar.gz",
            next_step="build the sdist with a current build backend (PEP 625)",
        )
    return stem


def inspect_sdist(stream: BinaryIO, filename: str, limits: InspectionLimits) -> bytes:
    """Check the whole sdist in ``stream`` (seekable) and return its PKG-INFO, verbatim (not yet parsed).

    Raises InvalidName, InvalidDistribution naming the member and the rule, TooLarge.
    """
    top = parse_sdist_name(filename)
    metadata: bytes | None = None
    reader = TarReader(stream, limits)
    for member in reader.members():
        if member.name != top and not member.name.startswith(f"{top}/"):
            raise InvalidDistribution(
                "outside the top folder", rule="sdist-top-folder", subject=shown(member.name), expected=f"{top}/"
            )
        if member.name == top and member.kind is not PathKind.DIRECTORY:
            raise InvalidDistribution(
                "the top folder is no folder", rule="sdist-top-folder", subject=shown(member.name)
            )
        if member.name == f"{top}/PKG-INFO":
            if member.kind is not PathKind.FILE:
                raise InvalidDistribution("not a regular file", rule="sdist-pkg-info", subject=member.name)
            metadata = reader.content(limits.max_metadata_bytes)
    if metadata is None:
        raise InvalidDistribution("the sdist lacks it", rule="sdist-pkg-info", subject=f"{top}/PKG-INFO")
    return metadata
