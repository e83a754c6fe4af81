"""Who may do what: roles on projects, scopes of tokens, and the one decision about an upload. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from assay.model.errors import NotAllowed
from assay.model.names import POLICY_PROJECT, ProjectName


class Action(Enum):
    """What a token may be used for."""

    UPLOAD = "upload"
    READ = "read"
    ADMIN = "admin"


class ProjectRole(Enum):
    """What somebody is to a project. All may upload; an owner may also grant.

    A publisher is no user but a run of somebody's CI that proved who it is (trusted publishing).
    """

    OWNER = "owner"
    MAINTAINER = "maintainer"
    PUBLISHER = "publisher"


USER_ROLES = (ProjectRole.OWNER, ProjectRole.MAINTAINER)


@dataclass(frozen=True, slots=True)
class Scope:
    """The limits of a token: its actions, and its projects (None: every project of its user)."""

    actions: frozenset[Action]
    projects: frozenset[ProjectName] | None = None

    def allows(self, action: Action, project: ProjectName | None = None) -> bool:
        """Whether ``action`` on ``project`` (None: on no project in particular) lies within this scope."""
        if action not in self.actions:
            return False
        return self.projects is None or (project is not None and project in self.projects)


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who proved who they are. ``authenticated`` says how, without a secret: ``token:<id>``.

    ``publisher``: the number of a trusted publisher, who is no user; ``identity``: what its identity token said.
    """

    user: str
    authenticated: str
    scope: Scope
    publisher: int | None = None
    identity: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that somebody gave to a user on a project, in force."""

    project: ProjectName
    user: str
    role: ProjectRole
    granted_by: str
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class UploadRight:
    """Evidence that an upload is permitted, and on whose authority. Only the ``decide_...`` functions make one."""

    project: ProjectName
    uploader: str
    role: ProjectRole
    granted_by: str
    granted_at: datetime
    authenticated: str
    identity: Mapping[str, str] | None = None


def decide_upload(principal: Principal, project: ProjectName, grant: Grant | None) -> UploadRight:
    """May ``principal`` upload to the existing ``project``, on which they have ``grant``? Raises NotAllowed."""
    if not principal.scope.allows(Action.UPLOAD, project):
        raise NotAllowed(
            "this token may not upload to this project",
            subject=project,
            rule="token-scope",
            next_step="use a token whose scope covers the project",
        )
    if grant is None or grant.user != principal.user or grant.project != project:
        raise NotAllowed(
            "this user has no role on this project",
            subject=project,
            rule="no-role",
            found=f"user {principal.user}",
            next_step="ask an owner of the project for the role of maintainer",
        )
    return UploadRight(
        project,
        grant.user,
        grant.role,
        grant.granted_by,
        grant.granted_at,
        principal.authenticated,
        principal.identity,
    )


def decide_registration(principal: Principal, project: ProjectName, now: datetime) -> UploadRight:
    """May ``principal`` create ``project`` by uploading to it? The creator becomes its owner. Raises NotAllowed."""
    if not principal.scope.allows(Action.UPLOAD) and not principal.scope.allows(Action.UPLOAD, project):
        raise NotAllowed(
            "this token may not create projects",
            subject=project,
            rule="token-scope",
            next_step="create the project first, or use a token that is not limited to other projects",
        )
    if project == POLICY_PROJECT and not principal.scope.allows(Action.ADMIN):
        raise NotAllowed(
            "this project is the organisation's policy; only an administrator registers it",
            subject=project,
            rule="name-reserved",
            next_step="use an administrator's token for the first version; owners publish the next ones",
        )
    return UploadRight(project, principal.user, ProjectRole.OWNER, principal.user, now, principal.authenticated)
