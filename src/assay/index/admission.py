"""Admission of an upload, in one direction: digests, rights, signatures, the archive, the form, the blob, the ledger.

Nothing is stored under its name before every check has passed; the ledger's transaction decides the rights again, so
that what was checked is what is written. Returns when the proposal is durable; publishing is the signer's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from assay.formats.inspect import InspectedDistribution
from assay.formats.pages import PageFile, file_url, format_time
from assay.formats.upload_checks import check_form_matches, check_policy, dependencies_of
from assay.formats.upload_form import UploadForm
from assay.index.blobs import BlobStore
from assay.index.ledger import Ledger, accounts, publishers
from assay.index.ledger.publications import find_file, first_upload, propose
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.provenance.desk import Accompanied, EvidenceDesk
from assay.index.provenance.events import record_evidence
from assay.index.registration import Rules, decide_new_project, register, require_ours
from assay.index.release_files import find_disagreement, record_dependencies, require_project_room
from assay.index.web.services import ReceivedUpload
from assay.model.digests import Sha256
from assay.model.distributions import Distribution, DistributionKind
from assay.model.errors import AlreadyExists, InvalidUpload, TooMany
from assay.model.names import ProjectName
from assay.model.permissions import Principal, UploadRight, decide_upload
from assay.model.releases import require_open
from assay.model.statuses import require_accepting


@dataclass(frozen=True, slots=True)
class Admitted:
    """An upload that was admitted: the ``proposal`` to wait for, and what the uploader should know (``notes``)."""

    proposal: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """The desk where uploads are admitted. ``inspect``: archive, filename and user in, facts or a refusal out."""

    ledger: Ledger
    blobs: BlobStore
    inspect: Callable[[Path, str, str], InspectedDistribution]
    clock: Callable[[], datetime]
    evidence: EvidenceDesk
    rules: Rules = field(default_factory=Rules)

    def admit(self, upload: ReceivedUpload, principal: Principal) -> Admitted:
        """Admit ``upload`` and propose it.

        The identical file again is admitted again without effect, but for a signature or attestations that are new.
        Raises CallerError with the field or archive member and the rule, OperatorError when it cannot be stored.
        ``upload.path`` is moved or left; its owner removes it.
        """
        distribution = upload.form.distribution
        with self.ledger.read() as connection:
            self._decide(connection, principal, distribution.project, self.clock())
            if (known := _identical(connection, distribution, upload.digests.sha256)) is not None:
                return Admitted(self._admit_evidence(upload, principal, known))
            self._require_place(connection, upload, principal)
        accompanied = self._accompanied(upload, complete=True)
        inspected = self.inspect(upload.path, distribution.filename, principal.user)
        check_form_matches(declared_fields(upload.form), inspected)
        check_policy(inspected, self.rules.policy)
        sidecar = None
        if distribution.kind is DistributionKind.WHEEL:
            sidecar = self.blobs.store_bytes(inspected.metadata_bytes)
        self.blobs.store(upload.path, upload.digests.sha256)
        return self._record(upload, principal, inspected, sidecar, accompanied)

    def _require_place(self, connection: Connection, upload: ReceivedUpload, principal: Principal) -> None:
        """Raise unless the release is open, the project has room, and the user has not uploaded too much just now."""
        distribution, now = upload.form.distribution, self.clock()
        first = first_upload(connection, distribution.project, distribution.version)
        require_open(distribution.project, distribution.version, first, now, self.rules.close_after)
        require_project_room(connection, distribution.project, upload.size, self.rules.max_project_bytes)
        recent = accounts.count_events(connection, "file-uploaded", principal.user, now - timedelta(minutes=1))
        if recent >= self.rules.uploads_per_minute:
            raise TooMany(
                "too many uploads of this user",
                subject=principal.user,
                rule="rate",
                expected=f"at most {self.rules.uploads_per_minute} in 60 s",
                next_step="try again later",
            )

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
            self._decide(connection, principal, attach.project, now)
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
    ) -> Admitted:
        distribution, now = inspected.distribution, self.clock()
        project = distribution.project
        with self.ledger.write() as connection:
            if (known := _identical(connection, distribution, upload.digests.sha256)) is not None:
                return Admitted(known)
            right = self._decide(connection, principal, project, now)
            self._require_place(connection, upload, principal)
            if accounts.find_project(connection, project) is None:
                register(connection, principal, project, self.rules, now)
            entry = PageFile(
                filename=distribution.filename,
                url=file_url(project, distribution.version, distribution.filename),
                sha256=upload.digests.sha256,
                size=upload.size,
                upload_time=now,
                requires_python=inspected.metadata.requires_python,
                core_metadata=sidecar,
            )
            dependencies = dependencies_of(inspected)
            disagreement = find_disagreement(connection, distribution, dependencies)
            differs = {"dependencies_differ": disagreement.facts()} if disagreement is not None else {}
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
                **differs,
            )
            record_evidence(connection, principal.user, now, project, entry.filename, accompanied)
            file = ProposedFile(
                distribution,
                entry,
                vouching(right, now) | accompanied.custom | differs,
                accompanied.signature,
                accompanied.provenance,
            )
            proposal = propose(connection, PublishFiles(project, "upload", (file,), upload.form.claim))
            record_dependencies(connection, distribution, dependencies)
            return Admitted(proposal, (str(disagreement),) if disagreement is not None else ())

    def _decide(self, connection: Connection, principal: Principal, project: ProjectName, now: datetime) -> UploadRight:
        row = accounts.find_project(connection, project)
        if row is None:
            return decide_new_project(connection, principal, project, self.rules, now)
        require_ours(row)
        require_accepting(project, row.status)
        if principal.publisher is not None:
            return decide_upload(principal, project, publishers.find_right(connection, project, principal))
        return decide_upload(principal, project, accounts.find_grant(connection, project, principal.user))


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
