"""The list of all projects at ``/simple/`` (PEP 503, 691), rendered at most once a second however many ask."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from assay.formats.negotiation import PageType
from assay.formats.simple_html import render_project_list_html, render_project_list_json
from assay.index.web.asgi import REVALIDATE, Request, Send
from assay.index.web.page_types import TAG_SUFFIX, requested_type, type_headers
from assay.index.web.representations import VARY_TYPE_AND_ENCODING, Encoded, encode, send_encoded, sha256_tag
from assay.model.names import ProjectName

_MAX_AGE_S: Final = 1.0

Rendered = dict[PageType, Encoded]


@dataclass(slots=True)
class ProjectList:
    """``list_projects`` blocks and is called in a thread, one call at a time."""

    list_projects: Callable[[], Sequence[ProjectName]]
    _rendering: "asyncio.Task[Rendered] | None" = None
    _started: float = 0.0

    async def answer(self, request: Request, send: Send) -> None:
        """Answer GET or HEAD of ``/simple/``."""
        page_type = await requested_type(request, send)
        if page_type is not None:
            rendered = await asyncio.shield(self._newest())
            await send_encoded(request, send, rendered[page_type])

    def _newest(self) -> "asyncio.Task[Rendered]":
        now = asyncio.get_running_loop().time()
        task = self._rendering
        if task is None or (task.done() and (now - self._started > _MAX_AGE_S or task.exception() is not None)):
            task = asyncio.create_task(asyncio.to_thread(self._render))
            self._rendering, self._started = task, now
        return task

    def _render(self) -> Rendered:
        projects = self.list_projects()
        html, json = render_project_list_html(projects), render_project_list_json(projects)
        tag = sha256_tag(json)
        return {
            page_type: encode(
                json if page_type is PageType.JSON else html,
                tag + TAG_SUFFIX[page_type],
                *type_headers(page_type),
                REVALIDATE,
                VARY_TYPE_AND_ENCODING,
            )
            for page_type in PageType
        }
