"""Which page type a request to the simple API wants: ``?format=`` first, then ``Accept`` (PEP 691)."""

from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs

from assay.formats.negotiation import PageType, choose_page_type, page_type_of_format
from assay.index.web.asgi import HTML_POLICY, Request, Send
from assay.index.web.errors import respond_not_acceptable

_MAX_QUERY_FIELDS: Final = 16
_MAX_QUERY_BYTES: Final = 1_000
_MAX_REMEMBERED_CHARS: Final = 256
_OFFERED: Final = ", ".join(page_type.value for page_type in PageType)

TAG_SUFFIX: Final = {PageType.JSON: "", PageType.HTML: "-html", PageType.LEGACY_HTML: "-text"}
"""What tells the ETags of one page's types apart; JSON's is the SHA-256 of the page as it was signed."""


def type_headers(page_type: PageType) -> tuple[tuple[bytes, bytes], ...]:
    """``Content-Type``, and for HTML a policy that lets it do nothing."""
    content_type = (b"content-type", page_type.content_type.encode("ascii"))
    return (content_type,) if page_type is PageType.JSON else (content_type, *HTML_POLICY)


async def requested_type(request: Request, send: Send) -> PageType | None:
    """The type to answer with; None where there is none and 406 was sent."""
    wanted = _format_of(request.query) if request.query else None
    page_type = page_type_of_format(wanted) if wanted is not None else accepted_type(request.header(b"accept"))
    if page_type is None:
        await respond_not_acceptable(request, send, _OFFERED)
    return page_type


def _format_of(query: bytes) -> str | None:
    if len(query) > _MAX_QUERY_BYTES:
        return None
    try:
        fields = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return None
    return fields["format"][-1] if "format" in fields else None


_remembered_type = lru_cache(maxsize=512)(choose_page_type)


def accepted_type(accept: str | None) -> PageType | None:
    """The type that an ``Accept`` header wants, None where there is none."""
    if accept is not None and len(accept) > _MAX_REMEMBERED_CHARS:
        return choose_page_type(accept)
    return _remembered_type(accept)
