"""The JSON API at ``/pypi/<project>/json`` and ``/pypi/<project>/<version>/json``, made from the published page."""

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from packaging.version import InvalidVersion, Version

from assay.formats.core_metadata import CoreMetadata, parse_core_metadata
from assay.formats.json_api import files_of, newest_version, render_project_json
from assay.formats.pages import ProjectPage, versions_of
from assay.index.blobs import BlobStore
from assay.index.web.asgi import REVALIDATE, Request, Send
from assay.index.web.pages import ProjectPages, parse_segment
from assay.index.web.representations import VARY_ENCODING, encode, send_encoded, sha256_tag
from assay.model.digests import Sha256
from assay.model.errors import InvalidDistribution, NotFound, StorageUnavailable

MAX_METADATA_BYTES: Final = 4_000_000
_JSON: Final = (b"content-type", b"application/json")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?\Z|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class ProjectJson:
    """Everything under ``/pypi/``."""

    pages: ProjectPages
    blobs: BlobStore
    base_url: str | None = None

    async def answer(self, request: Request, send: Send, segments: list[str]) -> None:
        """Answer GET or HEAD of ``/pypi/`` + ``segments``. Raises NotFound."""
        match segments:
            case [text, "json"] | [text, "json", ""]:
                wanted = None
            case [text, wanted, "json"] | [text, wanted, "json", ""]:
                pass
            case _:
                raise NotFound("no such address")
        page = await self.pages.newest(parse_segment(text))
        body = await asyncio.to_thread(self._render, page, wanted, self.base_url or _base_url(request))
        await send_encoded(request, send, encode(body, sha256_tag(body), _JSON, REVALIDATE, VARY_ENCODING))

    def _render(self, page: ProjectPage, wanted: str | None, base_url: str) -> bytes:
        version = _listed(page, wanted) if wanted is not None else newest_version(page)
        files = files_of(page, version) if version is not None else ()
        if version is None or not files:
            raise NotFound("no such release here", subject=page.project, found=wanted)
        sidecar = next((file.core_metadata for file in files if file.core_metadata), None)
        metadata = self._read_metadata(sidecar) if sidecar is not None else None
        return render_project_json(page, metadata, version, base_url, every_release=wanted is None)

    def _read_metadata(self, sidecar: Sha256) -> CoreMetadata | None:
        """The METADATA of that blob; None where a pulled-through one is not here yet, or is not legal."""
        try:
            with self.blobs.path(sidecar).open("rb") as file:
                data = file.read(MAX_METADATA_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageUnavailable("a published file cannot be read", found=str(error)) from error
        if len(data) > MAX_METADATA_BYTES:
            raise StorageUnavailable("a METADATA file is too large", rule="blob-length", subject=sidecar)
        try:
            return parse_core_metadata(data)
        except InvalidDistribution:
            return None


def _listed(page: ProjectPage, wanted: str) -> str | None:
    """The page's spelling of the version ``wanted`` (PEP 440: 1.0 is 1.0.0)."""
    try:
        version = Version(wanted)
    except InvalidVersion:
        return None
    return next((listed for listed in versions_of(page) if Version(listed) == version), None)


def _base_url(request: Request) -> str:
    """What the client calls us; its own reference where it says nothing sound."""
    host = request.header(b"host") or ""
    return f"{request.scope['scheme']}://{host}/" if _HOST.match(host) else "/"
