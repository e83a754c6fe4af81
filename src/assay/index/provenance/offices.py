"""What the operator does about a project's signers: look, change, and be told at once what would be refused."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from assay.formats.pages import parse_page_json
from assay.index.ledger import accounts
from assay.index.provenance.approvals import Approvals
from assay.index.provenance.changes import SignerChange
from assay.index.provenance.events import propose_change
from assay.index.provenance.registry import certificate_name, change_signers, read_pinned
from assay.index.published import PublishedStore
from assay.model.errors import NotFound
from assay.model.names import ProjectName
from assay.model.signers import NO_SIGNERS, RegisteredCertificate, Signers
from assay.provenance.openpgp import Certificate, parse_certificate
from assay.trust.layout import page_target


@dataclass(frozen=True, slots=True)
class SignersOffice:
    """The signers of projects, as published; changes go through the ledger to the signer."""

    published: PublishedStore
    approvals: Approvals

    def signers(self, project: ProjectName) -> Signers:
        """Everybody who ever was expected to sign for ``project``."""
        data = self.published.read(page_target(project))
        return parse_page_json(data).signers if data is not None else NO_SIGNERS

    def certificate(self, project: ProjectName, entry: RegisteredCertificate) -> Certificate:
        """The certificate that ``entry`` pins."""
        return parse_certificate(
            read_pinned(certificate_name(project, entry.sha256), entry.sha256, self.published.read)
        )

    def propose(self, connection: Connection, change: SignerChange, actor: str, now: datetime) -> int:
        """Propose ``change``; returns the proposal's number. Raises what the signer would refuse it with, NotFound."""
        if accounts.find_project(connection, change.project) is None:
            raise NotFound("no such project", subject=change.project, next_step="create it: assay project create NAME")
        change_signers(self.signers(change.project), change, self.published.read, now)
        self.approvals.give(change)
        return propose_change(connection, change, actor, now)
