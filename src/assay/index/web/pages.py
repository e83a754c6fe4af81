"""Project pages in three types (PEP 503, 691), and the page as a TUF target.

Invariant: whatever its type, a page is made from the bytes that the signer published; JSON is those bytes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from assay.formats.negotiation import PageType
from assay.formats.pages import PageFile, ProjectPage, parse_page_json
from assay.formats.simple_html import render_page_html
from assay.index.published import PublishedStore
from assay.index.web.asgi import IMMUTABLE, REVALIDATE, Request, Send, redirect
from assay.index.web.cache import Kind, PublishedCache, remember_paths
from assay.index.web.page_types import TAG_SUFFIX, accepted_type, requested_type, type_headers
from assay.index.web.representations import (
    VARY_ENCODING,
    VARY_TYPE_AND_ENCODING,
    Encoded,
    encoded_kind,
    send_encoded,
)
from assay.index.web.services import PullThrough
from assay.model.errors import InvalidName, NotFound
from assay.model.names import ProjectName, parse_project_name
from assay.trust.layout import page_target

_HASHED_NAME: Final = re.compile(r"[0-9a-f]{64}\.index\.json\Z")
_PARSED_COST_FACTOR: Final = 4
"""Bytes that a parsed page takes in memory per byte of its JSON, roughly."""


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """A page as a value, and its ``files`` by filename. ``size``: length of its JSON in bytes."""

    page: ProjectPage
    files: Mapping[str, PageFile]
    size: int


def _parse(data: bytes) -> ParsedPage:
    page = parse_page_json(data)
    return ParsedPage(page, {file.filename: file for file in page.files}, len(data))


PARSED: Final = Kind("parsed", _parse, lambda parsed: _PARSED_COST_FACTOR * parsed.size)


def _plain(data: bytes) -> bytes:
    return data


def _html(data: bytes) -> bytes:
    return render_page_html(parse_page_json(data))


def _page_kind(page_type: PageType) -> Kind[Encoded]:
    render = _plain if page_type is PageType.JSON else _html
    headers = (*type_headers(page_type), REVALIDATE, VARY_TYPE_AND_ENCODING)
    return encoded_kind(f"page {page_type.value}", render, *headers, tag_suffix=TAG_SUFFIX[page_type])


_PAGE: Final = {page_type: _page_kind(page_type) for page_type in PageType}
_POINTER: Final = encoded_kind("pointer", _plain, *type_headers(PageType.JSON), REVALIDATE, VARY_ENCODING)
_HASHED: Final = encoded_kind("hashed", _plain, *type_headers(PageType.JSON), IMMUTABLE, VARY_ENCODING)


def parse_segment(segment: str) -> ProjectName:
    """The project that a URL's segment names. Raises NotFound for what is no project name."""
    try:
        return parse_project_name(segment)
    except InvalidName as error:
        raise NotFound("no such project: this is no project name", found=error.subject) from error


class ProjectPages:
    """Everything under ``/simple/<project>``."""

    def __init__(
        self, published: PublishedStore, cache: PublishedCache, pull_through: PullThrough | None = None
    ) -> None:
        self._path = remember_paths(published.path)
        self._cache = cache
        self._pull_through = pull_through

    async def newest(self, project: ProjectName) -> ProjectPage:
        """The newest published page of ``project``, brought in where an upstream has it. Raises NotFound."""
        await self._bring_in(project)
        parsed = await self._cache.get(self._pointer(project), PARSED)
        if parsed is None:
            raise _no_page(project)
        return parsed.page

    def peek(self, project: str, accept: str | None) -> Encoded | None:
        """The newest page for a client that accepts ``accept``, if it is at hand and nobody need be asked; else None.

        ``project`` may be any text: only pages that ``answer_page`` gave before are at hand.
        """
        page_type = accepted_type(accept)
        if page_type is None:
            return None
        path = self._path(f"simple/{project}/index.json")
        if self._pull_through is not None:
            parsed = self._cache.peek(path, PARSED)
            if parsed is None or (
                parsed.page.origin == "upstream" and not self._pull_through.is_fresh(parsed.page.project)
            ):
                return None
        return self._cache.peek(path, _PAGE[page_type])

    async def answer_page(self, request: Request, send: Send, project: ProjectName) -> None:
        """Answer with the newest page in the type that the request wants. Raises NotFound."""
        page_type = await requested_type(request, send)
        if page_type is None:
            return
        await self._bring_in(project)
        encoded = await self._cache.get(self._pointer(project), _PAGE[page_type])
        if encoded is None:
            raise _no_page(project)
        await send_encoded(request, send, encoded)

    async def answer_target(self, request: Request, send: Send, project: ProjectName, name: str) -> None:
        """Answer with the page's bytes under the plain name of its target, or under a hashed one. Raises NotFound."""
        if name == "index.json":
            await self._bring_in(project)
            encoded = await self._cache.get(self._pointer(project), _POINTER)
        elif _HASHED_NAME.match(name):
            encoded = await self._cache.get(self._path(f"simple/{project}/{name}"), _HASHED)
        else:
            raise NotFound("no such address")
        if encoded is None:
            raise _no_page(project)
        await send_encoded(request, send, encoded)

    async def answer(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET or HEAD of ``/simple/`` + ``segments``. Raises NotFound."""
        project = parse_segment(segments[0])
        match segments:
            case [_]:
                await redirect(send, request, 301, f"{project}/")
            case [text, ""] if text != project:
                await redirect(send, request, 301, f"../{project}/")
            case [_, ""]:
                await self.answer_page(request, send, project)
            case [text, name] if text == project:
                await self.answer_target(request, send, project, name)
            case _:
                raise NotFound("no such address")

    async def _bring_in(self, project: ProjectName) -> None:
        """Let the upstream be asked, for a page that is not there or came from it."""
        if self._pull_through is None:
            return
        parsed = await self._cache.get(self._pointer(project), PARSED)
        if parsed is None or parsed.page.origin == "upstream":
            await self._pull_through.fetch_page(project)

    def _pointer(self, project: ProjectName) -> str:
        return self._path(page_target(project))


def _no_page(project: ProjectName) -> NotFound:
    return NotFound("no such project here", subject=project)
