"""Admission of an upload, in one direction: digests, rights, signatures, the archive, the form, the blob, the ledger.

Nothing is stored under its name before every check has passed; the ledger's transaction decides the rights again, so
that what was checked is what is written. Returns when the proposal is durable; publishing is the signer's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from assay.formats.inspect import InspectedDistribution, InspectionLimits, inspect_distribution
from assay.formats.pages import PageFile, file_url, format_time
from assay.formats.upload_checks import check_form_matches
from assay.formats.upload_form import UploadForm
from assay.index.blobs import BlobStore
from assay.index.ledger import Ledger, accounts, publishers
from assay.index.ledger.publications import find_file, first_upload, propose
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.provenance.desk import Accompanied, EvidenceDesk
from assay.index.provenance.events import record_evidence
from assay.index.web.services import ReceivedUpload
from assay.model.digests import Sha256
from assay.model.distributions import Distribution, DistributionKind
from assay.model.errors import AlreadyExists, InvalidUpload, NotAllowed, TooMany
from assay.model.names import ProjectName, require_registrable
from assay.model.permissions import Principal, ProjectRole, UploadRight, decide_registration, decide_upload
from assay.model.releases import require_open
from assay.model.statuses import require_accepting


@dataclass(frozen=True, slots=True)
class Admission:
    """The desk where uploads are admitted. ``new_projects_per_day``: that one user may make by uploading."""

    ledger: Ledger
    blobs: BlobStore
    limits: InspectionLimits
    clock: Callable[[], datetime]
    evidence: EvidenceDesk
    new_projects_per_day: int = 500

    def admit(self, upload: ReceivedUpload, principal: Principal) -> int:
        """Admit ``upload`` and propose it; returns the proposal's number in the outbox, to wait for.

        The identical file again is admitted again without effect, but for a signature or attestations that are new.
        Raises CallerError with the field or archive member and the rule, OperatorError when it cannot be stored.
        ``upload.path`` is moved or left; its owner removes it.
        """
        distribution = upload.form.distribution
        with self.ledger.read() as connection:
            _decide(connection, principal, distribution.project, self.clock())
            if (known := _identical(connection, distribution, upload.digests.sha256)) is not None:
                return self._admit_evidence(upload, principal, known)
            first = first_upload(connection, distribution.project, distribution.version)
            require_open(distribution.project, distribution.version, first, self.clock())
        accompanied = self._accompanied(upload, complete=True)
        with upload.path.open("rb") as stream:
            inspected = inspect_distribution(stream, distribution.filename, self.limits)
        check_form_matches(declared_fields(upload.form), inspected)
        sidecar = None
        if distribution.kind is DistributionKind.WHEEL:
            sidecar = self.blobs.store_bytes(inspected.metadata_bytes)
        self.blobs.store(upload.path, upload.digests.sha256)
        return self._record(upload, principal, inspected, sidecar, accompanied)

    def _accompanied(self, upload: ReceivedUpload, *, complete: bool) -> Accompanied:
        """What came with the file, verified; ``complete``: nothing that the project demands may be missing."""
        form = upload.form
        return self.evidence.check(
            form.distribution,
            upload.digests.sha256,
            upload.path,
            signature=form.signature,
            attestations=form.attestations,
            now=self.clock(),
            complete=complete,
        )

    def _admit_evidence(self, upload: ReceivedUpload, principal: Principal, known: int) -> int:
        """Propose what came beside a file that is here already; ``known`` where nothing new did."""
        accompanied, now = self._accompanied(upload, complete=False), self.clock()
        attach = self.evidence.attach(upload.form.distribution, accompanied)
        if attach is None:
            return known
        with self.ledger.write() as connection:
            _decide(connection, principal, attach.project, now)
            accounts.record_use(connection, principal, now)
            record_evidence(connection, principal.user, now, attach.project, attach.filename, accompanied)
            return propose(connection, attach)

    def _record(
        self,
        upload: ReceivedUpload,
        principal: Principal,
        inspected: InspectedDistribution,
        sidecar: Sha256 | None,
        accompanied: Accompanied,
    ) -> int:
        distribution, now = inspected.distribution, self.clock()
        project = distribution.project
        with self.ledger.write() as connection:
            if (known := _identical(connection, distribution, upload.digests.sha256)) is not None:
                return known
            right = _decide(connection, principal, project, now)
            if accounts.find_project(connection, project) is None:
                self._require_rate(connection, principal, now)
                _create_project(connection, principal, project, now)
            entry = PageFile(
                filename=distribution.filename,
                url=file_url(project, distribution.version, distribution.filename),
                sha256=upload.digests.sha256,
                size=upload.size,
                upload_time=now,
                requires_python=inspected.metadata.requires_python,
                core_metadata=sidecar,
            )
            accounts.record_use(connection, principal, now)
            accounts.record_event(
                connection,
                "file-uploaded",
                principal.user,
                now,
                project,
                filename=entry.filename,
                sha256=entry.sha256,
                authenticated=principal.authenticated,
            )
            record_evidence(connection, principal.user, now, project, entry.filename, accompanied)
            file = ProposedFile(
                distribution,
                entry,
                vouching(right, now) | accompanied.custom,
                accompanied.signature,
                accompanied.provenance,
            )
            return propose(connection, PublishFiles(project, "upload", (file,), upload.form.claim))

    def _require_rate(self, connection: Connection, principal: Principal, now: datetime) -> None:
        made = accounts.count_created(connection, principal.user, now - timedelta(days=1))
        if made >= self.new_projects_per_day:
            raise TooMany(
                "this user made too many new projects",
                subject=principal.user,
                rule="new-project-rate",
                expected=f"at most {self.new_projects_per_day} a day",
                next_step="try again tomorrow, or ask an administrator to create the project",
            )


def declared_fields(form: UploadForm) -> dict[str, list[str]]:
    """The metadata that the form claims, each field with its values."""
    single = {name: [value] for name, value in form.metadata.single.items()}
    return single | {name: list(values) for name, values in form.metadata.repeated.items()}


def vouching(right: UploadRight, now: datetime) -> dict[str, Any]:
    """Who vouches for a file, for the ``custom`` of its target. ``publisher``: what a CI proved of itself."""
    said: dict[str, Any] = {
        "origin": "upload",
        "uploader": right.uploader,
        "role": right.role.value,
        "granted_by": right.granted_by,
        "granted_at": format_time(right.granted_at),
        "authenticated": right.authenticated,
        "uploaded_at": format_time(now),
    }
    return said | ({"publisher": dict(right.identity)} if right.identity is not None else {})


def _create_project(connection: Connection, principal: Principal, project: ProjectName, now: datetime) -> None:
    owner = principal.user
    if principal.publisher is not None:
        owner = publishers.claim_pending(connection, project, principal)
    accounts.create_project(connection, project, principal.user, now)
    accounts.grant_role(connection, project, owner, ProjectRole.OWNER, principal.user, now)


def _decide(connection: Connection, principal: Principal, project: ProjectName, now: datetime) -> UploadRight:
    row = accounts.find_project(connection, project)
    if row is None:
        require_registrable(project, accounts.confusable_with(connection, project))
        if principal.publisher is not None:
            return decide_upload(principal, project, publishers.find_right(connection, project, principal))
        return decide_registration(principal, project, now)
    if row.origin != "upload":
        raise NotAllowed(
            "this project is pulled through from the upstream; it cannot be uploaded here",
            subject=project,
            rule="upstream-project",
            next_step="choose another name, or reserve it as a private name before anybody installs it",
        )
    require_accepting(project, row.status)
    if principal.publisher is not None:
        return decide_upload(principal, project, publishers.find_right(connection, project, principal))
    return decide_upload(principal, project, accounts.find_grant(connection, project, principal.user))


def _identical(connection: Connection, distribution: Distribution, sha256: Sha256) -> int | None:
    """The proposal of the same file, if it was admitted before. Raises AlreadyExists when it was other bytes."""
    old = find_file(connection, distribution.project, distribution.filename)
    if old is None or old.state == "refused":
        return None
    if old.state == "removed":
        raise InvalidUpload(
            "this file was removed; a removed name never returns",
            subject=distribution.filename,
            rule="filename-removed",
            next_step="release a new version",
        )
    if old.sha256 != sha256:
        raise AlreadyExists(
            "this filename already exists with other bytes",
            subject=distribution.filename,
            expected=f"sha256 {old.sha256}",
            found=f"sha256 {sha256}",
            next_step="release a new version: one name has one hash, for ever",
        )
    return old.proposal
