"""Requests to answers: every covered page, file and sidecar comes out of the verified source or not at all.

Errors become answers in one place, ``Answers.answer``: 451 with the reason as one line, which pip and uv print before
they stop, and as ``application/problem+json``, whose ``detail`` uv prints too. No refusal is a 5xx: installers retry
those.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final

import orjson
from packaging.version import InvalidVersion, Version

from assay.client.policed import PolicedSource
from assay.client.proxy.location import Location, Origin, parse_authority, parse_location, redact
from assay.client.proxy.passing import Passing
from assay.client.proxy.refusals import Refusals, reason_line
from assay.client.proxy.routes import (
    Covered,
    FileRequest,
    JsonApiRequest,
    PageRequest,
    ProjectListRequest,
    Refused,
    Tunnel,
    not_covered,
    route,
)
from assay.client.proxy.shown import show_page
from assay.client.proxy.streaming import answer_file, file_headers
from assay.formats.negotiation import PageType, choose_page_type
from assay.formats.pages import PageFile, ProjectPage, render_page_json
from assay.http1.serving import Request, Response
from assay.model.distributions import Distribution
from assay.model.errors import AssayError, CallerError, NotFound, OperatorError, RefusedByPolicy
from assay.model.names import ProjectName
from assay.policy.model import Policy

STATUS_REFUSED: Final = 451
MAX_KNOWN_PAGES: Final = 256
MAX_AHEAD: Final = 8
MAX_AHEAD_BYTES: Final = 32_000_000


class Answers:
    """Answers the requests of one run.

    ``clock`` gives the time in UTC. ``hidden`` are the filenames that policy kept off the pages shown.
    """

    def __init__(
        self,
        source: PolicedSource,
        covered: Covered,
        policy: Policy,
        refusals: Refusals,
        passing: Passing,
        clock: Callable[[], datetime],
    ) -> None:
        self._source = source
        self._covered = covered
        self._policy = policy
        self._refusals = refusals
        self._passing = passing
        self._clock = clock
        self._known: OrderedDict[ProjectName, ProjectPage] = OrderedDict()
        self._ahead: set[asyncio.Future[None]] = set()
        self.hidden: dict[str, None] = {}

    async def answer(self, origin: Origin | None, request: Request) -> Response:
        """Answer one request. ``origin``: where the CONNECT led, None for a request in absolute form."""
        url, package = redact(f"{origin or ''}{request.target}"), True
        try:
            origin, path = _target(origin, request)
            accept = request.get("accept") or ""
            allowed = self._policy.allows_host(origin.host)
            found = route(request.method, origin, path, accept, self._covered, host_is_allowed=allowed)
            package = not isinstance(found, Tunnel | ProjectListRequest | Refused) or (
                isinstance(found, Refused) and found.package
            )
            match found:
                case PageRequest():
                    return await self._page(request, found)
                case FileRequest():
                    return await self._file(request, found)
                case JsonApiRequest():
                    return await self._json_api(request, found)
                case ProjectListRequest():
                    raise NotFound("the list of all projects is not answered here", subject=url)
                case Tunnel():
                    return await self._passing.forward(request, origin)
                case Refused():
                    raise _refusal(found)
        except NotFound as error:
            return problem(404, error)
        except AssayError as error:
            self._refusals.record(error, url, self._clock(), package=package)
            return problem(403 if error.rule == "host-not-covered" else STATUS_REFUSED, error)
        except ConnectionError:
            raise  # the child hung up
        except Exception as error:  # noqa: BLE001 - recorded, said to the child, and decides the exit code
            failure = OperatorError("the proxy failed on this request", found=f"{type(error).__name__}: {error}")
            self._refusals.record(failure, url, self._clock(), package=package)
            return problem(500, failure)

    async def _page(self, request: Request, asked: PageRequest) -> Response:
        verified = await self._source.page(asked.project)
        if verified is None:
            raise NotFound("the index vouches that there is no such project", subject=asked.project)
        self._remember(verified.page)
        shown = self._show(verified.page, asked.base)
        page_type = choose_page_type(request.get("accept"))
        if page_type is None:
            return Response(406)
        if page_type is not PageType.JSON:
            from assay.formats.simple_html import render_page_html  # pip and uv ask for JSON

            body = render_page_html(shown)
        else:
            body = verified.data if shown == verified.page else render_page_json(shown)
        return _document(request, body, page_type.content_type)

    async def _json_api(self, request: Request, asked: JsonApiRequest) -> Response:
        from assay.client.proxy.project_json import project_json  # 30 ms that most runs save

        verified = await self._source.page(asked.project)
        page = self._show(verified.page, None) if verified else None
        version = _canonical(asked.version) if asked.version is not None else None
        asks_nonsense = asked.version is not None and version is None
        body = None if page is None or asks_nonsense else await project_json(self._source, page, version)
        if body is None:
            raise NotFound("the index vouches that there is no such release", subject=asked.project)
        return _document(request, body, "application/json")

    async def _file(self, request: Request, asked: FileRequest) -> Response:
        if (earlier := self._refusals.blocking()) is not None:
            return problem(STATUS_REFUSED, _nothing_more(earlier.error))
        distribution, entry = await self._listed(asked)
        if asked.sidecar:
            if entry.core_metadata is None:
                raise NotFound("the index has no metadata beside this file", subject=distribution.filename)
            self._fetch_ahead(distribution, entry)
            body = await self._source.sidecar(distribution)
            headers = file_headers(entry.core_metadata) | {"Content-Type": "text/plain; charset=utf-8"}
            return Response(200, headers, body)
        if request.method == "HEAD":
            return Response(200, file_headers(entry.sha256), length=entry.size)
        return answer_file(request, await self._source.file(distribution))

    def _fetch_ahead(self, distribution: Distribution, entry: PageFile) -> None:
        """Who reads a wheel's metadata mostly wants the wheel next. A failure is said when the file is asked for."""
        if entry.size > MAX_AHEAD_BYTES or len(self._ahead) >= MAX_AHEAD:
            return
        task = asyncio.ensure_future(self._source.bring(distribution))
        self._ahead.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: "asyncio.Future[None]") -> None:
        self._ahead.discard(task)
        if not task.cancelled():
            task.exception()  # it was looked at

    async def close(self) -> None:
        """Fetch nothing more."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)

    async def _listed(self, asked: FileRequest) -> tuple[Distribution, PageFile]:
        """The entry of a verified page that covers the request. Raises NotFound or RefusedByPolicy without one."""
        for distribution in asked.candidates:
            known = self._known.get(distribution.project)
            if known is not None and (entry := _entry(known, distribution, asked)):
                return distribution, entry
            verified = await self._source.page(distribution.project)
            if verified is not None:
                self._remember(verified.page)
                if entry := _entry(verified.page, distribution, asked):
                    return distribution, entry
        if asked.own:
            raise NotFound("the index vouches that there is no such file", subject=asked.candidates[0].filename)
        raise _refusal(not_covered(asked.location.origin, package=True))

    def _remember(self, page: ProjectPage) -> None:
        """Keep a page for the files that are asked for next."""
        self._known[page.project] = page
        self._known.move_to_end(page.project)
        if len(self._known) > MAX_KNOWN_PAGES:
            self._known.popitem(last=False)

    def _show(self, published: ProjectPage, base: Location | None) -> ProjectPage:
        hidden = self._source.hidden(published)
        self.hidden.update(dict.fromkeys(sorted(hidden)))
        return show_page(published, base, self._covered, hidden)


def _target(origin: Origin | None, request: Request) -> tuple[Origin, str]:
    """Where the request leads, and its path without query. Raises RefusedByPolicy when that is ambiguous."""
    target = request.target.partition("#")[0].partition("?")[0]
    try:
        if origin is None:
            scheme, _, rest = target.partition("://")
            authority, slash, path = rest.partition("/")
            if scheme.lower() != "http":
                raise CallerError("only http is asked for without a tunnel", subject=redact(target))
            return parse_authority(authority.rpartition("@")[2], "http"), slash + path
        host = request.get("host") or ""
        if not target.startswith("/") or parse_authority(host, origin.scheme) != origin:
            raise CallerError(f"a request inside the tunnel to {origin} names another place", subject=repr(host[:200]))
    except CallerError as error:
        raise RefusedByPolicy(error.what, rule="malformed-url", subject=error.subject) from error
    return origin, target


def _entry(page: ProjectPage, distribution: Distribution, asked: FileRequest) -> PageFile | None:
    """The entry of ``page`` that covers the request: by name at the index itself, elsewhere by the upstream's URL."""
    entry = page.file(distribution.filename)
    if entry is None or asked.own:
        return entry
    try:
        is_there = entry.upstream_url is not None and parse_location(entry.upstream_url) == asked.location
    except CallerError:
        return None
    return entry if is_there else None


