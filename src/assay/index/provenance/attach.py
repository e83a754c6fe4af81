"""A signature or provenance object for a published file, as a proposal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.model.digests import Sha256, parse_sha256
from assay.model.names import ProjectName

ATTACH = "attach"


@dataclass(frozen=True, slots=True)
class Attach:
    """Put the blobs ``signature`` and ``provenance`` (None: leave as it is) beside a published file."""

    project: ProjectName
    filename: str
    signature: Sha256 | None
    provenance: Sha256 | None


def encode_attach(attach: Attach) -> dict[str, Any]:
    """``attach`` as JSON for the outbox."""
    return {
        "kind": ATTACH,
        "project": attach.project,
        "filename": attach.filename,
        "signature": attach.signature,
        "provenance": attach.provenance,
    }


def decode_attach(project: ProjectName, row: Mapping[str, Any]) -> Attach:
    """The inverse of ``encode_attach``. Raises KeyError, TypeError, ValueError or CallerError for anything else."""
    filename = row["filename"]
    if not isinstance(filename, str):
        raise TypeError(f"not a filename: {filename!r}")
    return Attach(project, filename, decode_optional(row["signature"]), decode_optional(row["provenance"]))


def decode_optional(value: Any) -> Sha256 | None:
    """A digest or None."""
    return parse_sha256(value) if value is not None else None
