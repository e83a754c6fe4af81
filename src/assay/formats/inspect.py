"""The inspection of an upload: an archive and its filename in, the facts that the index signs out.

The artifact is the truth. What passes here has one reading: every installer finds the same members, the same metadata
and the same dependencies in it. Nothing is extracted; nothing is written; memory stays within the limits for any input.
"""

from dataclasses import dataclass
from typing import BinaryIO

from assay.formats.core_metadata import CoreMetadata, parse_core_metadata
from assay.formats.limits import InspectionLimits
from assay.formats.sdist import inspect_sdist
from assay.formats.wheel import inspect_wheel
from assay.model.distributions import Distribution, DistributionKind, parse_distribution
from assay.model.errors import InvalidDistribution
from assay.model.names import parse_project_name

__all__ = ["InspectedDistribution", "InspectionLimits", "inspect_distribution", "read_inspected"]

_DEFAULT_LIMITS = InspectionLimits()


@dataclass(frozen=True, slots=True)
class InspectedDistribution:
    """Evidence that an archive was inspected. ``metadata_bytes``: its METADATA or PKG-INFO, verbatim (PEP 658, 714)."""

    distribution: Distribution
    metadata_bytes: bytes
    metadata: CoreMetadata


def inspect_distribution(
    stream: BinaryIO, filename: str, limits: InspectionLimits = _DEFAULT_LIMITS
) -> InspectedDistribution:
    """Read the wheel or sdist in ``stream`` (seekable, positioned anywhere) and check every rule of docs/uploads.md.

    Raises InvalidName for the filename, InvalidDistribution naming the member or field and the rule, TooLarge for a
    bound. Time is one pass over the expanded content; memory is bounded by ``limits``.
    """
    distribution = parse_distribution(filename)
    inspect = inspect_wheel if distribution.kind is DistributionKind.WHEEL else inspect_sdist
    return read_inspected(distribution, inspect(stream, filename, limits))


def read_inspected(distribution: Distribution, metadata_bytes: bytes) -> InspectedDistribution:
    """The facts of an archive that was inspected, from its metadata, which must be of ``distribution``.

    Raises InvalidDistribution naming the field and the rule.
    """
    metadata = parse_core_metadata(metadata_bytes)
    if parse_project_name(metadata.name) != distribution.project:
        raise InvalidDistribution(
            "the metadata is for another project",
            rule="metadata-name",
            subject="metadata field name",
            expected=distribution.project,
            found=metadata.name,
        )
    if metadata.version != distribution.version:
        raise InvalidDistribution(
            "the metadata is for another version",
            rule="metadata-version",
            subject="metadata field version",
            expected=distribution.version,
            found=metadata.version,
        )
    return InspectedDistribution(distribution, metadata_bytes, metadata)
