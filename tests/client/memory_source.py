"""An index in memory: a second implementation of ``VerifiedSource``, with files that fail as real ones would."""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assay.client.trusted_index import VerifiedFile, VerifiedPage
from assay.formats.pages import PageFile, ProjectPage, file_url, render_page_json
from assay.model.digests import sha256_of
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AssayError, NotFound
from assay.model.names import ProjectName, parse_project_name
from assay.trust.layout import TargetPath

OWN_URL = "http://trusted.example:8421/"
UPSTREAM_SIMPLE = "https://upstream.example/simple"
UPSTREAM_FILES = "https://files.example/packages/ab/cd/"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime.now(UTC)


@dataclass
class MemorySource:
    """``folder`` holds the files. ``failures``: what is raised for a filename, ``<filename>.metadata`` or project."""

    folder: Path
    url: str = OWN_URL
    failures: dict[str, AssayError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refreshed: int = 0
    withdrawn: list[TargetPath] = field(default_factory=list)
    _pages: dict[ProjectName, ProjectPage] = field(default_factory=dict)
    _sidecars: dict[str, bytes] = field(default_factory=dict)

    def add(
        self,
        filename: str,
        data: bytes,
        *,
        metadata: bytes | None = None,
        age: timedelta | None = None,
        from_upstream: bool = True,
    ) -> PageFile:
        """Publish a file; ``metadata`` is its sidecar."""
        found = parse_distribution(filename)
        entry = PageFile(
            filename=filename,
            url=file_url(found.project, found.version, filename),
            sha256=sha256_of(data),
            size=len(data),
            upload_time=NOW - age if age is not None else LONG_AGO,
            core_metadata=sha256_of(metadata) if metadata is not None else None,
            upstream_url=UPSTREAM_FILES + filename if from_upstream else None,
        )
        page = self._pages.get(found.project) or ProjectPage(found.project, "upstream", ())
        self._pages[found.project] = page.with_files((entry,))
        (self.folder / filename).write_bytes(data)
        if metadata is not None:
            self._sidecars[filename] = metadata
        return entry

    def add_sparse(self, filename: str, size: int) -> None:
        """Publish a file of ``size`` zero bytes that takes no room on disk."""
        entry = self.add(filename, b"")
        page = self._pages[parse_distribution(filename).project]
        self._pages[page.project] = page.with_files((replace(entry, size=size),))
        os.truncate(self.folder / filename, size)

    async def refresh(self) -> None:
        self._fail("refresh")
        self.refreshed += 1

    async def taken_down(self) -> list[TargetPath]:
        return self.withdrawn

    async def page(self, project: ProjectName) -> VerifiedPage | None:
        self._fail(project)
        page = self._pages.get(project)
        return VerifiedPage(page, render_page_json(page)) if page is not None else None

    async def file(self, distribution: Distribution) -> VerifiedFile:
        self._fail(distribution.filename)
        page = self._pages.get(parse_project_name(distribution.project))
        entry = page.file(distribution.filename) if page else None
        if entry is None:
            raise NotFound("the index has no such file", subject=distribution.filename)
        return VerifiedFile(self.folder / entry.filename, entry.size, entry.sha256, entry.filename, {})

    async def sidecar(self, distribution: Distribution) -> bytes:
        self._fail(f"{distribution.filename}.metadata")
        if distribution.filename not in self._sidecars:
            raise NotFound("this file has no metadata sidecar", subject=distribution.filename)
        return self._sidecars[distribution.filename]

    def _fail(self, name: str) -> None:
        self.asked.append(name)
        if name in self.failures:
            raise self.failures[name]
