"""The catalogue as the published pages state it: a file is where its project's page says it is, or nowhere."""

from dataclasses import dataclass
from typing import Final

from assay.formats.pages import file_url
from assay.index.published import PublishedStore
from assay.index.web.cache import PublishedCache
from assay.index.web.pages import PARSED
from assay.index.web.services import LocatedFile
from assay.model.names import ProjectName

SIDECAR_SUFFIX: Final = ".metadata"


@dataclass(frozen=True, slots=True)
class PublishedCatalogue:
    """A ``Catalogue`` that reads pages: no name is served before it is published, and none that a page disowns."""

    published: PublishedStore
    cache: PublishedCache

    async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
        """See ``Catalogue.locate``; ``.metadata`` is the sidecar's blob (PEP 658)."""
        parsed = await self.cache.get(self.published.path(f"simple/{project}/index.json"), PARSED)
        if parsed is None:
            return None
        plain = filename.removesuffix(SIDECAR_SUFFIX)
        file = parsed.files.get(plain)
        if file is None or file.url != file_url(project, version, plain):
            return None
        if plain == filename:
            return LocatedFile(file.sha256, file.size)
        return LocatedFile(file.core_metadata) if file.core_metadata is not None else None
