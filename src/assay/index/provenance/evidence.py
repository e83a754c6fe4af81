"""Signatures and attestations of a file held against its project's signers: at admission, and again by the signer.

Invariants: what is there must verify, and what the project demands must be there; nothing is dropped in silence. The
signers are those of the signed page, never the ledger's or the upload's own word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from assay.index.provenance.registry import Read, certificate_name, read_pinned, root_name
from assay.model.digests import Sha256
from assay.model.errors import Reading, VerificationFailed
from assay.model.names import ProjectName
from assay.model.signers import RegisteredPublisher, Signers
from assay.provenance.attestation_format import Attestation
from assay.provenance.attestations import VerifiedAttestation
from assay.provenance.expected import (
    ExpectedCertificate,
    ExpectedPublisher,
    verify_expected_attestations,
    verify_expected_signature,
)
from assay.provenance.openpgp import VerifiedSignature, parse_certificate
from assay.provenance.publishers import describe_publisher, parse_publisher
from assay.provenance.sigstore_trust import SigstoreTrust, bundled_trust


@dataclass(frozen=True, slots=True)
class Subject:
    """The file that evidence speaks of. ``path``: its bytes, None where only their digest is known."""

    filename: str
    sha256: Sha256
    path: Path | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What verified beside one file."""

    signature: VerifiedSignature | None = None
    attestations: tuple[VerifiedAttestation, ...] = ()

    @property
    def signed_by(self) -> tuple[str, ...]:
        """The certificate that signed, by its fingerprint."""
        return (self.signature.certificate,) if self.signature else ()

    @property
    def attested_by(self) -> tuple[str, ...]:
        """Who attested, for people to read, each once."""
        return tuple(dict.fromkeys(describe_publisher(each.publisher) for each in self.attestations))


def vouched_by(evidence: Evidence) -> dict[str, list[str]]:
    """Who signed, as the ``custom`` of a file's target says it."""
    named = {"signed_by": list(evidence.signed_by), "attested_by": list(evidence.attested_by)}
    return {name: who for name, who in named.items() if who}


class ProjectSigners:
    """The signers of one project, with their certificates and trust roots as ``read`` gives the published files."""

    def __init__(self, project: ProjectName, signers: Signers, read: Read) -> None:
        self._project = project
        self._signers = signers
        self._read = read

    def verify(
        self,
        subject: Subject,
        *,
        signature: bytes | None,
        attestations: Sequence[Attestation],
        came: datetime,
        now: datetime,
    ) -> Evidence:
        """Check what lies beside ``subject`` and ``came`` to the index then. Nothing there: nothing is checked.

        Raises VerificationFailed with the rule that refused; OperatorError where the libraries are not installed.
        """
        verified = None
        if signature is not None and subject.path is not None:
            verified = verify_expected_signature(signature, subject.path, self.certificates(), came=came, now=now)
        attested: tuple[VerifiedAttestation, ...] = ()
        if attestations:
            attested = verify_expected_attestations(
                attestations,
                self.publishers(),
                filename=subject.filename,
                sha256=subject.sha256,
                came=came,
                now=now,
            )
        return Evidence(verified, attested)

    def require(self, filename: str, uploaded: datetime, *, signed: bool, attested: bool) -> None:
        """Refuse a file that lacks what its project demands. Raises VerificationFailed."""
        if not signed and self._signers.demand_signature(uploaded):
            raise VerificationFailed(
                "files of this project must be signed, and this one came without a signature",
                subject=filename,
                rule="signature-missing",
                expected="a signature by " + " or ".join(each.fingerprint for each in self._signers.certificates),
                reading=Reading.EITHER,
                next_step="upload it with its .asc: gpg --armor --detach-sign FILE; twine upload FILE FILE.asc",
            )
        if not attested and self._signers.demand_attestation(uploaded):
            names = (describe(each) for each in self._signers.publishers if not each.first_seen)
            raise VerificationFailed(
                "files of this project must be attested, and this one came without an attestation",
                subject=filename,
                rule="attestation-missing",
                expected="an attestation by " + " or ".join(names),
                reading=Reading.EITHER,
                next_step="publish from the registered publisher, with attestations",
            )

    def certificates(self) -> tuple[ExpectedCertificate, ...]:
        """Every certificate ever registered, with its term."""
        return tuple(
            ExpectedCertificate(
                parse_certificate(read_pinned(certificate_name(self._project, each.sha256), each.sha256, self._read)),
                each.term,
            )
            for each in self._signers.certificates
        )

    def publishers(self) -> tuple[ExpectedPublisher, ...]:
        """Every publisher ever expected, with its term and trust root."""
        return tuple(
            ExpectedPublisher(parse_publisher(dict(each.members)), self._trust(each.root), each.term, each.first_seen)
            for each in self._signers.publishers
        )

    def _trust(self, root: Sha256 | None) -> SigstoreTrust:
        if root is None:
            return bundled_trust()
        return SigstoreTrust(
            f"the own root of {self._project}", read_pinned(root_name(self._project, root), root, self._read)
        )


def describe(registered: RegisteredPublisher) -> str:
    """A registered publisher in one phrase."""
    return describe_publisher(parse_publisher(dict(registered.members)))
