"""Users, tokens, projects and grants. Every change writes its event in the same transaction.

A token is ``assay_`` + 52 base32 characters (256 bits) + 6 of a checksum, so that secret scanners recognise it without
asking us. Only its SHA-256 is kept.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from assay.index.ledger.schema import events, grants, projects, publishers, tokens, users
from assay.model.errors import AlreadyExists, CallerError, NotAllowed, NotFound
from assay.model.names import ProjectName, confusable_skeleton
from assay.model.permissions import Action, Grant, Principal, ProjectRole, Scope
from assay.model.statuses import REMOVED, require_accepting

TOKEN_PATTERN = re.compile(r"\Aassay_[a-z2-7]{58}\Z")
_USER = re.compile(r"\A[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\Z")
_NOBODYS_NAMES = frozenset({"local-admin", "upstream"})
"""Events are told to be by these, who are no users."""
_LAST_USED_STEP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made. ``text`` is shown once and is not in ``repr``."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"NewToken(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project as the ledger knows it. ``origin``: upload or upstream; ``status``: one of ``model.statuses``."""

    name: ProjectName
    origin: str
    private: bool
    upstream_etag: str | None
    status: str


def record_event(
    connection: Connection, kind: str, actor: str, now: datetime, project: str | None = None, **facts: Any
) -> None:
    """Append an event of ``kind`` by ``actor``."""
    connection.execute(insert(events).values(time=now, kind=kind, actor=actor, project=project, facts=facts))


# --- users ----------------------------------------------------------------------------------------------------


def create_user(connection: Connection, name: str, actor: str, now: datetime, *, is_admin: bool = False) -> None:
    """Add a user. Raises CallerError for an illegal name, AlreadyExists for a taken one."""
    if not _USER.match(name) or name in _NOBODYS_NAMES:
        raise CallerError(
            "not a legal user name", subject=repr(name[:64]), expected="lower-case letters, digits, . _ -"
        )
    if connection.scalar(select(users.c.name).where(users.c.name == name)):
        raise AlreadyExists("this user exists already", subject=name)
    connection.execute(insert(users).values(name=name, is_admin=is_admin, created=now))
    record_event(connection, "user-created", actor, now, user=name, is_admin=is_admin)


def list_users(connection: Connection) -> list[dict[str, Any]]:
    """Every account, without its password."""
    columns = [column for column in users.c if column.name != "password"]
    return [dict(row) for row in connection.execute(select(*columns).order_by(users.c.name)).mappings()]


def has_users(connection: Connection) -> bool:
    """Whether there is any user."""
    return connection.scalar(select(users.c.name).limit(1)) is not None


def is_admin(connection: Connection, name: str) -> bool:
    """Whether the user is there and may administer the index."""
    return bool(connection.scalar(select(users.c.is_admin).where(users.c.name == name)))


def require_user(connection: Connection, name: str) -> None:
    """Raise NotFound unless the user exists."""
    if not connection.scalar(select(users.c.name).where(users.c.name == name)):
        raise NotFound("no such user", subject=name, next_step="create it: assay user create NAME")


# --- tokens ---------------------------------------------------------------------------------------------------


def create_token(
    connection: Connection,
    user: str,
    scope: Scope,
    actor: str,
    now: datetime,
    *,
    entropy: bytes,
    description: str = "",
    expires: datetime | None = None,
) -> NewToken:
    """Make a token of 256 bits of ``entropy``. Its text is returned here and nowhere else."""
    require_user(connection, user)
    token = insert_token(connection, scope, now, entropy=entropy, expires=expires, description=description, user=user)
    facts: dict[str, Any] = {
        "actions": sorted(action.value for action in scope.actions),
        "projects": sorted(scope.projects) if scope.projects is not None else None,
        "expires": expires.isoformat() if expires is not None else None,
    }
    record_event(connection, "token-created", actor, now, token=token.id, user=user, **facts)
    return token


