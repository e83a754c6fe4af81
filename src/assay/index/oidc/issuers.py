"""The keys of issuers: found by OpenID Connect discovery, fetched over TLS, remembered for an hour.

Invariants: only issuers that the configuration lists are ever asked; an unknown key id makes us ask again, at most once
a minute, so that nobody can make this index hammer an issuer. Source: OpenID Connect Discovery 1.0 section 4, RFC 7517.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import orjson

from assay.fetch import Fetcher
from assay.model.errors import NotAllowed, OperatorError, Unreachable, VerificationFailed

MAX_DOCUMENT_BYTES: Final = 200_000
MAX_KEYS: Final = 100
FRESH_FOR: Final = timedelta(hours=1)
ASK_AGAIN_AFTER: Final = timedelta(minutes=1)
TIMEOUT_S: Final = 10.0
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: Mapping[str | None, jwt.PyJWK]
    fetched: datetime


@dataclass(slots=True)
class IssuerKeys:
    """Keys of the ``accepted`` issuers. ``clock`` gives UTC."""

    accepted: Sequence[str]
    fetcher: Fetcher
    clock: Callable[[], datetime]
    _sets: dict[str, _KeySet] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def find(self, issuer: str, key_id: str | None) -> jwt.PyJWK:
        """The key ``key_id`` of ``issuer``; without an id its only key. Raises NotAllowed, Unreachable."""
        if issuer not in self.accepted:
            raise NotAllowed(
                "this index does not accept identity tokens of this issuer",
                rule="unknown-issuer",
                found=issuer[:200],
                next_step="its operator can add the issuer to [oidc] issuers in config.toml",
            )
        async with self._locks.setdefault(issuer, asyncio.Lock()):
            known = self._sets.get(issuer)
            age = self.clock() - known.fetched if known else FRESH_FOR
            if known is None or age >= FRESH_FOR or (key_id not in known.keys and age >= ASK_AGAIN_AFTER):
                known = _KeySet(await self._fetch(issuer), self.clock())
                self._sets[issuer] = known
        key = known.keys.get(key_id)
        if key is None and key_id is None and len(known.keys) == 1:
            key = next(iter(known.keys.values()))
        if key is None:
            raise NotAllowed(
                "this identity token is refused: its issuer has no such key",
                rule="invalid-token",
                found=str(key_id)[:80],
            )
        return key

    async def _fetch(self, issuer: str) -> Mapping[str | None, jwt.PyJWK]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                discovered = await self._document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                url = discovered.get("jwks_uri")
                if discovered.get("issuer") != issuer or not isinstance(url, str):
                    raise _not_an_issuer(issuer, "a discovery document of this issuer with a jwks_uri")
                found = (await self._document(url)).get("keys")
        except TimeoutError:
            raise Unreachable("the issuer did not answer in time", subject=issuer, rule="issuer-unreachable") from None
        if not isinstance(found, list) or len(found) > MAX_KEYS:
            raise _not_an_issuer(issuer, f"a list of at most {MAX_KEYS} keys")
        return {key.key_id: key for key in map(_readable_key, found) if key is not None}

    async def _document(self, url: str) -> dict[str, Any]:
        require_safe(url)
        reply = await self.fetcher.ask(url, max_bytes=MAX_DOCUMENT_BYTES, headers={"Accept": "application/json"})
        require_safe(reply.url)
        try:
            document = orjson.loads(reply.body)
        except orjson.JSONDecodeError as error:
            raise _not_an_issuer(url, "JSON") from error
        if reply.status != 200 or not isinstance(document, dict):
            raise _not_an_issuer(url, "a JSON object")
        return document


def require_safe(url: str) -> None:
    """Raise OperatorError unless ``url`` is https, or this machine's own (for tests and local issuers)."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise OperatorError("issuers are asked over https only", subject=url[:200], rule="issuer-not-https")


def _readable_key(found: object) -> jwt.PyJWK | None:
    """A signing key that we can use; None for others, which an issuer may have beside them."""
    if not isinstance(found, dict) or found.get("use", "sig") != "sig" or found.get("kty") == "oct":
        return None
    try:
        return jwt.PyJWK(found)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None


def _not_an_issuer(subject: str, expected: str) -> VerificationFailed:
    return VerificationFailed("not an OpenID Connect issuer", subject=subject[:200], rule="issuer", expected=expected)
