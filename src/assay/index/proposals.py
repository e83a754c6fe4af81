"""What the signer is asked to publish, as it lies in the outbox: typed, and JSON on disk.

A proposal is a claim by a process that HTTP can reach. It says everything the page and the target will say, so that the
signer can check it against the bytes and against what it signed before.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, get_args

from assay.formats.pages import Origin, PageFile, Status, file_url, format_time
from assay.index.provenance.attach import ATTACH, Attach, decode_attach, decode_optional, encode_attach
from assay.index.provenance.changes import (
    SIGNER_CHANGE_KINDS,
    SignerChange,
    decode_signer_change,
    encode_signer_change,
)
from assay.model.digests import Sha256, parse_sha256
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AssayError, SignerRefused
from assay.model.names import ProjectName, parse_project_name


@dataclass(frozen=True, slots=True)
class ProposedFile:
    """A file to vouch for. ``custom`` goes into its target: who vouches, and on whose authority.

    ``signature``, ``provenance``: blobs of its ``.asc`` and its PEP 740 provenance object, None where there is none.
    """

    distribution: Distribution
    entry: PageFile
    custom: Mapping[str, Any] = field(default_factory=dict)
    signature: Sha256 | None = None
    provenance: Sha256 | None = None


@dataclass(frozen=True, slots=True)
class PublishFiles:
    """Add ``files`` to the project's page. ``origin`` must be the page's own; an empty page may be created.

    ``claim``: the next version of the role that the project's developers sign, as its file's text, which lists
    ``files``; alone it makes a first claim, renews one or changes its keys.
    """

    project: ProjectName
    origin: Origin
    files: tuple[ProposedFile, ...]
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class Yank:
    """Mark a file as yanked with ``reason``, or as not yanked any more (None). PEP 592."""

    project: ProjectName
    filename: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Remove:
    """Take a file away for good: its name never returns, not even with the same bytes (threat B6)."""

    project: ProjectName
    filename: str


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Give the project a status of PEP 792 with a ``reason`` for readers (None: none given)."""

    project: ProjectName
    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True)
class Entomb:
    """Remove the project with every file of it: its name is never given again (threat B7)."""

    project: ProjectName


StateChange = Yank | Remove | SetStatus | Entomb
SigningChange = Attach | SignerChange
Proposal = PublishFiles | StateChange | SigningChange

_CHANGES: Mapping[str, type[StateChange]] = {"yank": Yank, "remove": Remove, "status": SetStatus, "entomb": Entomb}
_KINDS = {change: kind for kind, change in _CHANGES.items()}


def encode_proposal(proposal: Proposal) -> dict[str, Any]:
    """``proposal`` as JSON for the outbox."""
    if isinstance(proposal, Attach):
        return encode_attach(proposal)
    if isinstance(proposal, SignerChange):
        return encode_signer_change(proposal)
    if not isinstance(proposal, PublishFiles):
        return {"kind": _KINDS[type(proposal)], **asdict(proposal)}
    document = {
        "kind": "files",
        "project": proposal.project,
        "origin": proposal.origin,
        "files": [_encode_file(file) for file in proposal.files],
    }
    return document if proposal.claim is None else {**document, "claim": proposal.claim}


def _encode_file(file: ProposedFile) -> dict[str, Any]:
    entry = file.entry
    return {
        "filename": entry.filename,
        "sha256": entry.sha256,
        "size": entry.size,
        "upload_time": format_time(entry.upload_time),
        "requires_python": entry.requires_python,
        "yanked": entry.yanked,
        "core_metadata": entry.core_metadata,
        "upstream_url": entry.upstream_url,
        "upstream_provenance": entry.upstream_provenance,
        "signature": file.signature,
        "provenance": file.provenance,
        "custom": dict(file.custom),
    }


def decode_proposal(document: Mapping[str, Any]) -> Proposal:
    """The inverse of ``encode_proposal``. Raises SignerRefused for a row that is none."""
    try:
        project = parse_project_name(document["project"])
        if document["kind"] in _CHANGES:
            return _decode_change(project, document)
        if document["kind"] == ATTACH:
            return decode_attach(project, document)
        if document["kind"] in SIGNER_CHANGE_KINDS:
            return decode_signer_change(project, document)
        if document["kind"] != "files" or document["origin"] not in ("upload", "upstream"):
            raise ValueError(f"unknown kind or origin: {document['kind']!r}")
        files = tuple(_decode_file(project, row) for row in document["files"])
        claim = document.get("claim")
        if not isinstance(claim, str | None):
            raise TypeError("the claim is not text")
        return PublishFiles(project, document["origin"], files, claim)
    except (KeyError, TypeError, ValueError, AssayError) as error:
        raise SignerRefused(
            "the outbox holds a row that Assay did not write",
            rule="outbox-row",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _decode_change(project: ProjectName, document: Mapping[str, Any]) -> StateChange:
    change = _CHANGES[document["kind"]]
    given = {name: document[name] for name in change.__dataclass_fields__ if name != "project"}
    for name, value in given.items():
        if not isinstance(value, str) and not (value is None and name == "reason"):
            raise TypeError(f"{name}: {value!r}")
    if "status" in given and given["status"] not in get_args(Status):
        raise ValueError(f"unknown status {given['status']!r}")
    return change(project, **given)


def _decode_file(project: ProjectName, row: Mapping[str, Any]) -> ProposedFile:
    distribution = parse_distribution(row["filename"], project)
    entry = PageFile(
        filename=distribution.filename,
        url=file_url(project, distribution.version, distribution.filename),
        sha256=parse_sha256(row["sha256"]),
        size=int(row["size"]),
        upload_time=datetime.fromisoformat(row["upload_time"]),
        requires_python=row["requires_python"],
        yanked=row["yanked"],
        core_metadata=parse_sha256(row["core_metadata"]) if row["core_metadata"] else None,
        upstream_url=row["upstream_url"],
        upstream_provenance=row.get("upstream_provenance"),
    )
    signature, provenance = decode_optional(row.get("signature")), decode_optional(row.get("provenance"))
    return ProposedFile(distribution, entry, row["custom"], signature, provenance)