def insert_token(
    connection: Connection,
    scope: Scope,
    now: datetime,
    *,
    entropy: bytes,
    expires: datetime | None,
    description: str,
    user: str | None = None,
    publisher: int | None = None,
    identity: Mapping[str, str] | None = None,
) -> NewToken:
    """Store a token of ``user`` or of ``publisher``. Its text is returned here and nowhere else. Records no event."""
    if len(entropy) != 32:
        raise ValueError("a token needs 32 bytes of entropy")
    body = base64.b32encode(entropy).decode().rstrip("=").lower()
    text = f"assay_{body}{_checksum(body)}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    token = NewToken(digest[:16], text)
    connection.execute(
        insert(tokens).values(
            id=token.id,
            sha256=digest,
            user=user,
            publisher=publisher,
            identity=dict(identity) if identity is not None else None,
            description=description[:200],
            actions=sorted(action.value for action in scope.actions),
            projects=sorted(scope.projects) if scope.projects is not None else None,
            created=now,
            expires=expires,
        )
    )
    return token


def publisher_name(number: int) -> str:
    """How events and ``custom`` call a trusted publisher."""
    return f"publisher:{number}"


def _checksum(body: str) -> str:
    return base64.b32encode(hashlib.sha256(body.encode()).digest()).decode()[:6].lower()


def authenticate(connection: Connection, text: str, now: datetime) -> Principal:
    """Who holds this token. Raises NotAllowed, saying no more than whether it ever was one, expired or was revoked."""
    if not TOKEN_PATTERN.match(text) or _checksum(text[6:-6]) != text[-6:]:
        raise NotAllowed("not an Assay token", rule="token-malformed", next_step="check that it was copied whole")
    digest = hashlib.sha256(text.encode()).hexdigest()
    row = connection.execute(select(tokens).where(tokens.c.sha256 == digest)).mappings().first()
    if row is None:
        raise NotAllowed("this token is not known here", rule="token-unknown")
    if row["revoked"] is not None:
        raise NotAllowed("this token was revoked", subject=row["id"], rule="token-revoked")
    if row["expires"] is not None and now >= row["expires"]:
        raise NotAllowed("this token has expired", subject=row["id"], rule="token-expired")
    listed = row["projects"]
    scope = Scope(
        frozenset(Action(value) for value in row["actions"]),
        frozenset(ProjectName(name) for name in listed) if listed is not None else None,
    )
    authenticated = f"token:{row['id']}"
    if row["publisher"] is not None:
        return Principal(publisher_name(row["publisher"]), authenticated, scope, row["publisher"], row["identity"])
    return Principal(row["user"], authenticated, scope)


def record_use(connection: Connection, principal: Principal, now: datetime) -> None:
    """Note that a token was used, at most once in five minutes."""
    token = principal.authenticated.removeprefix("token:")
    used = tokens.c.last_used
    stale = used.is_(None) | (used < now - _LAST_USED_STEP)
    connection.execute(update(tokens).where(tokens.c.id == token, stale).values(last_used=now))


def revoke_token(connection: Connection, token: str, actor: str, now: datetime) -> None:
    """Make a token useless from now on. Raises NotFound."""
    done = connection.execute(
        update(tokens).where(tokens.c.id == token, tokens.c.revoked.is_(None)).values(revoked=now)
    )
    if done.rowcount == 0:
        raise NotFound("no such token in force", subject=token)
    record_event(connection, "token-revoked", actor, now, token=token)


def list_tokens(connection: Connection) -> Iterable[dict[str, Any]]:
    """Every token without its secret."""
    columns = [column for column in tokens.c if column.name != "sha256"]
    return [dict(row) for row in connection.execute(select(*columns).order_by(tokens.c.created)).mappings()]


# --- projects and grants --------------------------------------------------------------------------------------


def find_project(connection: Connection, name: ProjectName) -> ProjectRow | None:
    """The project, or None."""
    row = connection.execute(select(projects).where(projects.c.name == name)).mappings().first()
    if row is None:
        return None
    return ProjectRow(ProjectName(row["name"]), row["origin"], row["private"], row["upstream_etag"], row["status"])


