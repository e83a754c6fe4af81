"""Pull-through: fetch an upstream's page when it is asked for, propose what is new, fetch bytes on demand.

First seen wins for ever: a filename whose hash changes upstream is recorded as an event and kept as it was. A file that
vanishes upstream stays, marked as yanked. Private names and projects of our own never go upstream.
"""

import asyncio
import fnmatch
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex

from assay.fetch import NOT_FOUND, NOT_MODIFIED, Fetcher
from assay.formats.pages import MAX_PAGE_BYTES, PageFile, ProjectPage, format_time
from assay.index.announcements import Announcements
from assay.index.blobs import BlobStore
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import FileRow, files_of, find_file, pending_of, propose
from assay.index.proposals import ProposedFile, PublishFiles, Yank
from assay.index.upstream.listing import UpstreamPage, parse_upstream_page
from assay.index.upstream.provenance import UpstreamProvenance
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import NotFound, Unreachable, UpstreamChanged, UpstreamError
from assay.model.names import POLICY_PROJECT, ProjectName
from assay.model.statuses import QUARANTINED
from assay.model.statuses import REMOVED as REMOVED_PROJECT

ACTOR = "upstream"
REMOVED = "removed upstream"
SIDECAR_SUFFIX = ".metadata"
ACCEPT = "application/vnd.pypi.simple.v1+json"
MAX_SIDECAR_BYTES = 16_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PullSettings:
    """``url`` ends with a slash; ``private`` are globs of names that never go upstream; times in seconds.

    ``trust_root``: of the upstream's attestations, None for Sigstore's.
    """

    url: str
    private: Sequence[str]
    max_age_s: float
    publish_timeout_s: float
    trust_root: bytes | None = None


