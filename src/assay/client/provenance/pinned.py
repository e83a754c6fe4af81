"""Small files that a signed page pins by their SHA-256: signatures, provenance, certificates, trust roots.

Invariant: nothing is returned whose hash is not the pinned one; a kept copy is hashed again at each use.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from assay import durable
from assay.fetch import Fetcher
from assay.formats.pages import PageFile, version_of
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import VerificationFailed
from assay.model.names import ProjectName
from assay.model.signers import Attached


@dataclass(frozen=True, slots=True)
class PinnedFiles:
    """The pinned files of the index at ``url``, kept in ``folder`` under their hashes."""

    url: str
    fetcher: Fetcher
    folder: Path

    async def beside(self, project: ProjectName, entry: PageFile, suffix: str, pin: Attached, max_bytes: int) -> bytes:
        """What lies at the file's URL + ``suffix``, as its page pins it. Raises VerificationFailed, Unreachable."""
        path = f"packages/{project}/{version_of(project, entry)}/{entry.filename}{suffix}"
        return await self.published(path, pin.sha256, max_bytes)

    async def published(self, name: str, sha256: Sha256, max_bytes: int) -> bytes:
        """The file ``name`` below the index's URL, whose hash must be ``sha256``."""
        kept = await asyncio.to_thread(self._kept, sha256)
        if kept is not None:
            return kept
        data = await self.fetcher.get(self.url + name, max_bytes=max_bytes)
        if data is None or sha256_of(data) != sha256:
            raise VerificationFailed(
                "what the signed page pins is not what the index serves",
                subject=name,
                rule="pinned-hash",
                expected=f"sha256 {sha256}",
                found=f"sha256 {sha256_of(data)}" if data is not None else "status 404",
                next_step="do not install the file; tell the index's operator",
            )
        await asyncio.to_thread(self._keep, sha256, data)
        return data

    async def bring(self, project: ProjectName, entry: PageFile, max_bytes: int) -> bool:
        """Ask the index to fetch the upstream's provenance of a file. False: it has none.

        Raises Unreachable, with the rule ``fetch.SERVER_REFUSED`` where the index refuses what it got.
        """
        path = f"packages/{project}/{version_of(project, entry)}/{entry.filename}.provenance"
        return await self.fetcher.get(self.url + path, max_bytes=max_bytes) is not None

    def _kept(self, sha256: Sha256) -> bytes | None:
        try:
            data = (self.folder / sha256).read_bytes()
        except FileNotFoundError:
            return None
        return data if sha256_of(data) == sha256 else None

    def _keep(self, sha256: Sha256, data: bytes) -> None:
        durable.make_folder(self.folder, mode=0o700)
        durable.replace_file(self.folder / sha256, data)
