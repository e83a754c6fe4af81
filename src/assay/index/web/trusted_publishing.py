"""Trusted publishing over HTTP: discovery, audience, minting and burning (PEP 807, and what uv and twine do today).

Invariants: a body is read to its cap at most; every refusal has the members ``message`` and ``errors`` that the clients
print; a minted token is never cached.
"""

import hashlib
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from assay.index.web.asgi import NO_STORE, NOSNIFF, Receive, Request, Send, respond
from assay.index.web.body import ClientLeft, body_chunks
from assay.index.web.errors import respond_wrong_method, status_of
from assay.index.web.services import Mint, UploadLimits
from assay.model.errors import AssayError, CallerError, NotAllowed, NotFound, OperatorError

MAX_BODY_BYTES: Final = 32_768
UPLOAD_PATHS: Final = ("/legacy/", "/legacy")
_LIMITS: Final = UploadLimits(max_seconds=20.0, stall_s=10.0)
_JSON: Final = (b"content-type", b"application/json")
_DISCOVERY_KEYS: Final = frozenset(hashlib.sha256(path.encode()).hexdigest() for path in UPLOAD_PATHS)


class TrustedPublishing:
    """Everything under ``/_/oidc/`` and ``/.well-known/pytp``. ``mint`` None: this index has no trusted publishing."""

    def __init__(self, mint: Mint | None, base_url: str | None) -> None:
        self._mint = mint
        self._base_url = base_url

    async def answer(self, request: Request, receive: Receive, send: Send, segments: list[str]) -> None:
        """Answer a request of ``/_/`` + ``segments``. Raises NotFound."""
        if self._mint is None:
            raise NotFound("this index has no trusted publishing")
        match segments, request.method:
            case ["oidc", "audience"], "GET" | "HEAD":
                await _respond_json(send, 200, {"audience": self._mint.audience})
            case ["oidc", "mint-token"], "POST":
                await self._answer_mint(self._mint, receive, send)
            case ["oidc", "burn-token"], "POST":
                await self._answer_burn(self._mint, receive, send)
            case ["oidc", "audience"], _:
                await respond_wrong_method(request, send, "GET", "HEAD")
            case ["oidc", "mint-token" | "burn-token"], _:
                await respond_wrong_method(request, send, "POST")
            case _:
                raise NotFound("no such address")

    async def answer_discovery(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET of ``/.well-known/`` + ``segments``: the key is in the query, or (first draft) last."""
        match segments:
            case ["pytp"]:
                key = parse_qs(request.query.decode("latin-1")).get("discover", [""])[0]
            case ["pytp", key]:
                pass
            case _:
                raise NotFound("no such address")
        if self._mint is None or key not in _DISCOVERY_KEYS:
            raise NotFound("no trusted publishing for this upload address")
        base = self._base_url or f"{request.scope['scheme']}://{request.header(b'host') or 'localhost'}/"
        endpoints = {"audience-endpoint": "audience", "mint-token-endpoint": "mint-token"}
        await _respond_json(send, 200, {name: f"{base}_/oidc/{last}" for name, last in endpoints.items()})

    async def _answer_mint(self, mint: Mint, receive: Receive, send: Send) -> None:
        try:
            minted = await mint.mint(_token_of(await _read(receive)))
        except ClientLeft:
            return
        except OperatorError:
            raise
        except AssayError as error:
            await _respond_refusal(send, error)
            return
        body = {"success": True, "token": minted.text, "expires": int(minted.expires.timestamp())}
        await _respond_json(send, 200, body)

    async def _answer_burn(self, mint: Mint, receive: Receive, send: Send) -> None:
        """202 whether there was such a token or not, so that nobody learns which."""
        try:
            await mint.burn(_token_of(await _read(receive)))
        except ClientLeft:
            return
        except CallerError as error:
            await _respond_refusal(send, error)
            return
        await _respond_json(send, 202, {})


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    async for chunk in body_chunks(receive, MAX_BODY_BYTES, _LIMITS):
        body += chunk
    return bytes(body)


def _token_of(body: bytes) -> str:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    token = document.get("token") if isinstance(document, dict) else None
    if not isinstance(token, str) or not token:
        raise CallerError(
            "the body is not what it must be", rule="invalid-payload", expected='{"token": "..."} in JSON'
        )
    return token


async def _respond_refusal(send: Send, error: AssayError) -> None:
    """PEP 807's error response. A refused identity token is 422, as the clients know it."""
    status = 422 if isinstance(error, NotAllowed) else status_of(error)
    description = ". ".join(filter(None, (str(error), error.next_step)))
    errors = [{"code": error.rule, "description": description.encode(errors="replace").decode()}]
    await _respond_json(send, status, {"message": "Token request failed", "errors": errors})


async def _respond_json(send: Send, status: int, document: dict[str, Any]) -> None:
    await respond(send, status, [_JSON, NOSNIFF, NO_STORE], orjson.dumps(document))
