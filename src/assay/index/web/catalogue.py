"""The catalogue as the published pages state it: a file is where its project's page says it is, or nowhere."""

from typing import Final

from assay.formats.pages import file_url
from assay.index.published import PublishedStore
from assay.index.web.cache import PublishedCache, remember_paths
from assay.index.web.pages import PARSED
from assay.index.web.services import LocatedFile
from assay.model.names import ProjectName
from assay.trust.layout import page_target

SIDECAR_SUFFIX: Final = ".metadata"


class PublishedCatalogue:
    """A ``Catalogue`` that reads pages: no name is served before it is published, and none that a page disowns."""

    def __init__(self, published: PublishedStore, cache: PublishedCache) -> None:
        self._path = remember_paths(published.path)
        self._cache = cache

    async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
        """See ``Catalogue.locate``; ``.metadata`` is the sidecar's blob (PEP 658)."""
        parsed = await self._cache.get(self._path(page_target(project)), PARSED)
        if parsed is None:
            return None
        plain = filename.removesuffix(SIDECAR_SUFFIX)
        file = parsed.files.get(plain)
        if file is None or file.url != file_url(project, version, plain):
            return None
        if plain == filename:
            return LocatedFile(file.sha256, file.size)
        return LocatedFile(file.core_metadata) if file.core_metadata is not None else None
