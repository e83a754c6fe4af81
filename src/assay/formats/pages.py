"""A project's page: the types, and the one function that writes the page's bytes (PEP 691, 700, 714, 592).

``render_page_json`` is canonical: equal pages are equal bytes, so a page's hash can be signed. Keys that begin with
an underscore are Assay's own (PEP 691 reserves them for the server).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import orjson
from packaging.version import Version

from assay.formats.moments import format_time as format_time
from assay.formats.page_signers import parse_attached, parse_signers, render_attached, render_signers
from assay.model.digests import Sha256, parse_sha256
from assay.model.distributions import parse_distribution
from assay.model.errors import AssayError, VerificationFailed
from assay.model.names import ProjectName, parse_project_name
from assay.model.releases import release_of
from assay.model.signers import NO_SIGNERS, Attached, Signers

API_VERSION: Final = "1.4"
MAX_PAGE_BYTES: Final = 32_000_000

Origin = Literal["upload", "upstream"]
Status = Literal["active", "archived", "quarantined", "deprecated"]


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of a page. ``url`` is relative to the page; ``size`` in bytes; ``upload_time`` in UTC.

    ``yanked``: None, or the reason (may be empty). ``core_metadata``: hash of the METADATA sidecar, None where there is
    none. ``upstream_url``: where the upstream serves the file, for projects that are pulled through.
    ``signature``, ``provenance``: the ``.asc`` and the PEP 740 provenance object at the file's URL + ``.asc`` and
    ``.provenance``. ``upstream_provenance``: where the upstream says the file's provenance is; nothing is known of it.
    ``log_index``: the log entry that published the file, where its target cannot name it: its developers signed first.
    """

    filename: str
    url: str
    sha256: Sha256
    size: int
    upload_time: datetime
    requires_python: str | None = None
    yanked: str | None = None
    core_metadata: Sha256 | None = None
    upstream_url: str | None = None
    signature: Attached | None = None
    provenance: Attached | None = None
    upstream_provenance: str | None = None
    log_index: int | None = None

    def yank(self, reason: str | None) -> "PageFile":
        """This entry yanked with ``reason``, or not yanked (None). PEP 592."""
        return replace(self, yanked=reason)


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """A file that was removed for good: what its name stood for, so that it never stands for anything else."""

    filename: str
    sha256: Sha256
    upload_time: datetime
    removed: datetime


@dataclass(frozen=True, slots=True)
class ProjectPage:
    """A whole page. ``files`` are ordered by version, then filename; filenames are unique, ``removed`` ones too.

    ``withheld``: what ``files`` held before the project was quarantined; a quarantined page offers no file (PEP 792).
    ``tombstone``: the project was removed; its page says so for ever and takes no file again. ``signers``: who is
    expected to sign the files.
    """

    project: ProjectName
    origin: Origin
    files: tuple[PageFile, ...]
    status: Status = "active"
    status_reason: str | None = None
    withheld: tuple[PageFile, ...] = ()
    removed: tuple[RemovedFile, ...] = ()
    tombstone: bool = False
    signers: Signers = NO_SIGNERS

    def file(self, filename: str) -> PageFile | None:
        """The entry of ``filename``, or None."""
        return next((file for file in self.files if file.filename == filename), None)

    def known_hash(self, filename: str) -> Sha256 | None:
        """What ``filename`` stands for, or stood for before it was removed; None for a name that is free."""
        known: tuple[PageFile | RemovedFile, ...] = (*self.files, *self.withheld, *self.removed)
        return next((file.sha256 for file in known if file.filename == filename), None)

    def first_upload(self, version: str) -> datetime | None:
        """When the first file of ``version``'s release was uploaded, be it removed since; None where it had none."""
        known: tuple[PageFile | RemovedFile, ...] = (*self.files, *self.withheld, *self.removed)
        release = release_of(version)
        times = [file.upload_time for file in known if release_of(version_of(self.project, file)) == release]
        return min(times, default=None)

    def with_files(self, files: tuple[PageFile, ...]) -> "ProjectPage":
        """This page with ``files`` added, each in the place of an entry with the same filename."""
        merged = {file.filename: file for file in (*self.files, *files)}
        return replace(self, files=sort_files(self.project, tuple(merged.values())))

    def without_file(self, filename: str) -> "ProjectPage":
        """This page without ``filename``."""
        return replace(self, files=tuple(file for file in self.files if file.filename != filename))


def sort_files(project: ProjectName, files: tuple[PageFile, ...]) -> tuple[PageFile, ...]:
    """``files`` in page order: by version (PEP 440), then filename."""
    return tuple(sorted(files, key=lambda file: (Version(version_of(project, file)), file.filename)))


def version_of(project: ProjectName, file: PageFile | RemovedFile) -> str:
    """The version that ``file``'s name says, in canonical form."""
    return parse_distribution(file.filename, project).version


