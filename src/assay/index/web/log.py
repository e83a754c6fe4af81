"""The transparency log at ``/log/``: the checkpoint, tiles and entry bundles, as static files (C2SP tlog-tiles)."""

from typing import Final

from assay.index.published import PublishedStore
from assay.index.web.asgi import IMMUTABLE, REVALIDATE, Request, Send
from assay.index.web.cache import PublishedCache, remember_paths
from assay.index.web.representations import VARY_ENCODING, encoded_kind, send_encoded
from assay.model.errors import NotFound
from assay.trust.log.checkpoint import CHECKPOINT
from assay.trust.log.identity import LOG
from assay.trust.log.tiles import parse_tile_path

_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_BINARY: Final = (b"content-type", b"application/octet-stream")
_SHORT: Final = (b"cache-control", b"public, max-age=600")
"""A partial tile never changes, but it goes away once the full one is there."""

_CHECKPOINT_KIND: Final = encoded_kind("checkpoint", lambda data: data, _TEXT, REVALIDATE, VARY_ENCODING)
_FULL_KIND: Final = encoded_kind("full-tile", lambda data: data, _BINARY, IMMUTABLE, VARY_ENCODING)
_PARTIAL_KIND: Final = encoded_kind("partial-tile", lambda data: data, _BINARY, _SHORT, VARY_ENCODING)


class LogFiles:
    """Everything under ``/log/``."""

    def __init__(self, published: PublishedStore, cache: PublishedCache) -> None:
        self._path = remember_paths(published.path)
        self._cache = cache

    async def answer(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET or HEAD of ``/log/`` + ``checkpoint`` or the one spelling of a tile's path. Raises NotFound."""
        path = "/".join(segments)
        if path == CHECKPOINT:
            kind = _CHECKPOINT_KIND
        elif (tile := parse_tile_path(path)) is not None:
            kind = _FULL_KIND if tile.is_full else _PARTIAL_KIND
        else:
            raise NotFound("no such file of the log")
        encoded = await self._cache.get(self._path(f"{LOG}/{path}"), kind)
        if encoded is None:
            raise NotFound("no such file of the log")
        await send_encoded(request, send, encoded)
