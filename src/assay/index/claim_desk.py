"""Where an owner claims a project or changes its keys: the desk decides who may, the signer judges the role."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from assay.formats.upload_form import UploadForm
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import propose
from assay.index.proposals import PublishFiles
from assay.index.published import PublishedStore
from assay.index.registration import Rules, register, require_ours
from assay.index.signer.claims import claimed_project
from assay.index.signer.state import PublishedState
from assay.model.errors import AssayError, NotAllowed
from assay.model.names import ProjectName
from assay.model.permissions import Principal, ProjectRole, decide_upload
from assay.trust.claim_search import find_claim
from assay.trust.claims import claim_role
from assay.trust.layout import metadata_path


@dataclass(frozen=True, slots=True)
class ClaimDesk:
    """Takes roles that are signed by developers, without files."""

    ledger: Ledger
    clock: Callable[[], datetime]
    rules: Rules = field(default_factory=Rules)

    def submit(self, project: ProjectName, role: str, principal: Principal) -> int:
        """Propose ``role``, the text of ``claim-<project>``; returns the proposal's number in the outbox.

        A project that nobody has is registered. Raises NotAllowed unless ``principal`` owns the project.
        """
        now = self.clock()
        if principal.publisher is not None:
            raise NotAllowed(
                "a person claims a project, not a run of a CI",
                subject=project,
                rule="claim-owner",
                next_step="use an API token of an owner; the CI publishes with: assay publish FILE...",
            )
        with self.ledger.write() as connection:
            row = accounts.find_project(connection, project)
            if row is None:
                register(connection, principal, project, self.rules, now)
            else:
                require_ours(row)
            right = decide_upload(principal, project, accounts.find_grant(connection, project, principal.user))
            if right.role is not ProjectRole.OWNER:
                raise NotAllowed(
                    "only an owner may claim a project or change who signs for it",
                    subject=project,
                    rule="claim-owner",
                    found=right.role.value,
                    next_step="ask an owner of the project; files are published with: assay publish FILE...",
                )
            accounts.record_use(connection, principal, now)
            how = principal.authenticated
            accounts.record_event(connection, "claim-signed", principal.user, now, project, authenticated=how)
            return propose(connection, PublishFiles(project, "upload", (), role))


@dataclass(frozen=True, slots=True)
class ClaimNotice:
    """Tells an uploader early what the signer would answer anyway: that a project takes signed files only."""

    published: PublishedStore
    clock: Callable[[], datetime]

    def require_role(self, form: UploadForm) -> None:
        """Raise NotAllowed for a plain upload to a claimed project; unsound metadata is left to the signer."""
        project = form.distribution.project
        if form.claim is not None or self.published.read(metadata_path(claim_role(project), 1)) is None:
            return
        try:
            state = PublishedState.read(self.published, self.clock())
            found = state.ask(find_claim(state.trusted, project))
        except AssayError:
            return
        if found is not None:
            raise claimed_project(project)