def create_project(
    connection: Connection,
    name: ProjectName,
    actor: str,
    now: datetime,
    *,
    origin: str = "upload",
    private: bool = False,
) -> None:
    """Register a project. Publishers that waited to create it count for nothing from now on.

    Raises AlreadyExists; NotAllowed for the name of one that was removed.
    """
    taken = find_project(connection, name)
    if taken is not None:
        if taken.status == REMOVED:
            require_accepting(name, taken.status)
        raise AlreadyExists("this project exists already", subject=name)
    pending = (publishers.c.project == name, publishers.c.pending, publishers.c.revoked_at.is_(None))
    connection.execute(update(publishers).where(*pending).values(revoked_at=now))
    connection.execute(
        insert(projects).values(
            name=name,
            skeleton=confusable_skeleton(name),
            origin=origin,
            private=private,
            created=now,
            created_by=actor,
        )
    )
    record_event(connection, "project-created", actor, now, name, origin=origin, private=private)


def record_upstream_check(connection: Connection, name: ProjectName, etag: str | None, now: datetime) -> None:
    """Note when the upstream was asked for ``name`` last, and the ETag it gave."""
    values = {"upstream_etag": etag[:200] if etag else None, "upstream_checked": now}
    connection.execute(update(projects).where(projects.c.name == name).values(**values))


def confusable_with(connection: Connection, name: ProjectName) -> ProjectName | None:
    """Another project whose name looks like ``name``, or None."""
    alike = (projects.c.skeleton == confusable_skeleton(name), projects.c.name != name)
    found = connection.scalar(select(projects.c.name).where(*alike).limit(1))
    return ProjectName(found) if found else None


def count_created(connection: Connection, actor: str, since: datetime) -> int:
    """How many projects ``actor`` created since ``since``."""
    mine = (projects.c.created_by == actor, projects.c.created > since)
    return connection.scalar(select(func.count()).select_from(projects).where(*mine)) or 0


def count_events(connection: Connection, kind: str, actor: str, since: datetime) -> int:
    """How many events of ``kind`` ``actor`` caused since ``since``."""
    mine = (events.c.actor == actor, events.c.kind == kind, events.c.time > since)
    return connection.scalar(select(func.count()).select_from(events).where(*mine)) or 0


def project_names(connection: Connection) -> list[ProjectName]:
    """Every registered project, in order."""
    return [ProjectName(name) for name in connection.scalars(select(projects.c.name).order_by(projects.c.name))]


def grant_role(
    connection: Connection, project: ProjectName, user: str, role: ProjectRole, actor: str, now: datetime
) -> None:
    """Give ``user`` a role on ``project``, in the place of the one they have. Raises NotFound."""
    require_user(connection, user)
    if find_project(connection, project) is None:
        raise NotFound("no such project", subject=project, next_step="create it: assay project create NAME")
    revoke_role(connection, project, user, actor, now)
    values = {"project": project, "user": user, "role": role.value, "granted_by": actor, "granted_at": now}
    connection.execute(insert(grants).values(**values))
    record_event(connection, "role-granted", actor, now, project, user=user, role=role.value)


def revoke_role(connection: Connection, project: ProjectName, user: str, actor: str, now: datetime) -> bool:
    """Take away the role of ``user``; False when they had none."""
    mine = (grants.c.project == project, grants.c.user == user, grants.c.revoked_at.is_(None))
    if connection.execute(update(grants).where(*mine).values(revoked_at=now)).rowcount == 0:
        return False
    record_event(connection, "role-revoked", actor, now, project, user=user)
    return True


def find_grant(connection: Connection, project: ProjectName, user: str) -> Grant | None:
    """The role of ``user`` on ``project`` that is in force, or None."""
    mine = (grants.c.project == project, grants.c.user == user, grants.c.revoked_at.is_(None))
    row = connection.execute(select(grants).where(*mine)).mappings().first()
    if row is None:
        return None
    return Grant(project, user, ProjectRole(row["role"]), row["granted_by"], row["granted_at"])


def grants_on(connection: Connection, project: ProjectName) -> list[Grant]:
    """Every role on ``project`` that is in force, oldest first."""
    mine = (grants.c.project == project, grants.c.revoked_at.is_(None))
    rows = connection.execute(select(grants).where(*mine).order_by(grants.c.id)).mappings()
    return [Grant(project, row["user"], ProjectRole(row["role"]), row["granted_by"], row["granted_at"]) for row in rows]
