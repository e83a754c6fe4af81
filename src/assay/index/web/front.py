"""The front page, a few lines for people, and the health check, one word for machines."""

from collections.abc import Sequence
from html import escape

from assay.formats.negotiation import asks_for
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.web.asgi import HTML_POLICY, NO_STORE, NOSNIFF, Request, Send, respond, respond_text
from assay.model.errors import OperatorError


async def answer_front(request: Request, send: Send, root_fingerprint: str, notices: Sequence[str]) -> None:
    """Name the software and the fingerprint of the trust root that clients should see, and say what ends soon."""
    lines = [f"Assay package index. Root of trust: {root_fingerprint}", *notices]
    if not asks_for(request.header(b"accept"), "text/html"):
        await respond_text(send, 200, "\n".join(lines))
        return
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    body = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Assay package index</title></head>\n'
        f'<body>{paragraphs}<p><a href="simple/">Projects</a></p></body>\n</html>\n'
    )
    content_type = (b"content-type", b"text/html; charset=utf-8")
    await respond(send, 200, [content_type, NOSNIFF, NO_STORE, *HTML_POLICY], body.encode())


async def answer_health(send: Send, published: PublishedStore) -> None:
    """``ok`` where clients find metadata to start from. Raises OperatorError where nothing was published yet."""
    if not published.path(TIMESTAMP_NAME).exists():
        raise OperatorError("nothing is published yet", rule="unpublished")
    await respond_text(send, 200, "ok")
