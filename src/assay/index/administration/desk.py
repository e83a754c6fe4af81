"""The desk of the administrators: who may have an operation done, and doing it in one transaction.

Over HTTP an administrator needs a token with the action ``admin``; so does an owner, whose token reaches what owners
may do to the projects it is for. Whoever can write the data folder is ``local-admin`` and needs none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from assay.index.administration.operations import OPERATIONS, Actor, Audience, Operation, Outcome, project_named
from assay.index.administration.params import Params, shown
from assay.index.ledger import Ledger, accounts
from assay.model.errors import CallerError, NotAllowed, NotFound
from assay.model.permissions import Action, Principal, ProjectRole

LOCAL_ADMIN: Final = "local-admin"
PUBLISHED: Final = "published"
RECORDED: Final = "recorded; the index publishes it when it runs"
"""What became of an operation that readers see."""


@dataclass(frozen=True, slots=True)
class AdministrationDesk:
    """``issuers``: whose identity tokens count here, which a trusted publisher must be one of."""

    ledger: Ledger
    clock: Callable[[], datetime]
    issuers: tuple[str, ...]

    def perform(self, name: str, given: Mapping[str, Any], principal: Principal | None) -> Outcome:
        """Do the operation ``name``; ``principal`` None: whoever can write the data folder. Raises CallerError."""
        operation = OPERATIONS.get(name)
        if operation is None:
            raise NotFound("no such operation", subject=name[:100], rule="operation")
        now = self.clock()
        transaction = self.ledger.write if operation.writes or principal is not None else self.ledger.read
        with transaction() as connection:
            actor = Actor(LOCAL_ADMIN, is_admin=True, now=now)
            if principal is not None:
                actor = _require_right(connection, principal, operation, given, now)
                accounts.record_use(connection, principal, now)
            outcome = operation.run(connection, Params(given), actor)
            self._require_known_issuer(outcome)
        return Outcome({name: shown(value) for name, value in outcome.result.items()}, outcome.proposals)

    def _require_known_issuer(self, outcome: Outcome) -> None:
        issuer = outcome.result.get("issuer")
        if issuer is not None and issuer not in self.issuers:
            raise CallerError(
                "this index does not accept identity tokens of this issuer",
                rule="unknown-issuer",
                found=issuer,
                expected=", ".join(self.issuers) or "none: trusted publishing is off",
                next_step="add it to issuers in the section [oidc] of config.toml and start the index again",
            )


def _require_right(
    connection: Connection, principal: Principal, operation: Operation, given: Mapping[str, Any], now: datetime
) -> Actor:
    """Who acts. Raises NotAllowed."""
    project = project_named(given)
    if Action.ADMIN not in principal.scope.actions or principal.publisher is not None:
        raise NotAllowed(
            "this token administers nothing", rule="token-scope", next_step="use a token with the action admin"
        )
    if not principal.scope.allows(Action.ADMIN, project):
        raise NotAllowed("this token is for other projects", subject=project, rule="token-scope")
    if accounts.is_admin(connection, principal.user):
        return Actor(principal.user, is_admin=True, now=now)
    if operation.audience is not Audience.OWNERS or project is None:
        raise NotAllowed("only an administrator may do this", rule="not-an-administrator")
    grant = accounts.find_grant(connection, project, principal.user)
    if grant is None or grant.role is not ProjectRole.OWNER:
        raise NotAllowed(
            "only an owner of the project or an administrator may do this", subject=project, rule="not-an-owner"
        )
    return Actor(principal.user, is_admin=False, now=now)