class PullThrough:
    """Brings projects and files of the upstream into the index."""

    def __init__(
        self,
        settings: PullSettings,
        ledger: Ledger,
        blobs: BlobStore,
        incoming: Path,
        fetcher: Fetcher,
        announcements: Announcements,
        clock: Callable[[], datetime],
        page_of: Callable[[ProjectName], ProjectPage | None],
        published: Callable[[str], bytes | None],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._blobs = blobs
        self._incoming = incoming
        self._fetcher = fetcher
        self._announcements = announcements
        self._clock = clock
        self._page_of = page_of
        self._provenance = UpstreamProvenance(
            ledger,
            blobs,
            fetcher,
            announcements,
            clock,
            page_of,
            published,
            settings.publish_timeout_s,
            settings.trust_root,
        )
        self._fresh_until: dict[ProjectName, datetime] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._verifies = can_verify_attestations()
        if not self._verifies:
            log.warning("attestations of the upstream are not verified here: pip install 'assay[provenance]'")

    # --- pages ------------------------------------------------------------------------------------------------

    def is_fresh(self, project: ProjectName) -> bool:
        """Whether ``fetch_page`` would ask nobody now."""
        until = self._fresh_until.get(project)
        return until is not None and until > self._clock()

    async def fetch_page(self, project: ProjectName) -> None:
        """Bring the published page of ``project`` up to date with the upstream, if it is one of the upstream's.

        Raises Unreachable or UpstreamError where nothing of it is published; else what is published stays, and a
        warning is logged.
        """
        if self.is_fresh(project):
            return
        async with self._locks.setdefault(project, asyncio.Lock()):
            if self.is_fresh(project):
                return
            row = await asyncio.to_thread(self._project, project)
            if self.is_ours(project, row):
                return
            try:
                await self._pull(project, row)
            except (Unreachable, UpstreamError) as error:
                if row is None:
                    raise
                log.warning("%s: %s; what is published stays", project, error)
            self._fresh_until[project] = self._clock() + timedelta(seconds=self._settings.max_age_s)

    def is_ours(self, project: ProjectName, row: accounts.ProjectRow | None) -> bool:
        """Whether the name may not go upstream: ours, private, quarantined or removed here."""
        if project == POLICY_PROJECT or any(fnmatch.fnmatchcase(project, glob) for glob in self._settings.private):
            return True
        if row is None:
            return False
        return row.private or row.origin != ACTOR or row.status in (QUARANTINED, REMOVED_PROJECT)

    def _shown(self, entry: PageFile) -> PageFile:
        """The entry, without the provenance that this index could not verify for want of the libraries."""
        return entry if self._verifies else replace(entry, upstream_provenance=None)

    def _project(self, project: ProjectName) -> accounts.ProjectRow | None:
        with self._ledger.read() as connection:
            return accounts.find_project(connection, project)

    async def _pull(self, project: ProjectName, row: accounts.ProjectRow | None) -> None:
        url = f"{self._settings.url}{project}/"
        headers = {"Accept": ACCEPT} | ({"If-None-Match": row.upstream_etag} if row and row.upstream_etag else {})
        reply = await self._fetcher.ask(url, max_bytes=MAX_PAGE_BYTES, headers=headers)
        if reply.status == NOT_FOUND:
            return
        if reply.status != NOT_MODIFIED:
            page = await asyncio.to_thread(parse_upstream_page, reply.body, project, reply.url, self._clock())
            for name in page.left_out:
                log.info("left out of %s: %s", project, name)
            await asyncio.to_thread(self._record, project, page, reply.etag)
        for seq in await asyncio.to_thread(self._pending, project):
            await self._announcements.wait(seq, self._settings.publish_timeout_s)

    def _pending(self, project: ProjectName) -> list[int]:
        """What to wait for, also where an earlier request proposed it and gave up waiting."""
        with self._ledger.read() as connection:
            return pending_of(connection, project)

    def _record(self, project: ProjectName, page: UpstreamPage, etag: str | None) -> None:
        """Propose what is new, in one transaction."""
        now = self._clock()
        published = self._page_of(project)
        with self._ledger.write() as connection:
            row = accounts.find_project(connection, project)
            if row is None:
                accounts.create_project(connection, project, ACTOR, now, origin=ACTOR)
            elif self.is_ours(project, row):
                return
            known = {file.filename: file for file in files_of(connection, project)}
            for name, found in _changed(known, page).items():
                log.warning("%s: the upstream shows other bytes than it did first; kept the first", name)
                facts = {"filename": name, "first_seen": known[name].sha256, "found": found}
                accounts.record_event(connection, "upstream-changed", ACTOR, now, project, **facts)
            custom = {"origin": ACTOR, "first_seen": format_time(now)}
            new = [
                ProposedFile(file.distribution, self._shown(file.entry), custom)
                for file in page.files
                if file.entry.filename not in known
            ]
            proposals: list[PublishFiles | Yank] = (
                [PublishFiles(project, "upstream", tuple(new))] if new or not row else []
            )
            proposals += _yanks(published, page) if published else []
            accounts.record_upstream_check(connection, project, etag, now)
            for proposal in proposals:
                propose(connection, proposal)

    # --- files ------------------------------------------------------------------------------------------------

    async def fetch_provenance(self, project: ProjectName, version: str, filename: str) -> None:
        """Bring the provenance that the upstream announces for a file. Raises as ``UpstreamProvenance.fetch``."""
        await self._provenance.fetch(project, version, filename)

    async def fetch_file(self, project: ProjectName, version: str, filename: str) -> None:
        """Bring the bytes of a recorded file, or with ``.metadata`` appended of its METADATA, into the blob store.

        Raises NotFound for a file that was never recorded, UpstreamChanged when the upstream's bytes are not those of
        the recorded hash.
        """
        sidecar = filename.endswith(SIDECAR_SUFFIX)
        row = await asyncio.to_thread(self._file, project, filename.removesuffix(SIDECAR_SUFFIX))
        wanted = row.core_metadata if sidecar else row.sha256
        if row.version != version or row.upstream_url is None or wanted is None:
            raise NotFound("no such file", subject=filename)
        async with self._locks.setdefault(wanted, asyncio.Lock()):
            if self._blobs.path(wanted).exists():
                return
            found = await (self._fetch_sidecar(row) if sidecar else self._fetch_blob(row))
        self._locks.pop(wanted, None)
        if found != wanted:
            await asyncio.to_thread(self._report, row, sidecar, found)

    def _file(self, project: ProjectName, filename: str) -> FileRow:
        with self._ledger.read() as connection:
            row = find_file(connection, project, filename)
        if row is None:
            raise NotFound("no such file", subject=filename)
        return row

    async def _fetch_blob(self, row: FileRow) -> Sha256 | None:
        part = self._incoming / f"upstream-{token_hex(8)}"
        try:
            found = await self._fetcher.download(row.upstream_url or "", part, length=row.size)
            if found == row.sha256:
                await asyncio.to_thread(self._blobs.store, part, row.sha256)
            return found
        finally:
            with suppress(FileNotFoundError):
                part.unlink()

    async def _fetch_sidecar(self, row: FileRow) -> Sha256 | None:
        data = await self._fetcher.get(f"{row.upstream_url}.metadata", max_bytes=MAX_SIDECAR_BYTES)
        if data is not None and sha256_of(data) == row.core_metadata:
            await asyncio.to_thread(self._blobs.store_bytes, data)
        return sha256_of(data) if data is not None else None

    def _report(self, row: FileRow, sidecar: bool, found: Sha256 | None) -> None:
        wanted = row.core_metadata if sidecar else row.sha256
        facts = {"filename": row.filename, "sidecar": sidecar, "first_seen": wanted, "found": found}
        with self._ledger.write() as connection:
            accounts.record_event(connection, "upstream-changed", ACTOR, self._clock(), row.project, **facts)
        raise UpstreamChanged(
            "the upstream serves other bytes than it showed first"
            if found
            else "the upstream no longer serves this file",
            subject=f"{row.filename}.metadata" if sidecar else row.filename,
            expected=f"sha256 {wanted}",
            found=f"sha256 {found}" if found else "status 404",
            next_step="the first-seen hash is kept; ask the project whether the file was replaced",
        )


def can_verify_attestations() -> bool:
    """Whether the libraries are installed that verify attestations."""
    return find_spec("sigstore") is not None


def _changed(known: dict[str, FileRow], page: UpstreamPage) -> dict[str, Sha256]:
    return {
        file.entry.filename: file.entry.sha256
        for file in page.files
        if file.entry.filename in known and known[file.entry.filename].sha256 != file.entry.sha256
    }


def _yanks(published: ProjectPage, page: UpstreamPage) -> list[Yank]:
    """What changed in yanking; a file that vanished upstream counts as yanked."""
    shown = {file.entry.filename: file.entry.yanked for file in page.files}
    wanted = {file.filename: shown.get(file.filename, file.yanked or REMOVED) for file in published.files}
    changed = (file for file in published.files if wanted[file.filename] != file.yanked)
    return [Yank(published.project, file.filename, wanted[file.filename]) for file in changed]
