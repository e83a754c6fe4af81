"""What clients need to verify signatures besides the file: ``/integrity/``, ``/certificates/`` and ``/trust-roots/``.

Invariant: certificates and trust roots are the signer's published files, under names that pages pin; provenance is the
blob that the file's page pins. Source of the Integrity API: PEP 740 and its documentation at the public index.
"""

import re
from typing import Final

from assay.index.published import PublishedStore
from assay.index.web.asgi import IMMUTABLE, Request, Send
from assay.index.web.cache import PublishedCache, remember_paths
from assay.index.web.files import PackageFiles
from assay.index.web.pages import parse_segment
from assay.index.web.representations import VARY_ENCODING, encoded_kind, send_encoded
from assay.model.errors import NotFound

_NAMES: Final = {
    "certificates": re.compile(r"[0-9a-f]{64}\.pgp\Z"),
    "trust-roots": re.compile(r"[0-9a-f]{64}\.json\Z"),
}
_KINDS: Final = {
    "certificates": encoded_kind(
        "certificate", lambda data: data, (b"content-type", b"application/pgp-keys"), IMMUTABLE, VARY_ENCODING
    ),
    "trust-roots": encoded_kind(
        "trust root", lambda data: data, (b"content-type", b"application/json"), IMMUTABLE, VARY_ENCODING
    ),
}


class SignerFiles:
    """Everything under ``/certificates/`` or ``/trust-roots/``: ``folder`` says which."""

    def __init__(self, folder: str, published: PublishedStore, cache: PublishedCache) -> None:
        self._folder = folder
        self._path = remember_paths(published.path)
        self._cache = cache

    async def answer(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET or HEAD of ``/<folder>/`` + project and name. Raises NotFound."""
        match segments:
            case [text, name] if _NAMES[self._folder].match(name) and parse_segment(text) == text:
                path = self._path(f"{self._folder}/{text}/{name}")
            case _:
                raise NotFound("no such address")
        encoded = await self._cache.get(path, _KINDS[self._folder])
        if encoded is None:
            raise NotFound("no such certificate or trust root here", subject=name)
        await send_encoded(request, send, encoded)


class Integrity:
    """``/integrity/<project>/<version>/<filename>/provenance``: the provenance object of a file."""

    def __init__(self, files: PackageFiles) -> None:
        self._files = files

    async def answer(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET or HEAD of ``/integrity/`` + ``segments``. Raises NotFound."""
        match segments:
            case [project, version, filename, "provenance"]:
                await self._files.answer(request, send, [project, version, f"{filename}.provenance"])
            case _:
                raise NotFound("no such address")
