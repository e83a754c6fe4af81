"""Who is asking: the API token in ``Authorization`` (RFC 7617, RFC 6750, and the ``token`` scheme of some clients)."""

import base64
import binascii
from typing import Final

from assay.index.web.asgi import Request
from assay.model.errors import NotAllowed

TOKEN_USER: Final = "__token__"  # noqa: S105 - a user name
MAX_CREDENTIALS_CHARS: Final = 1_024


def parse_token(request: Request) -> str:
    """The token that the request carries, not checked yet. Raises NotAllowed, never repeating what was sent."""
    text = request.header(b"authorization")
    if text is None:
        raise NotAllowed(
            "authentication is needed",
            rule="no-credentials",
            next_step=f"use the user name {TOKEN_USER} and an API token as the password",
        )
    if len(text) > MAX_CREDENTIALS_CHARS:
        raise NotAllowed("these credentials are too long", rule="bad-credentials")
    scheme, _, rest = text.partition(" ")
    rest = rest.strip()
    if scheme.lower() == "basic":
        return _basic(rest)
    if scheme.lower() in ("token", "bearer") and rest:
        return rest
    raise NotAllowed(
        "this kind of authentication is not known here", rule="bad-credentials", expected="Basic, Bearer or token"
    )


def _basic(encoded: str) -> str:
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise NotAllowed("the Basic credentials are malformed", rule="bad-credentials") from error
    if not colon or user != TOKEN_USER:
        raise NotAllowed(
            "uploads are authenticated by API tokens, not by passwords",
            rule="token-user",
            expected=f"the user name {TOKEN_USER}",
            next_step=f"use the user name {TOKEN_USER} and an API token as the password",
        )
    return password
