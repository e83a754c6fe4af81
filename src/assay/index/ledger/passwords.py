"""Passwords for the web, as argon2id. Never on the way of an upload: there only tokens count.

Source: RFC 9106 section 4, the second recommended option (64 MiB of memory, three passes), as argon2-cffi sets it.
"""

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, select, update

from assay.index.ledger.accounts import require_user
from assay.index.ledger.schema import users
from assay.model.errors import CallerError

MIN_CHARS: Final = 12
MAX_CHARS: Final = 1_000
_HASHER: Final = PasswordHasher()
_NOBODYS: Final = _HASHER.hash("nobody has this password")


def set_password(connection: Connection, user: str, password: str) -> None:
    """Give ``user`` a password. Raises NotFound, CallerError for one that is too short or far too long."""
    require_user(connection, user)
    if not MIN_CHARS <= len(password) <= MAX_CHARS:
        raise CallerError("not a password", rule="password", expected=f"{MIN_CHARS} to {MAX_CHARS} characters")
    connection.execute(update(users).where(users.c.name == user).values(password=_HASHER.hash(password)))


def is_password(connection: Connection, user: str, password: str) -> bool:
    """Whether it is ``user``'s. Takes as long for a user who does not exist or has none."""
    stored = connection.scalar(select(users.c.password).where(users.c.name == user))
    try:
        return _HASHER.verify(stored or _NOBODYS, password[:MAX_CHARS]) and stored is not None
    except (VerificationError, InvalidHashError):
        return False
