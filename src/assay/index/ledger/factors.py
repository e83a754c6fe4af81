"""Second factors of accounts, for the web pages to come: TOTP keys and passkeys. Uploads know neither, only tokens.

Invariants: a factor's counter only grows (the time step of a TOTP code, the signature counter of a passkey), so that no
code and no assertion counts twice; every change has its event, without the secret. A TOTP key must be readable to be
compared and lies here as it is; of a passkey only the public key is known. Source: RFC 6238, WebAuthn level 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection, insert, select, update

from assay.index.ledger.accounts import record_event, require_user
from assay.index.ledger.schema import factors
from assay.model.errors import AlreadyExists, CallerError, NotAllowed, NotFound
from assay.model.totp import SECRET_BYTES, accepted_step

MAX_FACTORS_PER_USER = 20
MAX_NAME_CHARS = 60


class FactorKind(Enum):
    """What somebody proves to have."""

    TOTP = "totp"
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor in force. ``key``: the TOTP key, or the passkey's public key (COSE); not in ``repr``.

    ``credential``: the passkey's id, by which a browser names it. ``counter``: see above.
    """

    id: int
    user: str
    kind: FactorKind
    name: str
    key: bytes
    credential: bytes | None
    counter: int

    def __repr__(self) -> str:
        return f"Factor({self.id}, {self.user}, {self.kind.value}, {self.name!r})"


def add_totp(connection: Connection, user: str, name: str, key: bytes, actor: str, now: datetime) -> int:
    """Register a TOTP key that the user has just proved to have; returns its number. Raises NotFound, CallerError."""
    if len(key) < SECRET_BYTES:
        raise CallerError("too short a TOTP key", rule="factor", expected=f"at least {SECRET_BYTES} bytes")
    return _add(connection, user, FactorKind.TOTP, name, key, None, 0, actor, now)


def add_passkey(
    connection: Connection,
    user: str,
    name: str,
    credential: bytes,
    public_key: bytes,
    counter: int,
    actor: str,
    now: datetime,
) -> int:
    """Register a passkey whose attestation was verified; returns its number. Raises NotFound, AlreadyExists."""
    if connection.scalar(select(factors.c.id).where(factors.c.credential == credential)) is not None:
        raise AlreadyExists("this passkey is registered already", rule="factor")
    return _add(connection, user, FactorKind.PASSKEY, name, public_key, credential, counter, actor, now)


def _add(
    connection: Connection,
    user: str,
    kind: FactorKind,
    name: str,
    key: bytes,
    credential: bytes | None,
    counter: int,
    actor: str,
    now: datetime,
) -> int:
    require_user(connection, user)
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise CallerError("not a name for a factor", rule="factor", expected=f"1 to {MAX_NAME_CHARS} characters")
    if len(factors_of(connection, user)) >= MAX_FACTORS_PER_USER:
        raise CallerError("this user has too many second factors", subject=user, rule="factor")
    values = {"user": user, "kind": kind.value, "name": name, "key": key, "credential": credential}
    row = connection.execute(insert(factors).values(**values, counter=counter, created=now))
    number = int(row.inserted_primary_key[0])  # type: ignore[index]
    record_event(connection, "factor-added", actor, now, user=user, factor=number, factor_kind=kind.value)
    return number


def factors_of(connection: Connection, user: str) -> Sequence[Factor]:
    """The second factors of ``user`` that are in force, oldest first."""
    mine = (factors.c.user == user, factors.c.removed.is_(None))
    columns = [factors.c[name] for name in Factor.__dataclass_fields__]
    rows = connection.execute(select(*columns).where(*mine).order_by(factors.c.id))
    return [
        Factor(row.id, row.user, FactorKind(row.kind), row.name, row.key, row.credential, row.counter) for row in rows
    ]


def use_totp(connection: Connection, factor: Factor, code: str, now: datetime) -> None:
    """Accept ``code`` once. Raises NotAllowed."""
    step = accepted_step(factor.key, code, now, factor.counter) if factor.kind is FactorKind.TOTP else None
    if step is None:
        raise NotAllowed("not the code of this moment, or used before", rule="factor-code")
    advance(connection, factor, step, now)


def advance(connection: Connection, factor: Factor, counter: int, now: datetime) -> None:
    """Note a use at ``counter``. Raises NotAllowed where it, or a later one, was seen before.

    Passkeys that keep no counter say 0, always (WebAuthn section 6.1.1).
    """
    fresh = (factors.c.counter < counter) if counter else (factors.c.counter == 0)
    mine = (factors.c.id == factor.id, factors.c.removed.is_(None), fresh)
    if connection.execute(update(factors).where(*mine).values(counter=counter, last_used=now)).rowcount == 0:
        raise NotAllowed("this proof was used before", rule="factor-replay")


def remove_factor(connection: Connection, user: str, number: int, actor: str, now: datetime) -> None:
    """Take a factor out of force. Raises NotFound."""
    mine = (factors.c.id == number, factors.c.user == user, factors.c.removed.is_(None))
    if connection.execute(update(factors).where(*mine).values(removed=now)).rowcount == 0:
        raise NotFound("no such second factor in force", subject=str(number))
    record_event(connection, "factor-removed", actor, now, user=user, factor=number)
