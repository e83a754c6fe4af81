"""The web as one ASGI application: which address is answered by whom. No framework: every address is hot or trivial.

Invariant: whatever is raised becomes one answer, here; after a response has started, nothing is answered twice.
"""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote

from assay.index.web.access import ReadAccess, keep_private
from assay.index.web.administration import Administration
from assay.index.web.asgi import Headers, Receive, Request, Scope, Send, redirect, request_of
from assay.index.web.authentication import Authentication
from assay.index.web.cache import PublishedCache
from assay.index.web.claims import Claims
from assay.index.web.errors import respond_error, respond_failure, respond_wrong_method
from assay.index.web.files import PackageFiles
from assay.index.web.front import answer_front, answer_health
from assay.index.web.log import LogFiles
from assay.index.web.metadata import TufMetadata
from assay.index.web.pages import ProjectPages, parse_segment
from assay.index.web.project_json import ProjectJson
from assay.index.web.project_list import ProjectList
from assay.index.web.quick import QuickAnswer, QuickAnswers
from assay.index.web.services import WebServices
from assay.index.web.signers import Integrity, SignerFiles
from assay.index.web.trusted_publishing import TrustedPublishing
from assay.index.web.upload import Uploads
from assay.model.errors import AssayError, NotFound

MAX_PATH_BYTES: Final = 2_048
_READS: Final = ("GET", "HEAD")

Answer = Callable[[Request, Send, list[str]], Awaitable[None]]


def build_app(services: WebServices) -> "IndexApplication":
    """The application over ``services``. Its threads end with the ASGI lifespan."""
    return IndexApplication(services)


class IndexApplication:
    """Routes by the first segment of the path."""

    def __init__(self, services: WebServices) -> None:
        cache = PublishedCache(services.cache_bytes)
        self._services = services
        self._authentication = Authentication(services)
        self._uploads = Uploads(services, self._authentication)
        self._pages = ProjectPages(services.published, cache, services.pull_through)
        claim, limits = services.claim, services.upload_limits
        self._claims = Claims(self._authentication, claim, limits) if claim is not None else None
        administer = services.administer
        self._administration = Administration(self._authentication, administer) if administer is not None else None
        self._list = ProjectList(services.list_projects)
        self._files = PackageFiles(services.blobs, services.catalogue, services.pull_through, services.proxied_blobs)
        self._metadata = TufMetadata(services.published, cache)
        self._access = ReadAccess(services.read_access) if services.read_access is not None else None
        self._trusted = TrustedPublishing(services.mint, services.base_url)
        self._json = ProjectJson(self._pages, services.blobs, services.base_url)
        self._quick = QuickAnswers(self._pages, self._metadata, self._files)
        self._reads: dict[str, Answer] = {
            "": self._answer_front,
            "healthz": self._answer_health,
            "simple": self._answer_simple,
            "packages": self._files.answer,
            "tuf": self._answer_tuf,
            "log": LogFiles(services.published, cache).answer,
            "pypi": self._json.answer,
            "integrity": Integrity(self._files).answer,
            "certificates": SignerFiles("certificates", services.published, cache).answer,
            "trust-roots": SignerFiles("trust-roots", services.published, cache).answer,
            "+simple": self._answer_hatch,
            ".well-known": self._trusted.answer_discovery,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's lifespan (ASGI 3.0)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            request = request_of(scope)
            try:
                await self._answer(request, receive, send)
            except AssayError as error:
                _require_unanswered(request, error)
                await respond_error(request, send, error)
            except Exception as failure:  # noqa: BLE001 - the outermost frame
                _require_unanswered(request, failure)
                await respond_failure(request, send, failure)

    def find_quick(self, target: bytes, headers: Headers) -> QuickAnswer | None:
        """``QuickAnswers.find``; of a private index nothing is answered before its token was looked at."""
        return self._quick.find(target, headers) if self._access is None else None

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._uploads.close()
                await self._authentication.close()
                self._quick.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        first, *segments = _segments(request.raw_path)
        if first == "legacy":
            await self._answer_legacy(request, receive, send, segments)
            return
        if first == "_":
            await self._trusted.answer(request, receive, send, segments)
            return
        if first == "admin" and self._administration is not None and len(segments) == 1:
            if request.method == "POST":
                await self._administration.answer(request, receive, send, segments[0])
            else:
                await respond_wrong_method(request, send, "POST")
            return
        if first == "claims" and self._claims is not None and len(segments) == 1:
            if request.method == "POST":
                await self._claims.answer(request, receive, send, parse_segment(segments[0]))
            else:
                await respond_wrong_method(request, send, "POST")
            return
        answer = self._reads.get(first)
        if answer is None:
            raise NotFound("no such address")
        if request.method not in _READS:
            await respond_wrong_method(request, send, *_READS)
        elif self._access is None:
            await answer(request, send, segments)
        else:
            await self._access.require(request, first, segments)
            await answer(request, keep_private(send), segments)

    async def _answer_legacy(self, request: Request, receive: Receive, send: Send, segments: list[str]) -> None:
        match segments:
            case []:
                await redirect(send, request, 308, "legacy/")
            case [""] if request.method == "POST":
                await self._uploads.answer(request, receive, send)
            case [""]:
                await respond_wrong_method(request, send, "POST")
            case ["+simple", *rest] if request.method in _READS:
                await self._answer_hatch(request, send, rest)
            case _:
                raise NotFound("no such address")

    async def _answer_simple(self, request: Request, send: Send, segments: list[str]) -> None:
        if not segments:
            await redirect(send, request, 301, "simple/")
        elif segments == [""]:
            await self._list.answer(request, send)
        else:
            await self._pages.answer(request, send, segments)

    async def _answer_hatch(self, request: Request, send: Send, segments: list[str]) -> None:
        """hatch looks for a project's page below the upload address, at ``+simple/<project>/``."""
        project = parse_segment(segments[0] if segments else "")
        depth = len(_segments(request.raw_path)) - 1
        await redirect(send, request, 301, f"{'../' * depth}simple/{project}/")

    async def _answer_tuf(self, request: Request, send: Send, segments: list[str]) -> None:
        if len(segments) != 1:
            raise NotFound("no such address")
        await self._metadata.answer(request, send, segments[0])

    async def _answer_front(self, request: Request, send: Send, segments: list[str]) -> None:
        _require_end(segments)
        await answer_front(request, send, self._services.root_fingerprint, self._services.notices())

    async def _answer_health(self, request: Request, send: Send, segments: list[str]) -> None:
        _require_end(segments)
        await answer_health(send, self._services.published)


def _segments(raw_path: bytes) -> list[str]:
    """The path's segments without the leading slash, each decoded by itself. Raises NotFound for hostile ones.

    Below ``tuf`` they stay as they are: a published role's file is named with the role's percent-encoding.
    """
    if len(raw_path) > MAX_PATH_BYTES:
        raise NotFound("no such address: it is too long")
    segments = raw_path.decode("latin-1").split("/")[1:]
    if b"%" in raw_path and segments[0] != "tuf":
        segments = [unquote(segment) for segment in segments]
        if any("/" in segment or "\0" in segment for segment in segments):
            raise NotFound("no such address")
    return segments


def _require_end(segments: list[str]) -> None:
    if segments:
        raise NotFound("no such address")


def _require_unanswered(request: Request, error: Exception) -> None:
    """Where a response has started, only the server can make the failure visible: by cutting it off."""
    if request.connection is not None and request.connection.has_answered():
        raise error