def versions_of(page: ProjectPage) -> list[str]:
    """The page's versions, oldest first, each once (PEP 700)."""
    return list(dict.fromkeys(version_of(page.project, file) for file in page.files))


def file_url(project: ProjectName, version: str, filename: str) -> str:
    """A file's URL relative to its project's page."""
    return f"../../packages/{project}/{version}/{filename}"


def signature_url(file: PageFile) -> str:
    """Where the ``.asc`` of ``file`` is (PEP 503), relative as the file's own URL."""
    return f"{file.url}.asc"


def provenance_url(file: PageFile) -> str:
    """Where the provenance object of ``file`` is (PEP 740), relative as the file's own URL."""
    return f"{file.url}.provenance"


def render_page_json(page: ProjectPage) -> bytes:
    """The page's canonical bytes: PEP 691 JSON with sorted keys."""
    own: dict[str, Any] = {"origin": page.origin, **render_signers(page.signers)}
    if page.withheld:
        own["withheld"] = [_render_file(file) for file in page.withheld]
    if page.removed:
        own["removed"] = [_render_removed(file) for file in page.removed]
    if page.tombstone:
        own["tombstone"] = True
    meta: dict[str, Any] = {"api-version": API_VERSION, "_assay": own}
    document: dict[str, Any] = {
        "meta": meta,
        "name": page.project,
        "versions": versions_of(page),
        "files": [_render_file(file) for file in page.files],
    }
    if page.status != "active":
        document["project-status"] = {"status": page.status} | (
            {"reason": page.status_reason} if page.status_reason else {}
        )
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _render_file(file: PageFile) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "filename": file.filename,
        "url": file.url,
        "hashes": {"sha256": file.sha256},
        "size": file.size,
        "upload-time": format_time(file.upload_time),
        "yanked": (file.yanked or True) if file.yanked is not None else False,
        "core-metadata": {"sha256": file.core_metadata} if file.core_metadata else False,
    }
    if file.requires_python is not None:
        entry["requires-python"] = file.requires_python
    if file.upstream_url is not None:
        entry["_upstream-url"] = file.upstream_url
    if file.signature is not None:
        entry["gpg-sig"] = True
        entry["_signature"] = render_attached(file.signature)
    if file.provenance is not None:
        entry["provenance"] = provenance_url(file)
        entry["_provenance"] = render_attached(file.provenance)
    if file.upstream_provenance is not None:
        entry["_upstream-provenance"] = file.upstream_provenance
    if file.log_index is not None:
        entry["_log-index"] = file.log_index
    return entry


def _render_removed(file: RemovedFile) -> dict[str, Any]:
    return {
        "filename": file.filename,
        "sha256": file.sha256,
        "upload-time": format_time(file.upload_time),
        "removed": format_time(file.removed),
    }


def parse_page_json(data: bytes) -> ProjectPage:
    """Read bytes that ``render_page_json`` wrote. Raises VerificationFailed for anything else."""
    try:
        document = orjson.loads(data)
        project = parse_project_name(document["name"])
        status = document.get("project-status", {})
        own = document["meta"]["_assay"]
        return ProjectPage(
            project=project,
            origin=own["origin"],
            files=tuple(_parse_file(entry) for entry in document["files"]),
            status=status.get("status", "active"),
            status_reason=status.get("reason"),
            withheld=tuple(_parse_file(entry) for entry in own.get("withheld", ())),
            removed=tuple(_parse_removed(entry) for entry in own.get("removed", ())),
            tombstone=own.get("tombstone", False),
            signers=parse_signers(own),
        )
    except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        raise VerificationFailed(
            "this page was not written by an Assay index",
            rule="page-format",
            found=f"{type(error).__name__}: {error}",
        ) from error


def _parse_removed(entry: dict[str, Any]) -> RemovedFile:
    return RemovedFile(
        filename=entry["filename"],
        sha256=parse_sha256(entry["sha256"]),
        upload_time=datetime.fromisoformat(entry["upload-time"]),
        removed=datetime.fromisoformat(entry["removed"]),
    )


def _parse_file(entry: dict[str, Any]) -> PageFile:
    yanked = entry["yanked"]
    sidecar = entry["core-metadata"]
    return PageFile(
        filename=entry["filename"],
        url=entry["url"],
        sha256=parse_sha256(entry["hashes"]["sha256"]),
        size=int(entry["size"]),
        upload_time=datetime.fromisoformat(entry["upload-time"]),
        requires_python=entry.get("requires-python"),
        yanked=None if yanked is False else "" if yanked is True else str(yanked),
        core_metadata=parse_sha256(sidecar["sha256"]) if sidecar else None,
        upstream_url=entry.get("_upstream-url"),
        signature=parse_attached(entry["_signature"]) if "_signature" in entry else None,
        provenance=parse_attached(entry["_provenance"]) if "_provenance" in entry else None,
        upstream_provenance=entry.get("_upstream-provenance"),
        log_index=entry.get("_log-index"),
    )
