"""Verifying an identity token (JWT): signature, issuer, audience, times. Pure: the keys and the moment are parameters.

Invariants: only asymmetric algorithms; ``exp`` and ``iat`` must be there, ``nbf`` counts where it is; the audience is
this index's and no other beside it. Sources: RFC 7519, RFC 8725, OpenID Connect Core 1.0 section 3.1.3.7.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from jwt.types import Options

from assay.model.errors import NotAllowed

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY: Final = timedelta(seconds=30)
MAX_LIFETIME: Final = timedelta(hours=24)
MAX_TOKEN_CHARS: Final = 16_384
_OURSELVES: Final[Options] = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""PyJWT reads the clock by itself; what it would check, ``verify_identity_token`` checks at a given moment."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of who signed it, to find the key. Nothing of it may be believed."""

    text: str
    issuer: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """A verified token. ``id``: SHA-256 that no other token has; ``expires`` in UTC, without leeway."""

    issuer: str
    claims: Mapping[str, Any]
    id: str
    expires: datetime


def read_unverified(text: str) -> UnverifiedToken:
    """Who claims to have signed ``text``. Raises NotAllowed (``invalid-token``) where it is no signed JWT."""
    if len(text) > MAX_TOKEN_CHARS:
        raise _invalid("longer than any identity token", f"{len(text)} characters")
    try:
        header = jwt.get_unverified_header(text)
        claims = jwt.decode(text, options={**_OURSELVES, "verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _invalid("not a JSON web token", str(error)[:200]) from error
    issuer, key_id = claims.get("iss"), header.get("kid")
    if header.get("alg") not in ALGORITHMS:
        raise _invalid("signed with an algorithm that is not accepted", str(header.get("alg"))[:40])
    if not isinstance(issuer, str) or not isinstance(key_id, str | None):
        raise _invalid("without an issuer", repr(issuer)[:200])
    return UnverifiedToken(text, issuer, key_id)


def verify_identity_token(
    token: UnverifiedToken, key: jwt.PyJWK, issuer: str, audience: str, now: datetime
) -> IdentityToken:
    """The token, verified with ``key`` of ``issuer`` at ``now`` (UTC). Raises NotAllowed (``invalid-token``)."""
    try:
        claims = jwt.decode(token.text, key, algorithms=list(ALGORITHMS), options=_OURSELVES)
    except (jwt.PyJWTError, ValueError) as error:
        raise _invalid("the signature does not verify", str(error)[:200]) from error
    if claims.get("iss") != issuer:
        raise _invalid("from another issuer", str(claims.get("iss"))[:200], issuer)
    if claims.get("aud") not in (audience, [audience]):
        raise _invalid("meant for somebody else", str(claims.get("aud"))[:200], f"audience {audience}")
    expires = _require_times(claims, now)
    named = claims.get("jti")
    unique = f"jti\0{issuer}\0{named}" if isinstance(named, str) and named else f"signed\0{_signing_input(token.text)}"
    return IdentityToken(issuer, claims, hashlib.sha256(unique.encode()).hexdigest(), expires)


def _require_times(claims: Mapping[str, Any], now: datetime) -> datetime:
    issued, expires = _moment(claims, "iat"), _moment(claims, "exp")
    begins = _moment(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + LEEWAY:
        raise _invalid("expired", f"{expires:%Y-%m-%d %H:%M:%S} UTC", f"later than {now:%Y-%m-%d %H:%M:%S} UTC")
    if max(issued, begins) > now + LEEWAY:
        raise _invalid("not valid yet", f"{max(issued, begins):%Y-%m-%d %H:%M:%S} UTC")
    if expires - issued > MAX_LIFETIME:
        raise _invalid("valid for too long", f"{expires - issued}", f"at most {MAX_LIFETIME}")
    return expires


def _moment(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    raise _invalid(f"without a readable {name}", repr(value)[:40])


def _signing_input(text: str) -> str:
    """Header and claims without the signature: some algorithms have several signatures of the same text."""
    return text.rpartition(".")[0]


def _invalid(what: str, found: str, expected: str | None = None) -> NotAllowed:
    return NotAllowed(f"this identity token is refused: {what}", rule="invalid-token", found=found, expected=expected)
