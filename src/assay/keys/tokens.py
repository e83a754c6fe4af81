"""PKCS#11 tokens: one open, logged-in session for each token and one lock for each module, for the process's life.

securesystemslib's own signer logs in for every signature (4 ms on a fast token, and a PIN in memory each time); with
the session kept a signature costs well under 1 ms. Invariants: the PIN is sent once for an opened session and never
tried again by itself, because a few wrong ones lock a token; calls into one module never overlap (modules differ in
what they allow); a session is never used after a fork. Needs the extra ``hsm``.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import pkcs11

from assay.keys.passphrase import SecretsProvider
from assay.model.errors import KeyUnavailable

MODULE_VARIABLE = "PYKCS11LIB"
DEFAULT_KEY_NUMBER = 2
R = TypeVar("R")

_LOST_SESSION = (
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.UserNotLoggedIn,
    pkcs11.DeviceRemoved,
    pkcs11.TokenNotPresent,
    pkcs11.KeyHandleInvalid,
    pkcs11.ObjectHandleInvalid,
)
_EXPLAINED: dict[type[Exception], tuple[str, str | None]] = {
    pkcs11.PinIncorrect: ("the PIN is wrong", "count the tries left before another: a token locks after a few"),
    pkcs11.PinLocked: ("the token's PIN is locked", "unlock it with the security officer's PIN"),
    pkcs11.NoSuchToken: ("no such token is present", "plug it in; `pkcs11-tool --list-slots` shows what is there"),
    pkcs11.MultipleTokensReturned: ("more than one token fits", "name the token: ?label=<label>"),
    pkcs11.NoSuchKey: ("the token has no such key", "`pkcs11-tool --list-objects` shows what is there"),
    pkcs11.MultipleObjectsReturned: ("the token has several keys of this number", None),
}


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Where a key lies: the module's path, the token's label (None: the only one present), the key's CKA_ID."""

    module: Path
    label: str | None
    number: int = DEFAULT_KEY_NUMBER

    @property
    def id_bytes(self) -> bytes:
        """The number as CKA_ID."""
        return self.number.to_bytes(max(1, (self.number.bit_length() + 7) // 8), "big")

    @property
    def uri(self) -> str:
        """``hsm:<number>?label=<label>&module=<path>``; the first two are securesystemslib's own form."""
        query = {"label": self.label} if self.label is not None else {}
        return f"hsm:{self.number}?{urlencode({**query, 'module': str(self.module)}, safe='/')}"


def parse_token_uri(uri: str, environ: Mapping[str, str] = os.environ) -> TokenKey:
    """Read ``hsm:[<number>][?label=<label>][&module=<path>]``; without a module ``PYKCS11LIB`` says it.

    Raises KeyUnavailable when it is malformed or names no module.
    """
    where, _, query = uri.removeprefix("hsm:").partition("?")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        number = int(where) if where else DEFAULT_KEY_NUMBER
        if set(options) - {"label", "module"} or number < 0:
            raise ValueError("unknown option or negative number")
    except ValueError as error:
        raise KeyUnavailable("not a token's URI", subject=uri, rule="key-uri", found=str(error)) from error
    module = options.get("module") or environ.get(MODULE_VARIABLE)
    if not module:
        raise KeyUnavailable(
            "no PKCS#11 module is named",
            subject=uri,
            rule="key-uri",
            next_step=f"add &module=<path of the token's .so> to the URI, or set {MODULE_VARIABLE}",
        )
    return TokenKey(Path(module), options.get("label"), number)


class TokenSession:
    """One logged-in session. All use goes through ``call``, which holds the module's lock and mends a lost session."""

    def __init__(self, token: TokenKey, secrets: SecretsProvider) -> None:
        self._token = token
        self.secrets = secrets
        self._lock = module_lock(token.module)
        self._process = os.getpid()
        self._session: pkcs11.Session | None = None

    def call(self, action: Callable[[pkcs11.Session], R]) -> R:
        """``action`` on the session, under the lock; once more on a new session when the old one was lost.

        Raises KeyUnavailable for everything that the token or its module does not do.
        """
        if os.getpid() != self._process:
            raise KeyUnavailable("this token's session belongs to the parent process", subject=self._token.uri)
        with self._lock, token_errors(self._token):
            if self._session is not None:
                try:
                    return action(self._session)
                except _LOST_SESSION:
                    self._drop()
            self._session = self._open()
            return action(self._session)

    def close(self) -> None:
        """Log out. The next call logs in again."""
        with self._lock, token_errors(self._token):
            self._drop()

    def _open(self) -> pkcs11.Session:
        token = find_token(self._token)
        return token.open(rw=False, user_pin=self.secrets("pin"))

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except pkcs11.PKCS11Error:  # it was lost already, which is why it is dropped
                return


# --- the process's modules and sessions ------------------------------------------------------------------------

_LOCKS: dict[Path, threading.RLock] = {}
_SESSIONS: dict[tuple[Path, str | None], TokenSession] = {}
"""PKCS#11 keeps its state by process (a login counts for all sessions of a token), so the registry does too."""


def module_lock(module: Path) -> threading.RLock:
    """The one lock of a module in this process."""
    return _LOCKS.setdefault(module, threading.RLock())


def session_of(token: TokenKey, secrets: SecretsProvider) -> TokenSession:
    """The one session of ``token``'s token in this process; ``secrets`` gives the PIN when it is opened next."""
    with module_lock(token.module):
        if token.label is None:
            with token_errors(token):
                token = replace(token, label=find_token(token).label)
        session = _SESSIONS.setdefault((token.module, token.label), TokenSession(token, secrets))
        session.secrets = secrets
        return session


def find_token(token: TokenKey) -> pkcs11.Token:
    """The token itself. Raises KeyUnavailable, or PKCS#11's own errors inside ``token_errors``."""
    library = pkcs11.lib(str(token.module))
    return library.get_token(token_label=token.label, token_flags=pkcs11.TokenFlag.TOKEN_INITIALIZED)


@contextmanager
def token_errors(token: TokenKey) -> Iterator[None]:
    """PKCS#11's errors as KeyUnavailable naming ``token``."""
    if not token.module.is_absolute():
        raise KeyUnavailable("a PKCS#11 module is named by its absolute path", subject=str(token.module), rule="token")
    if not token.module.is_file():
        raise KeyUnavailable("there is no such PKCS#11 module", subject=str(token.module), rule="token")
    try:
        yield
    except pkcs11.PKCS11Error as error:
        what, next_step = _EXPLAINED.get(type(error), ("the token did not do it", None))
        found = None if type(error) in _EXPLAINED else f"{type(error).__name__}: {error}"
        raise KeyUnavailable(what, subject=token.uri, rule="token", found=found, next_step=next_step) from error
