"""Trusted publishers: who may upload to which project without a token of their own, and the identity tokens spent.

A publisher of a project that does not exist yet is *pending*: its first upload makes the project, which then belongs to
the publisher's ``owner``. Should somebody else make it first, the pending publisher counts for nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from assay.index.ledger import accounts
from assay.index.ledger.schema import publishers, spent_tokens
from assay.model.errors import AlreadyExists, CallerError, NotFound
from assay.model.names import ProjectName
from assay.model.permissions import Action, Grant, Principal, ProjectRole, Scope
from assay.model.statuses import REMOVED, require_accepting
from assay.provenance.identity_tokens import TrustedPublisher, is_token_of, shown_claims
from assay.provenance.publishers import parse_publisher, render_publisher

MAX_PUBLISHERS_PER_PROJECT = 20


@dataclass(frozen=True, slots=True)
class RegisteredPublisher:
    """A publisher of ``project``, in force. ``owner``: the user who gets the project of a pending one."""

    id: int
    project: ProjectName
    trusted: TrustedPublisher
    pending: bool
    owner: str | None
    registered_by: str
    registered_at: datetime


def register(
    connection: Connection,
    project: ProjectName,
    trusted: TrustedPublisher,
    owner: str | None,
    actor: str,
    now: datetime,
) -> RegisteredPublisher:
    """Let ``trusted`` upload to ``project``; where there is no such project, create it for ``owner`` by uploading.

    Raises CallerError where a pending one has no owner, AlreadyExists, NotFound, NotAllowed.
    """
    row = accounts.find_project(connection, project)
    if row is not None and row.status == REMOVED:
        require_accepting(project, row.status)
    if row is None and owner is None:
        raise CallerError(
            "there is no such project yet",
            subject=project,
            rule="publisher-owner",
            next_step="say who owns it: --owner",
        )
    if owner is not None:
        accounts.require_user(connection, owner)
    known = of_project(connection, project)
    if any(each.trusted == trusted for each in known):
        raise AlreadyExists("this publisher is registered already", subject=project, found=trusted.describe())
    if len(known) >= MAX_PUBLISHERS_PER_PROJECT:
        raise CallerError("this project has too many publishers", rule="publisher-count", subject=project)
    values = {
        "project": project,
        "issuer": trusted.issuer,
        "members": render_publisher(trusted.publisher),
        "claims": dict(trusted.claims),
        "pending": row is None,
        "owner": owner if row is None else None,
        "registered_by": actor,
        "registered_at": now,
    }
    number = int(connection.execute(insert(publishers).values(**values)).inserted_primary_key[0])  # type: ignore[index]
    facts = {"publisher": number, "who": trusted.describe(), "pending": row is None}
    accounts.record_event(connection, "publisher-registered", actor, now, project, **facts)
    return _publisher(connection.execute(select(publishers).where(publishers.c.id == number)).mappings().one())


def revoke(connection: Connection, number: int, actor: str, now: datetime) -> None:
    """Take a publisher's right away, and that of every token it was given. Raises NotFound."""
    mine = (publishers.c.id == number, publishers.c.revoked_at.is_(None))
    project = connection.scalar(select(publishers.c.project).where(*mine))
    if project is None:
        raise NotFound("no such publisher in force", subject=str(number))
    connection.execute(update(publishers).where(*mine).values(revoked_at=now))
    accounts.record_event(connection, "publisher-revoked", actor, now, project, publisher=number)


def revoke_all(connection: Connection, project: ProjectName, actor: str, now: datetime) -> None:
    """Take every publisher of ``project`` its right."""
    for each in of_project(connection, project):
        revoke(connection, each.id, actor, now)


def in_force(connection: Connection) -> list[RegisteredPublisher]:
    """Every publisher, by project."""
    rows = connection.execute(
        select(publishers).where(publishers.c.revoked_at.is_(None)).order_by(publishers.c.project, publishers.c.id)
    )
    return [_publisher(row) for row in rows.mappings()]


