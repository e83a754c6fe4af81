"""The operations: each takes its parameters, changes the ledger in the caller's transaction, and says what it did.

Invariant: an operation neither asks who acts nor waits for the signer; ``desk`` does both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from secrets import token_bytes
from typing import Any, Final

from sqlalchemy import Connection

from assay.formats.pages import Status
from assay.index import states
from assay.index.administration.params import Params
from assay.index.ledger import accounts, publishers
from assay.model.errors import CallerError, NotAllowed, NotFound
from assay.model.names import ProjectName, parse_project_name
from assay.model.permissions import USER_ROLES, Action, ProjectRole, Scope
from assay.model.statuses import QUARANTINED
from assay.provenance.identity_tokens import ANY_SUBJECT, TrustedPublisher
from assay.provenance.publishers import parse_publisher


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and when. ``is_admin``: may do everything; else only what an owner may to their projects."""

    name: str
    is_admin: bool
    now: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, as JSON. ``proposals``: what readers see when it is published; None: nothing that readers see."""

    result: Mapping[str, Any]
    proposals: Sequence[int] | None = None


class Audience(Enum):
    """Who may use an operation: administrators alone, or owners of its project too."""

    ADMINISTRATORS = "administrators"
    OWNERS = "owners"


@dataclass(frozen=True, slots=True)
class Operation:
    """``run`` raises CallerError; ``writes``: it needs more than a snapshot."""

    run: Callable[[Connection, Params, Actor], Outcome]
    audience: Audience = Audience.ADMINISTRATORS
    writes: bool = True


def _create_user(connection: Connection, params: Params, actor: Actor) -> Outcome:
    name, is_admin = params.text("name"), params.flag("admin")
    params.end()
    accounts.create_user(connection, name, actor.name, actor.now, is_admin=is_admin)
    return Outcome({"user": name, "is_admin": is_admin})


def _list_users(connection: Connection, params: Params, _actor: Actor) -> Outcome:
    params.end()
    return Outcome({"users": accounts.list_users(connection)})


def _create_token(connection: Connection, params: Params, actor: Actor) -> Outcome:
    user, description, lifetime = params.text("user"), params.optional_text("description") or "", params.days("days")
    actions, projects = params.texts("actions") or [Action.UPLOAD.value], params.texts("projects")
    params.end()
    known = [action.value for action in Action]
    if strange := [action for action in actions if action not in known]:
        raise CallerError("no such action", subject=strange[0], rule="parameter", expected=", ".join(known))
    scope = Scope(frozenset(map(Action, actions)), frozenset(map(parse_project_name, projects)) if projects else None)
    token = accounts.create_token(
        connection,
        user,
        scope,
        actor.name,
        actor.now,
        entropy=token_bytes(32),
        description=description,
        expires=actor.now + lifetime if lifetime is not None else None,
    )
    return Outcome({"id": token.id, "token": token.text})


def _list_tokens(connection: Connection, params: Params, _actor: Actor) -> Outcome:
    params.end()
    return Outcome({"tokens": list(accounts.list_tokens(connection))})


def _revoke_token(connection: Connection, params: Params, actor: Actor) -> Outcome:
    token = params.text("id")
    params.end()
    accounts.revoke_token(connection, token, actor.name, actor.now)
    return Outcome({"id": token, "revoked": True})


def _create_project(connection: Connection, params: Params, actor: Actor) -> Outcome:
    project, owner, private = params.project(), params.optional_text("owner"), params.flag("private")
    params.end()
    accounts.create_project(connection, project, actor.name, actor.now, private=private)
    if owner is not None:
        accounts.grant_role(connection, project, owner, ProjectRole.OWNER, actor.name, actor.now)
    return Outcome({"project": project, "owner": owner, "private": private})


def _list_projects(connection: Connection, params: Params, _actor: Actor) -> Outcome:
    params.end()
    return Outcome({"projects": accounts.project_names(connection)})


def _show_project(connection: Connection, params: Params, _actor: Actor) -> Outcome:
    project = params.project()
    params.end()
    row = accounts.find_project(connection, project)
    if row is None:
        raise NotFound("no such project", subject=project)
    roles = [
        {"user": grant.user, "role": grant.role.value, "granted_by": grant.granted_by, "granted_at": grant.granted_at}
        for grant in accounts.grants_on(connection, project)
    ]
    facts = {"project": project, "origin": row.origin, "status": row.status, "private": row.private}
    return Outcome({**facts, "roles": roles})


def _transfer_project(connection: Connection, params: Params, actor: Actor) -> Outcome:
    project, user = params.project(), params.text("user")
    params.end()
    former = states.transfer(connection, project, user, actor.name, actor.now)
    return Outcome({"project": project, "owner": user, "former_owners": former})


def _grant(connection: Connection, params: Params, actor: Actor) -> Outcome:
    user, role, project = params.text("user"), params.text("role"), params.project()
    params.end()
    if role == "none":
        if not accounts.revoke_role(connection, project, user, actor.name, actor.now):
            raise NotFound("this user has no role on this project", subject=f"{user} on {project}")
    elif role in (known := [each.value for each in USER_ROLES]):
        accounts.grant_role(connection, project, user, ProjectRole(role), actor.name, actor.now)
    else:
        raise CallerError("no such role", subject=role[:40], rule="parameter", expected=", ".join([*known, "none"]))
    return Outcome({"user": user, "role": role, "project": project})


def _yank(connection: Connection, params: Params, actor: Actor) -> Outcome:
    project, what, reason = params.project(), params.text("what"), params.optional_text("reason") or ""
    params.end()
    proposals = states.yank(connection, project, what, reason, actor.name, actor.now)
    return Outcome({"project": project, "what": what, "files": len(proposals)}, proposals)


def _unyank(connection: Connection, params: Params, actor: Actor) -> Outcome:
    project, what = params.project(), params.text("what")
    params.end()
    proposals = states.yank(connection, project, what, None, actor.name, actor.now)
    return Outcome({"project": project, "what": what, "files": len(proposals)}, proposals)


def _remove(connection: Connection, params: Params, actor: Actor) -> Outcome:
    project, what, reason = params.project(), params.optional_text("what"), params.text("reason")
    whole = params.flag("whole_project")
    params.end()
    if (what is None) != whole:
        raise CallerError("name a version or a file, or the whole project", rule="remove-what")
    if what is None:
        proposals = states.remove_project(connection, project, reason, actor.name, actor.now)
    else:
        proposals = states.remove_files(connection, project, what, reason, actor.name, actor.now)
    return Outcome({"project": project, "what": what}, proposals)


def _set_status(status: Status) -> Callable[[Connection, Params, Actor], Outcome]:
    def run(connection: Connection, params: Params, actor: Actor) -> Outcome:
        project, reason = params.project(), params.optional_text("reason")
        params.end()
        row = accounts.find_project(connection, project)
        if row is not None and row.status == QUARANTINED and not actor.is_admin:
            raise NotAllowed("only an administrator ends a quarantine", subject=project, rule="quarantined")
        proposals = states.set_status(connection, project, status, reason, actor.name, actor.now)
        return Outcome({"project": project, "status": status}, proposals)

    return run


def _add_publisher(connection: Connection, params: Params, actor: Actor) -> Outcome:
    project, owner = params.project(), params.optional_text("owner")
    members, claims = params.table("publisher"), params.table("claims")
    params.end()
    if members.get("kind") == "OIDC" and members.get("subject") is None and claims:
        members["subject"] = ANY_SUBJECT
    trusted = TrustedPublisher(
        parse_publisher(members), tuple(sorted((str(name), str(value)) for name, value in claims.items()))
    )
    made = publishers.register(connection, project, trusted, owner, actor.name, actor.now)
    facts = {"id": made.id, "project": made.project, "publisher": trusted.describe(), "issuer": trusted.issuer}
    return Outcome({**facts, "pending": made.pending})


def _list_publishers(connection: Connection, params: Params, _actor: Actor) -> Outcome:
    params.end()
    rows = [
        {"id": each.id, "project": each.project, "publisher": each.trusted.describe(), "pending": each.pending}
        for each in publishers.in_force(connection)
    ]
    return Outcome({"publishers": rows})


def _remove_publisher(connection: Connection, params: Params, actor: Actor) -> Outcome:
    number = params.number("id")
    params.end()
    publishers.revoke(connection, number, actor.name, actor.now)
    return Outcome({"id": number, "removed": True})


OPERATIONS: Final[Mapping[str, Operation]] = {
    "user.create": Operation(_create_user),
    "user.list": Operation(_list_users, writes=False),
    "token.create": Operation(_create_token),
    "token.list": Operation(_list_tokens, writes=False),
    "token.revoke": Operation(_revoke_token),
    "project.create": Operation(_create_project),
    "project.list": Operation(_list_projects, writes=False),
    "project.show": Operation(_show_project, Audience.OWNERS, writes=False),
    "project.transfer": Operation(_transfer_project, Audience.OWNERS),
    "grant": Operation(_grant, Audience.OWNERS),
    "publisher.add": Operation(_add_publisher, Audience.OWNERS),
    "publisher.list": Operation(_list_publishers, writes=False),
    "publisher.remove": Operation(_remove_publisher),
    "yank": Operation(_yank, Audience.OWNERS),
    "unyank": Operation(_unyank, Audience.OWNERS),
    "remove": Operation(_remove, Audience.OWNERS),
    "archive": Operation(_set_status("archived"), Audience.OWNERS),
    "deprecate": Operation(_set_status("deprecated"), Audience.OWNERS),
    "reactivate": Operation(_set_status("active"), Audience.OWNERS),
    "quarantine": Operation(_set_status("quarantined")),
}


def project_named(params: Mapping[str, Any]) -> ProjectName | None:
    """The project that an operation is about, before it runs."""
    name = params.get("project")
    return parse_project_name(name) if isinstance(name, str) else None
