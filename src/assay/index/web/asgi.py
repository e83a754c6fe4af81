"""ASGI, typed: one request as a frozen value, and the two ways to answer.

Source: ASGI 3.0, HTTP 2.3. The server may give ``scope["extensions"]["assay.connection"]`` (``web.connection``) with
what ASGI lacks: a reason phrase, and knowing that the client is gone.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CONNECTION: Final = "assay.connection"

NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
NO_STORE: Final = (b"cache-control", b"no-store")
REVALIDATE: Final = (b"cache-control", b"public, max-age=0, must-revalidate")
IMMUTABLE: Final = (b"cache-control", b"public, max-age=31536000, immutable")
HTML_POLICY: Final = (
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


class Connection(Protocol):
    """What our server's connections can do beyond ASGI."""

    def say(self, reason: str) -> None:
        """Make ``reason`` the reason phrase of the response that is about to start."""

    def has_answered(self) -> bool:
        """Whether the response has started: it is too late for another status."""

    async def send_file(self, descriptor: int, start: int, stop: int) -> int:
        """Send the file's bytes from ``start`` to ``stop`` as part of the body, as far as that works without copying.

        Returns where it ended; the rest is to be sent as usual, and the last body message in any case.
        """

    def is_lost(self) -> bool:
        """Whether the client is gone: what is sent from now on goes nowhere."""


class Request(NamedTuple):
    """One HTTP request. ``path`` is decoded and starts with a slash; ``raw_path`` and ``query`` are as they came.

    ``headers``: by lower-case name, several lines joined by commas (RFC 9110 section 5.3).
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    scope: Scope

    def header(self, name: bytes) -> str | None:
        """The field ``name`` (lower case), or None."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else None

    @property
    def connection(self) -> Connection | None:
        """The connection's own abilities, where the server is ours."""
        found: Connection | None = (self.scope.get("extensions") or {}).get(CONNECTION)
        return found


def request_of(scope: Scope) -> Request:
    """The request that an ASGI scope of type ``http`` describes."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return Request(scope["method"], scope["path"], scope["raw_path"], scope["query_string"], headers, scope)


async def respond(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    """Send a whole response; ``content-length`` is added."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_text(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    """Send a line of plain text that nobody may cache."""
    content_type = (b"content-type", b"text/plain; charset=utf-8")
    await respond(send, status, [content_type, NOSNIFF, NO_STORE, *headers], f"{text}\n".encode())


async def redirect(send: Send, request: Request, status: int, location: str) -> None:
    """Send the client to ``location``, a reference relative to the request's path; the query goes along."""
    target = location.encode("ascii") + (b"?" + request.query if request.query else b"")
    await respond_text(send, status, f"moved to {location}", (b"location", target))