def of_project(connection: Connection, project: ProjectName) -> list[RegisteredPublisher]:
    """The publishers of ``project``."""
    mine = (publishers.c.project == project, publishers.c.revoked_at.is_(None))
    return [_publisher(row) for row in connection.execute(select(publishers).where(*mine)).mappings()]


def matching(connection: Connection, issuer: str, claims: Mapping[str, Any]) -> list[RegisteredPublisher]:
    """The publishers whose identity token this is."""
    mine = (publishers.c.issuer == issuer, publishers.c.revoked_at.is_(None))
    rows = connection.execute(select(publishers).where(*mine).order_by(publishers.c.id)).mappings()
    return [each for each in map(_publisher, rows) if is_token_of(each.trusted, issuer, claims)]


def spend(connection: Connection, token: str, until: datetime, now: datetime) -> bool:
    """Remember that an identity token was used, until nobody accepts it any more; False where it was used before."""
    connection.execute(delete(spent_tokens).where(spent_tokens.c.until < now))
    try:
        connection.execute(insert(spent_tokens).values(id=token, until=until))
    except IntegrityError:
        return False
    return True


def mint_token(
    connection: Connection,
    matched: Sequence[RegisteredPublisher],
    claims: Mapping[str, Any],
    now: datetime,
    *,
    entropy: bytes,
    expires: datetime,
) -> accounts.NewToken:
    """An upload token for the projects of ``matched``, who are one publisher (at least one row)."""
    first = matched[0]
    identity = {"issuer": first.trusted.issuer, "who": first.trusted.describe(), **shown_claims(claims)}
    projects = frozenset(each.project for each in matched)
    token = accounts.insert_token(
        connection,
        Scope(frozenset({Action.UPLOAD}), projects),
        now,
        entropy=entropy,
        expires=expires,
        description=first.trusted.describe(),
        publisher=first.id,
        identity=identity,
    )
    accounts.record_event(
        connection, "token-minted", accounts.publisher_name(first.id), now, token=token.id, identity=identity
    )
    return token


def find_right(connection: Connection, project: ProjectName, principal: Principal) -> Grant | None:
    """The right of a publisher's ``principal`` on ``project``, while the publisher is registered there."""
    exists = accounts.find_project(connection, project) is not None
    for each in _rows_of(connection, project, principal):
        if each.pending != exists:
            return Grant(project, principal.user, ProjectRole.PUBLISHER, each.registered_by, each.registered_at)
    return None


def claim_pending(connection: Connection, project: ProjectName, principal: Principal) -> str:
    """The publisher's first upload makes ``project``: returns who will own it. Call before the project is created."""
    for each in _rows_of(connection, project, principal):
        if each.pending and each.owner is not None:
            connection.execute(update(publishers).where(publishers.c.id == each.id).values(pending=False))
            return each.owner
    raise NotFound("no such pending publisher", subject=project)


def _rows_of(connection: Connection, project: ProjectName, principal: Principal) -> list[RegisteredPublisher]:
    """The registrations on ``project`` of the publisher that ``principal``'s token was minted for, while in force."""
    mine = (publishers.c.id == principal.publisher, publishers.c.revoked_at.is_(None))
    minted_for = connection.execute(select(publishers).where(*mine)).mappings().first()
    if minted_for is None:
        return []
    trusted = _publisher(minted_for).trusted
    return [each for each in of_project(connection, project) if each.trusted == trusted]


def _publisher(row: RowMapping) -> RegisteredPublisher:
    trusted = TrustedPublisher(parse_publisher(row["members"]), tuple(sorted(row["claims"].items())))
    return RegisteredPublisher(
        row["id"],
        ProjectName(row["project"]),
        trusted,
        row["pending"],
        row["owner"],
        row["registered_by"],
        row["registered_at"],
    )
