"""An organisation with its own Sigstore root, and a log that grows."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner

from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.attest import Issuer, issue_attestation, render_statement, render_trusted_root
from assay.provenance.own_root.certificates import make_authority
from assay.provenance.own_root.log import EMPTY_LOG, LogState
from assay.provenance.sigstore_trust import SigstoreTrust
from provenance.attestation_data import GITHUB

SINCE = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ALICE = SignerIdentity("https://login.example.org", ("alice@example.org",))
WORKFLOW = SignerIdentity(
    issuer="https://git.example.org",
    subjects=("https://git.example.org/org/project//ci.yml@refs/tags/v1",),
    repository="https://git.example.org/org/project",
    repository_id="7",
    owner_id="3",
    build_config="https://git.example.org/org/project//ci.yml@refs/tags/v1",
    ref="refs/tags/v1",
    digest="0" * 40,
)


def make_issuer() -> Issuer:
    root, issuing, certificate_log, log = (CryptoSigner.generate_ecdsa() for _ in range(4))
    serials = (x509.random_serial_number(), x509.random_serial_number())
    authority = make_authority(
        "Example", root, issuing.public_key, now=SINCE, lifetime=timedelta(days=3650), serials=serials
    )
    return Issuer(authority, issuing, certificate_log, log, "log.example.org")


@dataclass
class Organisation:
    issuer: Issuer = field(default_factory=make_issuer)
    state: LogState = EMPTY_LOG

    @property
    def trust(self) -> SigstoreTrust:
        return SigstoreTrust("Example", render_trusted_root(self.issuer, url="https://sig.example.org", since=SINCE))

    def attest(
        self,
        identity: SignerIdentity = ALICE,
        *,
        statement: bytes | None = None,
        now: datetime = NOW,
        issuer: Issuer | None = None,
    ) -> bytes:
        """An attestation of the GitHub sample's file, or of ``statement``; ``issuer`` in the place of the own one."""
        attestation, self.state = issue_attestation(
            issuer or self.issuer,
            self.state,
            statement or render_statement(GITHUB.filename, GITHUB.sha256),
            identity,
            ec.generate_private_key(ec.SECP256R1()),
            now=now,
            serial=x509.random_serial_number(),
        )
        return attestation