def _canonical(version: str) -> str | None:
    try:
        return str(Version(version))
    except InvalidVersion:
        return None


def _refusal(refused: Refused) -> RefusedByPolicy:
    next_step = None
    if refused.rule == "host-not-covered":
        next_step = "if this host may be used without verification, add it to 'allow_hosts' in assay-policy.toml"
    return RefusedByPolicy(refused.reason, rule=refused.rule, next_step=next_step)


def _nothing_more(earlier: AssayError) -> RefusedByPolicy:
    return RefusedByPolicy(f"no file is handed out after a refusal: {earlier}", rule="after-refusal")


def _document(request: Request, body: bytes, content_type: str) -> Response:
    """A page or JSON document: always asked for again (ETag). Not compressed: it stays on this machine."""
    digest = hashlib.sha256(body).hexdigest()[:32]
    headers = {
        "Content-Type": content_type,
        "Cache-Control": "max-age=0",
        "ETag": f'W/"{digest}"',
        "Vary": "Accept",
    }
    known = request.get("if-none-match") or ""
    if digest in known or known.strip() == "*":
        return Response(304, headers)
    return Response(200, headers, body)


def problem(status: int, error: AssayError) -> Response:
    """``error`` as an answer (RFC 9457). The reason phrase is what pip shows, ``detail`` what uv shows."""
    line = reason_line(error)
    document = {
        "type": "about:blank",
        "title": "refused by assay",
        "status": status,
        "detail": line,
        "rule": error.rule,
    }
    headers = {"Cache-Control": "no-store", "Content-Type": "application/problem+json"}
    return Response(status, headers, orjson.dumps(document), reason=line)
