"""What the proxy needs of an index: the one interface behind which verification happens.

``assay.client.trusted_index.TrustedIndex`` is the implementation that users run; the tests have another in memory.
Everything that comes out of it is verified, or it raises.
"""

from typing import TYPE_CHECKING, Protocol

from assay.model.distributions import Distribution
from assay.model.names import ProjectName
from assay.trust.layout import TargetPath

if TYPE_CHECKING:
    from assay.client.trusted_index import VerifiedFile, VerifiedPage


class VerifiedSource(Protocol):
    """An index whose every answer was verified.

    The methods raise RepositoryError (not what was vouched for, or not fresh), Unreachable, UpstreamError or NotFound.
    They may be called concurrently from one event loop.
    """

    @property
    def url(self) -> str:
        """Base URL of the index; its simple API is at ``<url>/simple/``."""

    async def refresh(self) -> None:
        """Bring the trusted metadata up to date."""

    async def taken_down(self) -> list[TargetPath]:
        """The files that must never be installed again, whoever has them."""

    async def page(self, project: ProjectName) -> "VerifiedPage | None":
        """The page of ``project``; None when the index vouches that there is no such project."""

    async def file(self, distribution: Distribution) -> "VerifiedFile":
        """The file, downloaded whole and verified, in a folder that nobody else writes to."""

    async def sidecar(self, distribution: Distribution) -> bytes:
        """The METADATA of a wheel (PEP 658), verified."""
