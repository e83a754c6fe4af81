"""The list of all projects at ``/simple/`` (PEP 503, 691), rendered now and then however many ask.

Invariant: rendering takes at most a twentieth of the time. A small index has a list of a second ago; that of 700,000
projects, which takes seconds to write, a minute or two.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from assay.formats.negotiation import PageType
from assay.formats.simple_html import render_project_list_html, render_project_list_json
from assay.index.web.asgi import REVALIDATE, Request, Send
from assay.index.web.page_types import TAG_SUFFIX, requested_type, type_headers
from assay.index.web.representations import VARY_TYPE_AND_ENCODING, Encoded, encode, send_encoded, sha256_tag
from assay.model.names import ProjectName

_MIN_AGE_S: Final = 1.0
_REST: Final = 20.0


@dataclass(frozen=True, slots=True)
class _Rendered:
    """``good_until``: on the monotonic clock."""

    encoded: Encoded
    good_until: float


@dataclass(slots=True)
class ProjectList:
    """``list_projects`` blocks and is called in a thread, once at a time for each type of page that is asked for."""

    list_projects: Callable[[], Sequence[ProjectName]]
    _rendering: "dict[PageType, asyncio.Task[_Rendered]]" = field(default_factory=dict)

    async def answer(self, request: Request, send: Send) -> None:
        """Answer GET or HEAD of ``/simple/``."""
        page_type = await requested_type(request, send)
        if page_type is not None:
            rendered = await asyncio.shield(self._newest(page_type))
            await send_encoded(request, send, rendered.encoded)

    def _newest(self, page_type: PageType) -> "asyncio.Task[_Rendered]":
        task = self._rendering.get(page_type)
        if task is None or (task.done() and not _is_good(task)):
            task = asyncio.create_task(asyncio.to_thread(self._render, page_type))
            self._rendering[page_type] = task
        return task

    def _render(self, page_type: PageType) -> _Rendered:
        started = time.monotonic()
        render = render_project_list_json if page_type is PageType.JSON else render_project_list_html
        body = render(self.list_projects())
        headers = (*type_headers(page_type), REVALIDATE, VARY_TYPE_AND_ENCODING)
        encoded = encode(body, sha256_tag(body) + TAG_SUFFIX[page_type], *headers)
        now = time.monotonic()
        return _Rendered(encoded, max(started + _MIN_AGE_S, now + _REST * (now - started)))


def _is_good(task: "asyncio.Task[_Rendered]") -> bool:
    return not task.cancelled() and task.exception() is None and time.monotonic() < task.result().good_until
