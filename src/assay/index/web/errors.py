"""Errors become statuses here and nowhere else.

Invariants: what the caller may know is said three times, in the reason phrase, the body and, with ``Accept:
application/json``, as a problem document (RFC 9457), because twine shows the reason and uv the body; of the operator's
troubles the caller learns only their kind.
"""

import logging
import re
import secrets
from typing import Any, Final

import orjson

from assay.formats.negotiation import asks_for
from assay.index.web.asgi import NO_STORE, NOSNIFF, Headers, Request, Send, respond
from assay.model.errors import (
    AlreadyExists,
    AssayError,
    CallerError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OperatorError,
    RepositoryError,
    SignerRefused,
    StorageUnavailable,
    TooLarge,
    TooMany,
    TooSlow,
    Unreachable,
    UpstreamChanged,
    UpstreamError,
)

STATUSES: Final[tuple[tuple[type[AssayError], int], ...]] = (
    (NotFound, 404),
    (NotAuthenticated, 401),
    (NotAllowed, 403),
    (TooSlow, 408),
    (AlreadyExists, 409),
    (TooLarge, 413),
    (TooMany, 429),
    (CallerError, 400),
    (RepositoryError, 451),
    (UpstreamChanged, 451),
    (UpstreamError, 502),
    (Unreachable, 504),
    (StorageUnavailable, 507),
    (SignerRefused, 500),
    (OperatorError, 503),
    (AssayError, 500),
)
"""First match wins. 451 is what installers print word for word and do not try again (installers.md)."""

RETRY_AFTER_S: Final = 10
MAX_REASON_CHARS: Final = 400
_NOT_IN_A_REASON: Final = re.compile(r"[^\t\x20-\x7e\xa0-\xff]")
_log = logging.getLogger("assay.web")


def status_of(error: AssayError) -> int:
    """The HTTP status that says what ``error`` says."""
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def reason_phrase(text: str) -> str:
    """``text`` as a reason phrase: one line of latin-1 without control characters, bounded (RFC 9112 section 4)."""
    return _NOT_IN_A_REASON.sub("?", " ".join(text.split())[:MAX_REASON_CHARS])


async def respond_error(request: Request, send: Send, error: AssayError, *headers: tuple[bytes, bytes]) -> None:
    """Answer with the status of ``error`` and its message."""
    status = status_of(error)
    public = error
    if isinstance(error, OperatorError):
        _log.error("%s %s: %s (%s)", request.method, request.path, error, error.rule)
        public = AssayError(error.what, rule=error.rule)
    await _respond(request, send, status, public, headers)


async def respond_failure(request: Request, send: Send, failure: Exception) -> None:
    """Answer 500 to an exception that nobody foresaw; the log has the traceback under the reference that is shown."""
    reference = secrets.token_hex(4)
    _log.error("%s %s failed, reference %s", request.method, request.path, reference, exc_info=failure)
    public = AssayError("internal error", rule="internal", found=f"reference {reference} in the index's log")
    await _respond(request, send, 500, public, ())


async def respond_wrong_method(request: Request, send: Send, *allowed: str) -> None:
    """Answer 405 and say which methods this address knows."""
    listed = ", ".join(allowed)
    public = CallerError("this address does not know the method", expected=listed, found=request.method)
    await _respond(request, send, 405, public, ((b"allow", listed.encode()),))


async def respond_not_acceptable(request: Request, send: Send, offered: str) -> None:
    """Answer 406 and say which media types there are."""
    public = CallerError("no representation has a type that this request accepts", expected=f"one of {offered}")
    await _respond(request, send, 406, public, ((b"vary", b"Accept, Accept-Encoding"),))


async def _respond(
    request: Request, send: Send, status: int, error: AssayError, extra: tuple[tuple[bytes, bytes], ...]
) -> None:
    headers: Headers = [NOSNIFF, NO_STORE, *extra]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="assay", charset="UTF-8"'))
    if status in (429, 503):
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    if asks_for(request.header(b"accept"), "application/json", "application/problem+json"):
        headers.append((b"content-type", b"application/problem+json"))
        body = orjson.dumps(_problem(status, error))
    else:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
        body = "".join(f"{line}\n" for line in (str(error), error.next_step) if line).encode(errors="replace")
    if request.connection is not None:
        request.connection.say(reason_phrase(str(error)))
    await respond(send, status, headers, body)


def _problem(status: int, error: AssayError) -> dict[str, Any]:
    """RFC 9457, without ``title``, which uv would print before the same words in ``detail``; the rest is our own."""
    members: dict[str, str | int | None] = {
        "type": f"urn:assay:refusal:{error.rule}",
        "status": status,
        "detail": ". ".join(filter(None, (str(error), error.next_step))),
        "rule": error.rule,
        "subject": error.subject,
        "expected": error.expected,
        "found": error.found,
        "next_step": error.next_step,
    }
    return {name: _clean(value) for name, value in members.items() if value is not None}


def _clean(value: str | int) -> str | int:
    """JSON has no lone surrogates."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
