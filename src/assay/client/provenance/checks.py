"""Who signed a file, held against its project's signed page, before the file is used.

Invariants: what the page says lies beside a file is fetched by its hash and must verify; what the page demands must be
there; the leniencies that policy names are told, never silent. What policy demands besides is judged afterwards, on
the evidence that is returned here (``assay.policy``).
"""

from dataclasses import dataclass
from pathlib import Path

from assay.client.provenance.attestations import AttestationChecks
from assay.client.provenance.context import Checking
from assay.client.provenance.signatures import SignatureChecks
from assay.formats.pages import PageFile, ProjectPage
from assay.provenance.attestations import VerifiedAttestation
from assay.provenance.openpgp import VerifiedSignature


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """What verified beside one file, here and now."""

    signature: VerifiedSignature | None = None
    attestations: tuple[VerifiedAttestation, ...] = ()


class ProvenanceChecks:
    """The checks of one index's files."""

    def __init__(self, checking: Checking) -> None:
        self.openpgp = SignatureChecks(checking)
        self.attesting = AttestationChecks(checking)

    async def check(
        self, page: ProjectPage, entry: PageFile, path: Path, *, unverified: str | None = None
    ) -> FileEvidence:
        """Check who signed the file at ``path``, which is what ``entry`` of ``page`` vouches for.

        ``unverified``: why the index could not bring what the upstream announces. Raises VerificationFailed (with a
        rule of docs/provenance.md), RefusedByPolicy, Unreachable.
        """
        signature = await self.openpgp.check(page, entry, path)
        attestations = await self.attesting.check(page, entry, unverified)
        return FileEvidence(signature, attestations)

    async def attestations(self, page: ProjectPage, entry: PageFile) -> tuple[VerifiedAttestation, ...]:
        """The attestations of a file, verified as at install; the file is not needed."""
        return await self.attesting.check(page, entry)
