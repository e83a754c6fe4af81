"""How a project comes to be by somebody's first upload or claim: which names, how many, and whose it is then."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from assay.formats.upload_checks import UploadPolicy
from assay.index.config import IndexConfig
from assay.index.ledger import accounts, publishers
from assay.model.errors import NotAllowed, TooMany
from assay.model.names import ProjectName, require_registrable
from assay.model.permissions import Principal, ProjectRole, UploadRight, decide_registration, decide_upload
from assay.model.releases import CLOSE_AFTER

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides about uploads.

    A user's are ``uploads_per_minute`` and ``new_projects_per_day``. ``prohibited``: globs of project names. A release
    takes files for ``close_after``.
    """

    policy: UploadPolicy = field(default_factory=UploadPolicy)
    prohibited: tuple[str, ...] = ()
    close_after: timedelta = CLOSE_AFTER
    max_project_bytes: int = 100_000_000_000
    uploads_per_minute: int = 6_000
    new_projects_per_day: int = 500

    @classmethod
    def of(cls, config: IndexConfig) -> "Rules":
        """The rules in ``config.toml``."""
        uploads, limits = config.uploads, config.limits
        return cls(
            uploads.policy,
            config.names.prohibited,
            uploads.close_after,
            limits.max_project_bytes,
            limits.uploads_per_minute,
            limits.new_projects_per_day,
        )


def decide_new_project(
    connection: Connection, principal: Principal, project: ProjectName, rules: Rules, now: datetime
) -> UploadRight:
    """May ``principal`` make ``project``, which does not exist, and upload to it? Raises NotAllowed, TooMany."""
    require_registrable(project, accounts.confusable_with(connection, project), rules.prohibited)
    if principal.publisher is not None:
        right = decide_upload(principal, project, publishers.find_right(connection, project, principal))
    else:
        right = decide_registration(principal, project, now)
    made = accounts.count_created(connection, principal.user, now - DAY)
    if made >= rules.new_projects_per_day:
        raise TooMany(
            "this user made too many new projects",
            subject=principal.user,
            rule="new-project-rate",
            expected=f"at most {rules.new_projects_per_day} a day",
            next_step="try again tomorrow, or ask an administrator to create the project",
        )
    return right


def register(connection: Connection, principal: Principal, project: ProjectName, rules: Rules, now: datetime) -> None:
    """Make ``project`` as ``decide_new_project`` allows; it is its maker's, or who waited for its publisher's."""
    decide_new_project(connection, principal, project, rules, now)
    owner = principal.user
    if principal.publisher is not None:
        owner = publishers.claim_pending(connection, project, principal)
    accounts.create_project(connection, project, principal.user, now)
    accounts.grant_role(connection, project, owner, ProjectRole.OWNER, principal.user, now)


def require_ours(row: accounts.ProjectRow) -> None:
    """Raise NotAllowed for a project that is pulled through from the upstream."""
    if row.origin != "upload":
        raise NotAllowed(
            "this project is the upstream's; it cannot be uploaded here",
            subject=row.name,
            rule="upstream-project",
            next_step="choose another name; an administrator can reserve it while nobody has installed it: "
            "assay project create NAME --private",
        )
