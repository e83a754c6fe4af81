"""TUF metadata at ``/tuf/``: ``timestamp.json``, and every other role under its version (TUF 1.0.34 section 6.2)."""

import re
from typing import Final

from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.web.asgi import IMMUTABLE, REVALIDATE, Request, Send
from assay.index.web.cache import PublishedCache, remember_paths
from assay.index.web.representations import VARY_ENCODING, Encoded, encoded_kind, send_encoded
from assay.model.errors import NotFound

_TIMESTAMP: Final = TIMESTAMP_NAME.removeprefix("tuf/")
_VERSIONED: Final = re.compile(r"[1-9][0-9]{0,9}\.[A-Za-z0-9_.~%-]{1,200}\.json\Z")
"""A version and a percent-encoded role name: no separator can be in it, and it does not begin with a dot."""

_JSON: Final = (b"content-type", b"application/json")
_MUTABLE_KIND: Final = encoded_kind("timestamp", lambda data: data, _JSON, REVALIDATE, VARY_ENCODING)
_VERSIONED_KIND: Final = encoded_kind("versioned", lambda data: data, _JSON, IMMUTABLE, VARY_ENCODING)


class TufMetadata:
    """Everything under ``/tuf/``."""

    def __init__(self, published: PublishedStore, cache: PublishedCache) -> None:
        self._path = remember_paths(published.path)
        self._cache = cache

    def peek(self, name: str) -> Encoded | None:
        """The role's file under ``name`` if it is at hand, else None."""
        kind = _MUTABLE_KIND if name == _TIMESTAMP else _VERSIONED_KIND
        return self._cache.peek(self._path(f"tuf/{name}"), kind)

    async def answer(self, request: Request, send: Send, name: str) -> None:
        """Answer GET or HEAD of ``/tuf/`` + ``name``, as it stands in the URL, not decoded. Raises NotFound."""
        if name == _TIMESTAMP:
            kind = _MUTABLE_KIND
        elif _VERSIONED.match(name):
            kind = _VERSIONED_KIND
        else:
            raise NotFound("no such metadata")
        encoded = await self._cache.get(self._path(f"tuf/{name}"), kind)
        if encoded is None:
            raise NotFound("no such metadata")
        await send_encoded(request, send, encoded)
