"""The provenance that an upstream says its files have: fetched when a client asks, verified, kept, and re-served.

Invariants: nothing is put beside a file that did not verify here, and again by the signer; whoever attested the first
file that was met is remembered in the project's signed page; another publisher later is recorded as an event, and it is
the client's policy that decides. What failed is not fetched again at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from assay.fetch import Fetcher
from assay.formats.pages import PageFile, ProjectPage, file_url
from assay.index.announcements import Announcements
from assay.index.blobs import BlobStore
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import propose
from assay.index.provenance.attach import Attach
from assay.index.provenance.evidence import Evidence, ProjectSigners, Subject, describe
from assay.index.provenance.moments import page_moment
from assay.index.provenance.registry import Read
from assay.model.errors import NotFound, VerificationFailed
from assay.model.names import ProjectName
from assay.provenance.expected import is_same_project, verify_first_seen
from assay.provenance.integrity import MAX_PROVENANCE_BYTES, parse_provenance
from assay.provenance.publishers import parse_publisher
from assay.provenance.sigstore_trust import upstream_trust

ACTOR: Final = "upstream"
ATTESTED: Final = "upstream-attested"
REFUSED: Final = "upstream-provenance-refused"
CHANGED: Final = "upstream-publisher-changed"
ASK_AGAIN: Final = timedelta(minutes=10)


@dataclass
class UpstreamProvenance:
    """Brings in provenance. ``page_of``: the published page of a project; ``published``: any published file.

    ``root``: of the upstream's attestations, None for Sigstore's.
    """

    ledger: Ledger
    blobs: BlobStore
    fetcher: Fetcher
    announcements: Announcements
    clock: Callable[[], datetime]
    page_of: Callable[[ProjectName], ProjectPage | None]
    published: Read
    publish_timeout_s: float
    root: bytes | None = None
    _refused: dict[str, tuple[datetime, VerificationFailed]] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def fetch(self, project: ProjectName, version: str, filename: str) -> None:
        """See to it that the provenance of a file is published, if the upstream announces any.

        Raises NotFound where it does not, VerificationFailed where it does not verify, Unreachable.
        """
        if self._announced(project, version, filename) is None:
            raise NotFound("the upstream announces no provenance of this file", subject=filename)
        async with self._locks.setdefault(filename, asyncio.Lock()):
            entry = self._announced(project, version, filename)
            if entry is not None and entry.provenance is None and entry.upstream_provenance is not None:
                self._require_not_refused(filename)
                await self._bring(project, entry, entry.upstream_provenance)
        self._locks.pop(filename, None)

    def _announced(self, project: ProjectName, version: str, filename: str) -> PageFile | None:
        page = self.page_of(project)
        entry = page.file(filename) if page is not None else None
        if entry is None or entry.upstream_provenance is None or entry.url != file_url(project, version, filename):
            return None
        return entry

    async def _bring(self, project: ProjectName, entry: PageFile, url: str) -> None:
        data = await self.fetcher.get(url, max_bytes=MAX_PROVENANCE_BYTES)
        try:
            if data is None:
                raise VerificationFailed(
                    "the upstream does not serve the provenance that its page announces",
                    subject=entry.filename,
                    rule="provenance-missing",
                    found="status 404",
                )
            evidence = await asyncio.to_thread(self._verify, project, entry, data)
        except VerificationFailed as error:
            self._refused[entry.filename] = self.clock() + ASK_AGAIN, error
            await asyncio.to_thread(self._report, project, REFUSED, entry, rule=error.rule, reason=str(error)[:500])
            raise
        seq = await asyncio.to_thread(self._propose, project, entry, data, evidence)
        await self.announcements.wait(seq, self.publish_timeout_s)

    def _verify(self, project: ProjectName, entry: PageFile, data: bytes) -> Evidence:
        """As the signer will: by the publishers that somebody registered, else by whoever it is."""
        attestations, page = parse_provenance(data).attestations, self.page_of(project)
        if page is not None and page.signers.has_chosen_publisher:
            subject, came = Subject(entry.filename, entry.sha256, None), page_moment(page, self.clock())
            signers = ProjectSigners(project, page.signers, self.published)
            return signers.verify(subject, signature=None, attestations=attestations, came=came, now=came)
        verified = verify_first_seen(
            attestations, upstream_trust(self.root), filename=entry.filename, sha256=entry.sha256, now=self.clock()
        )
        return Evidence(attestations=verified)

    def _propose(self, project: ProjectName, entry: PageFile, data: bytes, evidence: Evidence) -> int:
        blob, now = self.blobs.store_bytes(data), self.clock()
        page = self.page_of(project)
        seen = [each for each in page.signers.publishers if each.first_seen] if page is not None else []
        strangers = seen and not any(
            is_same_project(attestation.publisher, parse_publisher(dict(each.members)))
            for attestation in evidence.attestations
            for each in seen
        )
        facts = {"filename": entry.filename, "sha256": blob, "publishers": list(evidence.attested_by)}
        with self.ledger.write() as connection:
            if strangers:
                known = [describe(each) for each in seen]
                accounts.record_event(connection, CHANGED, ACTOR, now, project, **facts, first_seen=known)
            else:
                accounts.record_event(connection, ATTESTED, ACTOR, now, project, **facts)
            return propose(connection, Attach(project, entry.filename, None, blob))

    def _report(self, project: ProjectName, kind: str, entry: PageFile, **facts: str) -> None:
        with self.ledger.write() as connection:
            accounts.record_event(connection, kind, ACTOR, self.clock(), project, filename=entry.filename, **facts)

    def _require_not_refused(self, filename: str) -> None:
        until, error = self._refused.get(filename, (None, None))
        if until is not None and error is not None and self.clock() < until:
            raise error
        self._refused.pop(filename, None)
