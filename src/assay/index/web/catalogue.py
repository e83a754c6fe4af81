"""The catalogue as the published pages state it: a file is where its project's page says it is, or nowhere."""

from typing import Final

from assay.formats.pages import file_url
from assay.index.published import PublishedStore
from assay.index.web.cache import PublishedCache, remember_paths
from assay.index.web.pages import PARSED, ParsedPage
from assay.index.web.services import LocatedFile
from assay.model.names import ProjectName
from assay.trust.layout import page_target

SIDECAR_SUFFIX: Final = ".metadata"
SIGNATURE_SUFFIX: Final = ".asc"
PROVENANCE_SUFFIX: Final = ".provenance"
_SUFFIXES: Final = (SIDECAR_SUFFIX, SIGNATURE_SUFFIX, PROVENANCE_SUFFIX)


class PublishedCatalogue:
    """A ``Catalogue`` that reads pages: no name is served before it is published, and none that a page disowns."""

    def __init__(self, published: PublishedStore, cache: PublishedCache) -> None:
        self._path = remember_paths(published.path)
        self._cache = cache

    def peek(self, project: str, version: str, filename: str) -> LocatedFile | None:
        """See ``Catalogue.peek``: only pages that ``locate`` read before are at hand."""
        parsed = self._cache.peek(self._path(f"simple/{project}/index.json"), PARSED)
        return _located(parsed, version, filename) if parsed is not None else None

    async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
        """See ``Catalogue.locate``; the suffixes are the sidecar's (PEP 658), the signature's and the provenance's."""
        parsed = await self._cache.get(self._path(page_target(project)), PARSED)
        return _located(parsed, version, filename) if parsed is not None else None


def _located(parsed: ParsedPage, version: str, filename: str) -> LocatedFile | None:
    suffix = next((suffix for suffix in _SUFFIXES if filename.endswith(suffix)), "")
    plain = filename.removesuffix(suffix)
    file = parsed.files.get(plain)
    if file is None or file.url != file_url(parsed.page.project, version, plain):
        return None
    match suffix:
        case ".metadata":
            return LocatedFile(file.core_metadata) if file.core_metadata is not None else None
        case ".asc":
            return LocatedFile(file.signature.sha256, immutable=False) if file.signature is not None else None
        case ".provenance":
            return LocatedFile(file.provenance.sha256, immutable=False) if file.provenance is not None else None
    return LocatedFile(file.sha256, file.size)
