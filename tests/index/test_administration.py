"""Administrators and owners over HTTP: what their tokens reach, what is refused, and what is taken for a parameter."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.index.administration.desk import AdministrationDesk
from assay.index.administration.operations import OPERATIONS, Audience
from assay.index.ledger import accounts
from assay.model.errors import CallerError, NotAllowed, NotFound
from assay.model.permissions import Action, Principal, ProjectRole
from index.ledger_index import DEMO, LedgerIndex, build_wheel, wheel_name

ADMIN = frozenset({Action.ADMIN})
ISSUER = "https://token.actions.githubusercontent.com"
PUBLISHER = {"kind": "GitHub", "repository": "acme/demo", "workflow": "release.yml"}
GIVEN: dict[str, dict[str, Any]] = {
    "user.create": {"name": "carol"},
    "user.list": {},
    "token.create": {"user": "alice"},
    "token.list": {},
    "token.revoke": {"id": "TOKEN"},
    "project.create": {"project": "another"},
    "project.list": {},
    "project.show": {"project": "demo"},
    "project.transfer": {"project": "demo", "user": "bob"},
    "grant": {"project": "demo", "user": "bob", "role": "maintainer"},
    "publisher.add": {"project": "demo", "publisher": PUBLISHER},
    "publisher.list": {},
    "publisher.remove": {"id": 1},
    "yank": {"project": "demo", "what": "1.0"},
    "unyank": {"project": "demo", "what": "1.0"},
    "remove": {"project": "demo", "what": "1.0", "reason": "mistake"},
    "archive": {"project": "demo"},
    "deprecate": {"project": "demo", "reason": "use other"},
    "reactivate": {"project": "demo"},
    "quarantine": {"project": "demo"},
}
OWNERS = [name for name, operation in OPERATIONS.items() if operation.audience is Audience.OWNERS]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LedgerIndex]:
    made = LedgerIndex(tmp_path / "index")
    made.publish("demo", "1.0", made.user("alice"))
    made.token("bob")
    yield made
    made.ledger.close()


@pytest.fixture
def desk(index: LedgerIndex) -> AdministrationDesk:
    return AdministrationDesk(index.ledger, lambda: index.now, (ISSUER,))


def given(index: LedgerIndex, operation: str) -> dict[str, Any]:
    parameters = dict(GIVEN[operation])
    if parameters.get("id") == "TOKEN":
        parameters["id"] = index.principal(index.token("bob")).authenticated.removeprefix("token:")
    if operation == "publisher.remove":
        AdministrationDesk(index.ledger, lambda: index.now, (ISSUER,)).perform(
            "publisher.add", GIVEN["publisher.add"], None
        )
    return parameters


def who(index: LedgerIndex, name: str, **scope: Any) -> Principal:
    return index.principal(index.token(name, **{"actions": ADMIN, **scope}))


def boss(index: LedgerIndex, **scope: Any) -> Principal:
    with index.write() as connection:
        if not accounts.is_admin(connection, "boss"):
            accounts.create_user(connection, "boss", "boss", index.now, is_admin=True)
    return who(index, "boss", **scope)


def test_every_operation_is_in_these_tables() -> None:
    assert set(GIVEN) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_administrator_may_do_everything_and_it_is_in_the_log(
    index: LedgerIndex, desk: AdministrationDesk, operation: str
) -> None:
    parameters, principal = given(index, operation), boss(index)
    before = len(all_events(index))
    desk.perform(operation, parameters, principal)
    new = all_events(index)[before:]
    assert {actor for actor, _kind in new} == ({"boss"} if OPERATIONS[operation].writes else set())


def all_events(index: LedgerIndex) -> list[tuple[str, str]]:
    from sqlalchemy import select

    from assay.index.ledger.schema import events

    with index.ledger.read() as connection:
        rows = connection.execute(select(events.c.actor, events.c.kind).order_by(events.c.id))
        return [(row.actor, row.kind) for row in rows]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_owner_may_do_what_owners_may_to_their_own_project(
    index: LedgerIndex, desk: AdministrationDesk, operation: str
) -> None:
    parameters, alice = given(index, operation), who(index, "alice")
    if operation in OWNERS:
        desk.perform(operation, parameters, alice)
    else:
        with pytest.raises(NotAllowed) as refused:
            desk.perform(operation, parameters, alice)
        assert refused.value.rule == "not-an-administrator"


def rule_of_every_refusal(index: LedgerIndex, desk: AdministrationDesk, principal: Principal) -> set[str]:
    """Every operation is refused to ``principal``, and nothing is in the log of it."""
    parameters = {operation: given(index, operation) for operation in OPERATIONS}
    before, rules = all_events(index), set()
    for operation in OPERATIONS:
        with pytest.raises(NotAllowed) as refused:
            desk.perform(operation, parameters[operation], principal)
        rules.add(refused.value.rule)
    assert all_events(index) == before
    return rules


@pytest.mark.parametrize("role", [None, ProjectRole.MAINTAINER])
def test_B4_whoever_is_no_owner_may_do_nothing(
    index: LedgerIndex, desk: AdministrationDesk, role: ProjectRole | None
) -> None:
    if role is not None:
        with index.write() as connection:
            accounts.grant_role(connection, DEMO, "bob", role, "boss", index.now)
    assert rule_of_every_refusal(index, desk, who(index, "bob")) == {"not-an-administrator", "not-an-owner"}


@pytest.mark.parametrize("actions", [{Action.UPLOAD}, {Action.READ}, {Action.UPLOAD, Action.READ}])
def test_B4_a_token_without_the_action_administers_nothing(
    index: LedgerIndex, desk: AdministrationDesk, actions: set[Action]
) -> None:
    assert rule_of_every_refusal(index, desk, boss(index, actions=frozenset(actions))) == {"token-scope"}


@pytest.mark.parametrize("name", ["boss", "alice"])
def test_B4_a_token_for_other_projects_reaches_only_those(
    index: LedgerIndex, desk: AdministrationDesk, name: str
) -> None:
    boss(index)
    assert rule_of_every_refusal(index, desk, who(index, name, projects=["other"])) == {"token-scope"}


def test_an_owners_token_may_be_for_one_project(index: LedgerIndex, desk: AdministrationDesk) -> None:
    assert desk.perform("yank", GIVEN["yank"], who(index, "alice", projects=["Demo"])).result["files"] == 1


def test_an_owner_does_not_end_a_quarantine(index: LedgerIndex, desk: AdministrationDesk) -> None:
    desk.perform("quarantine", GIVEN["quarantine"], boss(index))
    for operation in ("archive", "deprecate", "reactivate"):
        with pytest.raises(NotAllowed) as refused:
            desk.perform(operation, GIVEN[operation], who(index, "alice"))
        assert refused.value.rule == "quarantined"
    desk.perform("reactivate", GIVEN["reactivate"], boss(index))


def test_a_parameter_that_the_operation_does_not_have_changes_nothing(
    index: LedgerIndex, desk: AdministrationDesk
) -> None:
    parameters = {operation: given(index, operation) for operation in OPERATIONS}
    before = all_events(index)
    for operation in OPERATIONS:
        with pytest.raises(CallerError) as refused:
            desk.perform(operation, {**parameters[operation], "surprise": 1}, None)
        assert refused.value.subject == "surprise"
    assert all_events(index) == before


REFUSED: list[tuple[str, dict[str, Any], str | None]] = [
    ("user.create", {}, "name"),
    ("user.create", {"name": 7}, "name"),
    ("user.create", {"name": "x" * 10_001}, "name"),
    ("user.create", {"name": "x\0"}, "name"),
    ("user.create", {"name": "carol", "admin": "yes"}, "admin"),
    ("token.create", {"user": "alice", "actions": "upload"}, "actions"),
    ("token.create", {"user": "alice", "actions": ["everything"]}, "everything"),
    ("token.create", {"user": "alice", "days": 0}, "days"),
    ("token.create", {"user": "alice", "days": True}, "days"),
    ("token.create", {"user": "alice", "days": 1e300}, "days"),
    ("token.create", {"user": "alice", "projects": ["-"]}, "'-'"),
    ("grant", {"user": "bob", "role": "publisher", "project": "demo"}, "publisher"),
    ("publisher.remove", {"id": "1"}, "id"),
    ("publisher.add", {"project": "demo", "publisher": []}, None),
    ("publisher.add", {"project": "demo", "publisher": [1]}, "publisher"),
    ("remove", {"project": "demo", "reason": "x"}, None),
    ("remove", {"project": "demo", "what": "1.0"}, "reason"),
    ("yank", {"project": "../demo", "what": "1.0"}, "'../demo'"),
    ("yank", {"project": "demo", "what": "1.0", "reason": "a\nb"}, None),
]


def test_parameters_that_are_refused(index: LedgerIndex, desk: AdministrationDesk) -> None:
    before = all_events(index)
    for operation, parameters, subject in REFUSED:
        with pytest.raises(CallerError) as refused:
            desk.perform(operation, parameters, None)
        assert refused.value.subject == subject, (operation, parameters)
    assert all_events(index) == before


def test_an_operation_that_does_not_exist(desk: AdministrationDesk) -> None:
    for name in ("", "user", "user.destroy", "__init__", "user.create/", "../yank"):
        with pytest.raises(NotFound):
            desk.perform(name, {}, None)


def test_a_publisher_of_an_issuer_that_does_not_count_is_not_registered(
    index: LedgerIndex, desk: AdministrationDesk
) -> None:
    stranger = {"kind": "OIDC", "issuer": "https://elsewhere.example", "subject": "x"}
    with pytest.raises(CallerError) as refused:
        desk.perform("publisher.add", {"project": "demo", "publisher": stranger}, None)
    assert refused.value.rule == "unknown-issuer"
    assert desk.perform("publisher.list", {}, None).result == {"publishers": []}


def test_a_transferred_project_is_the_new_owners_alone(index: LedgerIndex, desk: AdministrationDesk) -> None:
    alice = who(index, "alice", actions=frozenset({Action.ADMIN, Action.UPLOAD}))
    assert desk.perform("project.transfer", GIVEN["project.transfer"], alice).result["former_owners"] == ["alice"]
    with pytest.raises(NotAllowed):
        desk.perform("yank", GIVEN["yank"], alice)
    with pytest.raises(NotAllowed):
        index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), alice)
    index.publish("demo", "2.0", index.user("bob"))


def test_a_token_that_was_revoked_or_whose_user_lost_the_right_is_refused_at_once(
    index: LedgerIndex, desk: AdministrationDesk
) -> None:
    from sqlalchemy import update

    from assay.index.ledger.schema import users

    principal = boss(index)
    with index.write() as connection:
        connection.execute(update(users).where(users.c.name == "boss").values(is_admin=False))
    with pytest.raises(NotAllowed):
        desk.perform("user.list", {}, principal)
