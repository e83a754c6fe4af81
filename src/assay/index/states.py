"""Yank, remove, quarantine and their likes, as the ledger records them: an event and a proposal in one transaction.

Every function runs inside a write transaction of the caller's and returns the numbers of its proposals, to wait for.
The ledger is stricter from this moment on; what readers see changes when the signer has published.
"""

from collections.abc import Sequence
from datetime import datetime

from packaging.version import InvalidVersion, Version
from sqlalchemy import Connection, update

from assay.formats.pages import Status
from assay.index.ledger import accounts, publishers
from assay.index.ledger.publications import FileRow, files_of, propose
from assay.index.ledger.schema import files, grants, projects
from assay.index.proposals import Entomb, Remove, SetStatus, Yank
from assay.model.errors import CallerError, NotFound
from assay.model.names import ProjectName
from assay.model.permissions import ProjectRole
from assay.model.statuses import REMOVED, require_accepting

MAX_REASON_CHARS = 500


def yank(
    connection: Connection, project: ProjectName, what: str, reason: str | None, actor: str, now: datetime
) -> list[int]:
    """Yank the file or version ``what`` with ``reason`` (may be empty), or un-yank it (None). PEP 592.

    Raises NotFound.
    """
    _require_standing(connection, project)
    chosen = _choose(connection, project, what)
    facts = {"what": what, "files": [file.filename for file in chosen], "reason": _reason(reason)}
    kind = "unyank-requested" if reason is None else "yank-requested"
    accounts.record_event(connection, kind, actor, now, project, **facts)
    return [propose(connection, Yank(project, file.filename, _reason(reason))) for file in chosen]


def remove_files(
    connection: Connection, project: ProjectName, what: str, reason: str, actor: str, now: datetime
) -> list[int]:
    """Remove the file or version ``what`` for good: its names never return. Raises NotFound."""
    _require_standing(connection, project)
    chosen = _choose(connection, project, what)
    names = [file.filename for file in chosen]
    accounts.record_event(
        connection, "removal-requested", actor, now, project, what=what, files=names, reason=_reason(reason)
    )
    for file in chosen:
        connection.execute(update(files).where(files.c.path == file.path).values(state="removed"))
    return [propose(connection, Remove(project, name)) for name in names]


def remove_project(connection: Connection, project: ProjectName, reason: str, actor: str, now: datetime) -> list[int]:
    """Remove the project with all its files, roles and pending rights. Its name is never given again (threat B7)."""
    _require_standing(connection, project)
    accounts.record_event(connection, "project-removal-requested", actor, now, project, reason=_reason(reason))
    mine = (files.c.project == project, files.c.state != "refused")
    connection.execute(update(files).where(*mine).values(state="removed"))
    roles = (grants.c.project == project, grants.c.revoked_at.is_(None))
    connection.execute(update(grants).where(*roles).values(revoked_at=now))
    publishers.revoke_all(connection, project, actor, now)
    connection.execute(update(projects).where(projects.c.name == project).values(status=REMOVED))
    return [propose(connection, Entomb(project))]


def set_status(
    connection: Connection, project: ProjectName, status: Status, reason: str | None, actor: str, now: datetime
) -> list[int]:
    """Give ``project`` a status of PEP 792; ``active`` undoes every other. Raises NotFound, NotAllowed."""
    _require_standing(connection, project)
    facts = {"status": status} | ({"reason": _reason(reason)} if reason else {})
    accounts.record_event(connection, "status-requested", actor, now, project, **facts)
    connection.execute(update(projects).where(projects.c.name == project).values(status=status))
    if not files_of(connection, project):
        return []
    return [propose(connection, SetStatus(project, status, _reason(reason)))]


def transfer(connection: Connection, project: ProjectName, user: str, actor: str, now: datetime) -> list[str]:
    """Make ``user`` the only owner; returns the former owners. Their role ends, and that of trusted publishers.

    Raises NotFound, NotAllowed.
    """
    _require_standing(connection, project)
    former = [grant.user for grant in accounts.grants_on(connection, project) if grant.role is ProjectRole.OWNER]
    for owner in former:
        accounts.revoke_role(connection, project, owner, actor, now)
    publishers.revoke_all(connection, project, actor, now)
    accounts.grant_role(connection, project, user, ProjectRole.OWNER, actor, now)
    accounts.record_event(connection, "project-transferred", actor, now, project, former=former, owner=user)
    return [owner for owner in former if owner != user]


def _require_standing(connection: Connection, project: ProjectName) -> None:
    row = accounts.find_project(connection, project)
    if row is None:
        raise NotFound("no such project", subject=project)
    if row.status == REMOVED:
        require_accepting(project, row.status)


def _choose(connection: Connection, project: ProjectName, what: str) -> Sequence[FileRow]:
    """The files that ``what``, a filename or a version, stands for. Raises NotFound."""
    standing = [file for file in files_of(connection, project) if file.state != "removed"]
    chosen = [file for file in standing if file.filename == what]
    if not chosen:
        version = _version(what)
        chosen = [file for file in standing if version is not None and Version(file.version) == version]
    if not chosen:
        raise NotFound(
            "no such file or version in this project", subject=f"{project} {what}", next_step="see the project's page"
        )
    return chosen


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _reason(text: str | None) -> str | None:
    """A reason as it may stand on a page. Raises CallerError for control characters and for one that is too long."""
    if text is not None and (len(text) > MAX_REASON_CHARS or not text.isprintable()):
        raise CallerError("not a reason", expected=f"one line of at most {MAX_REASON_CHARS} characters", rule="reason")
    return text
