"""The front page, one line for people, and the health check, one word for machines."""

from html import escape

from assay.formats.negotiation import asks_for
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.web.asgi import HTML_POLICY, NO_STORE, NOSNIFF, Request, Send, respond, respond_text
from assay.model.errors import OperatorError


async def answer_front(request: Request, send: Send, root_fingerprint: str) -> None:
    """Name the software and the fingerprint of the trust root that clients should see."""
    line = f"Assay package index. Root of trust: {root_fingerprint}"
    if not asks_for(request.header(b"accept"), "text/html"):
        await respond_text(send, 200, line)
        return
    body = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Assay package index</title></head>\n'
        f'<body><p>{escape(line)}</p><p><a href="simple/">Projects</a></p></body>\n</html>\n'
    )
    content_type = (b"content-type", b"text/html; charset=utf-8")
    await respond(send, 200, [content_type, NOSNIFF, NO_STORE, *HTML_POLICY], body.encode())


async def answer_health(send: Send, published: PublishedStore) -> None:
    """``ok`` where clients find metadata to start from. Raises OperatorError where nothing was published yet."""
    if not published.path(TIMESTAMP_NAME).exists():
        raise OperatorError("nothing is published yet", rule="unpublished")
    await respond_text(send, 200, "ok")
