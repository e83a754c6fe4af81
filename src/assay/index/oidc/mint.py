"""From an identity token to an upload token: verified, matched with registered publishers, used once.

Invariants: an identity token buys one upload token, ever, also in the seconds of leeway after its expiry; an upload
token lives 15 minutes and reaches exactly the projects whose publisher matched.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_bytes
from typing import Final

from assay.index.ledger import Ledger, accounts, publishers
from assay.index.oidc.issuers import IssuerKeys
from assay.index.oidc.tokens import LEEWAY, IdentityToken, read_unverified, verify_identity_token
from assay.model.errors import NotAllowed

TOKEN_LIFETIME: Final = timedelta(minutes=15)
"""PEP 807: not less than 900 seconds."""


@dataclass(frozen=True, slots=True)
class MintedToken:
    """An upload token (its ``text`` is not in ``repr``) and when it ends (UTC)."""

    text: str
    expires: datetime

    def __repr__(self) -> str:
        return f"MintedToken(expires={self.expires:%Y-%m-%dT%H:%M:%SZ})"


@dataclass(frozen=True, slots=True)
class TokenMint:
    """Mints upload tokens for identity tokens whose audience is ``audience``. ``clock`` gives UTC."""

    audience: str
    issuers: IssuerKeys
    ledger: Ledger
    clock: Callable[[], datetime]

    async def mint(self, text: str) -> MintedToken:
        """An upload token for the identity token ``text``.

        Raises NotAllowed with the rule ``invalid-token``, ``unknown-issuer``, ``reused-token`` or
        ``invalid-publisher``; Unreachable, VerificationFailed and OperatorError where the issuer's keys cannot be had.
        """
        unverified = read_unverified(text)
        key = await self.issuers.find(unverified.issuer, unverified.key_id)
        token = verify_identity_token(unverified, key, unverified.issuer, self.audience, self.clock())
        return await asyncio.to_thread(self._mint, token)

    async def burn(self, text: str) -> None:
        """End an upload token that was minted here; silent about every other text."""
        await asyncio.to_thread(self._burn, text)

    def _mint(self, token: IdentityToken) -> MintedToken:
        now = self.clock()
        with self.ledger.write() as connection:
            matching = publishers.matching(connection, token.issuer, token.claims)
            if not matching:
                raise _no_publisher(token)
            if not publishers.spend(connection, token.id, token.expires + 2 * LEEWAY, now):
                raise NotAllowed(
                    "this identity token was used before",
                    rule="reused-token",
                    next_step="ask the CI system for a new one; if this was not you, look at the run that it names",
                )
            minted = publishers.mint_token(
                connection, matching, token.claims, now, entropy=token_bytes(32), expires=now + TOKEN_LIFETIME
            )
        return MintedToken(minted.text, now + TOKEN_LIFETIME)

    def _burn(self, text: str) -> None:
        now = self.clock()
        with self.ledger.write() as connection:
            try:
                principal = accounts.authenticate(connection, text, now)
            except NotAllowed:
                return
            if principal.publisher is not None:
                accounts.revoke_token(connection, principal.authenticated.removeprefix("token:"), principal.user, now)


def _no_publisher(token: IdentityToken) -> NotAllowed:
    names = ("sub", "repository", "job_workflow_ref", "project_path", "ci_config_ref_uri", "environment", "email")
    shown = ", ".join(f"{name} {str(token.claims[name])[:120]}" for name in names if name in token.claims)
    return NotAllowed(
        "the identity token is valid, but no project has this publisher",
        rule="invalid-publisher",
        found=shown,
        next_step="register it: assay publisher add PROJECT ...",
    )
