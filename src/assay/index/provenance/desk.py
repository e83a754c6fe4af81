"""Where an upload's signature and attestations are checked, and stored as what will lie beside its file.

Invariant: whatever came with an upload verified against the signers of the project's published page, or the upload is
refused with the rule that refused it. The signer checks all of it again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assay.formats.pages import ProjectPage, parse_page_json
from assay.index.blobs import BlobStore
from assay.index.provenance.attach import Attach
from assay.index.provenance.evidence import Evidence, ProjectSigners, Subject, vouched_by
from assay.index.provenance.moments import page_moment
from assay.index.published import PublishedStore
from assay.model.digests import Sha256
from assay.model.distributions import Distribution
from assay.model.errors import InvalidUpload, VerificationFailed
from assay.model.names import ProjectName
from assay.model.signers import NO_SIGNERS, Attached
from assay.provenance.attestation_format import parse_attestations
from assay.provenance.integrity import render_provenance
from assay.trust.layout import page_target


@dataclass(frozen=True, slots=True)
class Accompanied:
    """What verified beside an uploaded file, and the blobs that hold it; None where nothing came."""

    evidence: Evidence
    signature: Sha256 | None
    provenance: Sha256 | None

    @property
    def custom(self) -> dict[str, list[str]]:
        """Who signed, for the ``custom`` of the file's target."""
        return vouched_by(self.evidence)


@dataclass(frozen=True, slots=True)
class EvidenceDesk:
    """Checks what comes with uploads against the published pages."""

    blobs: BlobStore
    published: PublishedStore

    def check(
        self,
        distribution: Distribution,
        sha256: Sha256,
        path: Path,
        *,
        signature: bytes | None,
        attestations: str | None,
        now: datetime,
        complete: bool = True,
    ) -> Accompanied:
        """Check and store what came with the file at ``path``; with ``complete``, also that nothing is missing.

        Raises InvalidUpload with the rule of docs/provenance.md, OperatorError where the libraries are not installed.
        """
        page = self.page(distribution.project)
        signers = ProjectSigners(distribution.project, page.signers if page else NO_SIGNERS, self.published.read)
        came = page_moment(page, now) if page else now
        with _as_refused_upload(distribution.filename):
            if complete:
                signed, attested = signature is not None, attestations is not None
                signers.require(distribution.filename, came, signed=signed, attested=attested)
            evidence = signers.verify(
                Subject(distribution.filename, sha256, path),
                signature=signature,
                attestations=parse_attestations(attestations.encode()) if attestations is not None else (),
                came=came,
                now=came,
            )
            provenance = render_provenance(evidence.attestations) if evidence.attestations else None
        return Accompanied(
            evidence,
            self.blobs.store_bytes(signature) if signature is not None else None,
            self.blobs.store_bytes(provenance) if provenance is not None else None,
        )

    def attach(self, distribution: Distribution, came: Accompanied) -> Attach | None:
        """The proposal to put ``came`` beside the published file; None where it is there already."""
        page = self.page(distribution.project)
        entry = page.file(distribution.filename) if page else None
        signature = _news(came.signature, entry.signature if entry else None)
        provenance = _news(came.provenance, entry.provenance if entry else None)
        if signature is None and provenance is None:
            return None
        return Attach(distribution.project, distribution.filename, signature, provenance)

    def page(self, project: ProjectName) -> ProjectPage | None:
        """The published page of ``project``."""
        data = self.published.read(page_target(project))
        return parse_page_json(data) if data is not None else None


def _news(came: Sha256 | None, there: Attached | None) -> Sha256 | None:
    return None if there is not None and there.sha256 == came else came


@contextmanager
def _as_refused_upload(filename: str) -> Iterator[None]:
    """Evidence that does not verify is the uploader's fault, not the repository's."""
    try:
        yield
    except VerificationFailed as error:
        raise InvalidUpload(
            error.what,
            subject=error.subject or filename,
            rule=error.rule,
            expected=error.expected,
            found=error.found,
            next_step=error.next_step,
        ) from error
