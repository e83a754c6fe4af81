"""Issuing attestations: one entry of the log each, checked as every verifier will before it is handed out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from assay.keys.attesting.folder import AuthorityFolder
from assay.model.digests import Sha256
from assay.provenance.attestation_format import parse_attestation
from assay.provenance.attestations import FIRST_SEEN, PUBLISH_V1, VerifiedAttestation, verify_attestation
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.attest import Issuer, issue_attestation, render_statement
from assay.provenance.sigstore_trust import SigstoreTrust
from assay.provenance.slsa import SLSA_V1


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file to attest. ``build``: a SLSA v1 predicate, None for that it was published."""

    filename: str
    sha256: Sha256
    build: dict[str, Any] | None = None

    @property
    def suffix(self) -> str:
        """The end of the attestation's filename beside the file, as twine and uv look for it."""
        return ".publish.attestation" if self.build is None else ".slsa.attestation"


def issue(
    folder: AuthorityFolder,
    issuer: Issuer,
    identity: SignerIdentity,
    wanted: Wanted,
    now: datetime,
    serial: Callable[[], int],
) -> tuple[bytes, VerifiedAttestation]:
    """An attestation of ``wanted`` by ``identity``, whom the caller has checked; durable in the log on return.

    Raises VerificationFailed where what was made does not verify: then nothing was logged.
    """
    predicate = (PUBLISH_V1, None) if wanted.build is None else (SLSA_V1, wanted.build)
    statement = render_statement(wanted.filename, wanted.sha256, *predicate)
    key = ec.generate_private_key(ec.SECP256R1())
    with folder.log_locked() as before:
        attestation, after = issue_attestation(issuer, before, statement, identity, key, now=now, serial=serial())
        verified = verify_attestation(
            parse_attestation(attestation),
            filename=wanted.filename,
            sha256=wanted.sha256,
            publisher=FIRST_SEEN,
            trust=SigstoreTrust("this authority", folder.trusted_root.read_bytes()),
            now=now,
        )
        folder.append(before, after, attestation)
    return attestation, verified
