"""TUF metadata at ``/tuf/``: ``timestamp.json``, and every other role under its version (TUF 1.0.34 section 6.2)."""

import re
from pathlib import Path
from typing import Final

from assay import durable
from assay.formats.negotiation import accepts_coding
from assay.formats.zstd import available_dictionary, compress, compress_with
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.web.asgi import IMMUTABLE, REVALIDATE, Request, Send
from assay.index.web.cache import Kind, PublishedCache, remember_paths
from assay.index.web.representations import VARY_ENCODING, Encoded, encode_as, encoded_kind, send_encoded, sha256_tag
from assay.model.errors import NotFound

_TIMESTAMP: Final = TIMESTAMP_NAME.removeprefix("tuf/")
_VERSIONED: Final = re.compile(r"([1-9][0-9]{0,9})\.([A-Za-z0-9_.~%-]{1,200}\.json)\Z")
"""A version and a percent-encoded role name: no separator can be in it, and it does not begin with a dot."""

_JSON: Final = (b"content-type", b"application/json")
_MUTABLE_KIND: Final = encoded_kind("timestamp", lambda data: data, _JSON, REVALIDATE, VARY_ENCODING)
_VERSIONED_KIND: Final = encoded_kind("versioned", lambda data: data, _JSON, IMMUTABLE, VARY_ENCODING)

VARY_DICTIONARY: Final = (b"vary", b"Accept-Encoding, Available-Dictionary")
_ZSTD_HEADERS: Final = (_JSON, IMMUTABLE, VARY_DICTIONARY)
_DICTIONARY_ID: Final = re.compile(r'"([1-9][0-9]{0,9})"\Z')
_DICTIONARY_KIND: Final = Kind("dictionary", available_dictionary, len)


class TufMetadata:
    """Everything under ``/tuf/``."""

    def __init__(self, published: PublishedStore, cache: PublishedCache) -> None:
        self._path = remember_paths(published.path)
        self._cache = cache

    def peek(self, name: str, accept_encoding: str | None) -> Encoded | None:
        """The role's file under ``name`` if it is at hand, else None; also None for who takes it as ``zstd``."""
        kind = _MUTABLE_KIND if name == _TIMESTAMP else _VERSIONED_KIND
        if kind is _VERSIONED_KIND and accepts_coding(accept_encoding, "zstd"):
            return None
        return self._cache.peek(self._path(f"tuf/{name}"), kind)

    async def answer(self, request: Request, send: Send, name: str) -> None:
        """Answer GET or HEAD of ``/tuf/`` + ``name``, as it stands in the URL, not decoded. Raises NotFound."""
        if name == _TIMESTAMP:
            kind = _MUTABLE_KIND
        elif _VERSIONED.match(name):
            kind = _VERSIONED_KIND
        else:
            raise NotFound("no such metadata")
        if kind is _VERSIONED_KIND and accepts_coding(request.header(b"accept-encoding"), "zstd"):
            kind = await self._zstd_kind(request, name)
        encoded = await self._cache.get(self._path(f"tuf/{name}"), kind)
        if encoded is None:
            raise NotFound("no such metadata")
        await send_encoded(request, send, encoded)

    async def _zstd_kind(self, request: Request, name: str) -> Kind[Encoded]:
        """How a role's file is packed for a client that takes ``zstd``: if it has an older version, as the difference.

        The client sends back the id that came with that version (RFC 9842 section 2.3): its version number. What it
        sends is looked at before anything is packed, so that nobody has us pack, or keep, the same thing again.
        """
        version, _, role = name.partition(".")
        offer = (b"use-as-dictionary", f'match="/tuf/*.{role}", id="{version}"'.encode())
        whole = Kind("zstd", lambda data: _packed(data, None, offer), _cost)
        known = _DICTIONARY_ID.match(request.header(b"dictionary-id") or "")
        if known is None or not accepts_coding(request.header(b"accept-encoding"), "dcz"):
            return whole
        path = self._path(f"tuf/{known[1]}.{role}")
        digest = await self._cache.get(path, _DICTIONARY_KIND)
        if digest is None or request.header(b"available-dictionary") != digest:
            return whole
        return Kind(f"dcz {digest}", lambda data: _packed(data, durable.read_file(Path(path)), offer), _cost)


def _cost(encoded: Encoded) -> int:
    return encoded.cost


def _packed(data: bytes, dictionary: bytes | None, offer: tuple[bytes, bytes]) -> Encoded:
    headers = (*_ZSTD_HEADERS, offer)
    if dictionary is None:
        return encode_as("zstd", compress(data), sha256_tag(data), *headers)
    return encode_as("dcz", compress_with(dictionary, data), f"{sha256_tag(data)}-{sha256_tag(dictionary)}", *headers)
