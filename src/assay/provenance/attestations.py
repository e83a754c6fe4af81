"""PEP 740 attestations verified offline against a Sigstore root, and bound to one file and one publisher.

Invariants: only ``verify_attestation`` builds a ``VerifiedAttestation``. The publisher that is expected is a
parameter, never taken from what accompanies the attestation. The cryptography (certificate chain, certificate log,
transparency log, signature) is sigstore-python's; subject, digest, predicate and time are checked here. Sources:
PEP 740, in-toto Statement v1, Sigstore bundle v0.3. Every refusal has its own rule (docs/provenance.md).
"""

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)

from assay.model.digests import Sha256
from assay.model.distributions import SDIST_SUFFIXES
from assay.model.errors import Reading, VerificationFailed
from assay.provenance.attestation_format import Attestation, Statement, parse_attestation
from assay.provenance.identities import (
    SignerIdentity,
    SigningCertificate,
    bad_certificate,
    read_signing_certificate,
)
from assay.provenance.publishers import Publisher, publisher_of, require_publisher
from assay.provenance.sigstore_trust import LoadedTrust, SigstoreTrust, load_trust
from assay.provenance.slsa import SLSA_V1, BuildProvenance, agreed_build, parse_build_provenance

PUBLISH_V1: Final = "https://docs.pypi.org/attestations/publish/v1"
"""An identifier that PEP 740's clients write; no address that anybody is to fetch."""
CLOCK_SKEW: Final = timedelta(minutes=5)

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_EVIDENCE: Final = object()


class FirstSeen:
    """A named leniency in the place of a publisher: believe whoever signed, and remember who it was."""


FIRST_SEEN: Final = FirstSeen()


@dataclass(frozen=True, slots=True)
class VerifiedAttestation:
    """Evidence: ``identity`` attested the file ``filename`` with ``sha256``. Only the verifier builds it.

    ``publisher``: the one that was expected, or that was seen for the first time where ``first_seen``. ``build``
    for SLSA predicates. ``logged_at``: when the transparency log took it in. ``root``: SHA-256 of the trust root;
    ``trust`` its name.
    """

    filename: str
    sha256: Sha256
    predicate_type: str
    build: BuildProvenance | None
    identity: SignerIdentity
    publisher: Publisher
    first_seen: bool
    logged_at: datetime
    log_index: str
    verified_at: datetime
    trust: str
    root: Sha256
    document: bytes = field(repr=False)
    _evidence: object = field(repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self._evidence is not _EVIDENCE:
            raise TypeError("only verify_attestation builds a VerifiedAttestation")


def verify_attestation(
    attestation: Attestation,
    *,
    filename: str,
    sha256: Sha256,
    publisher: Publisher | FirstSeen,
    trust: SigstoreTrust,
    now: datetime,
) -> VerifiedAttestation:
    """Check that ``publisher`` attested the file ``filename`` whose content is ``sha256``. Milliseconds; no network.

    Raises VerificationFailed with the rule that refused, OperatorError where sigstore is not installed.
    """
    loaded = load_trust(trust)
    attestation = parse_attestation(attestation.document)  # one source for every fact, however the value was made
    _require_file(attestation.statement, filename, sha256)
    build = _read_predicate(attestation.statement)
    certificate = read_signing_certificate(attestation.certificate)
    _require_window(attestation, certificate, loaded, now)
    _require_cryptography(attestation, loaded)
    identity = certificate.identity
    expected = publisher_of(identity) if isinstance(publisher, FirstSeen) else publisher
    require_publisher(identity, expected)
    if build is not None:
        build = agreed_build(build, identity)
    return VerifiedAttestation(
        filename=filename,
        sha256=sha256,
        predicate_type=attestation.statement.predicate_type,
        build=build,
        identity=identity,
        publisher=expected,
        first_seen=isinstance(publisher, FirstSeen),
        logged_at=attestation.logged_at,
        log_index=attestation.log_entry.text("logIndex"),
        verified_at=now,
        trust=trust.name,
        root=trust.sha256,
        document=attestation.document,
        _evidence=_EVIDENCE,
    )


def _require_file(statement: Statement, filename: str, sha256: Sha256) -> None:
    if not _same_name(statement.subject, filename):
        raise VerificationFailed(
            "the attestation speaks of another file",
            rule="attestation-subject",
            expected=filename,
            found=statement.subject[:300],
        )
    if statement.digest != sha256:
        raise VerificationFailed(
            "the attestation speaks of other bytes under this name",
            rule="attestation-digest",
            expected=f"sha256 {sha256}",
            found=f"sha256 {statement.digest[:80]}",
            next_step="do not install; fetch the file again",
        )


def _same_name(subject: str, filename: str) -> bool:
    """Compare as packaging reads names, as PEP 740's clients do: builders spell names in many ways."""
    if subject == filename:
        return True
    try:
        if subject.endswith(".whl") and filename.endswith(".whl"):
            return parse_wheel_filename(subject) == parse_wheel_filename(filename)
        suffix = next((suffix for suffix in SDIST_SUFFIXES if filename.endswith(suffix)), None)
        if suffix is None or not subject.endswith(suffix):
            return False
        return parse_sdist_filename(subject) == parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return False


def _read_predicate(statement: Statement) -> BuildProvenance | None:
    if statement.predicate_type == SLSA_V1 and statement.predicate is not None:
        return parse_build_provenance(statement.predicate)
    if statement.predicate_type == PUBLISH_V1 and (statement.predicate is None or not statement.predicate.values):
        return None
    raise VerificationFailed(
        "not a kind of attestation that says something about a file's origin",
        rule="attestation-predicate",
        expected=f"{PUBLISH_V1} without content, or {SLSA_V1}",
        found=statement.predicate_type[:300],
        reading=Reading.EITHER,
    )


def _require_window(
    attestation: Attestation, certificate: SigningCertificate, loaded: LoadedTrust, now: datetime
) -> None:
    """Whether the keys that vouch counted, by the root's own word, when they did; signatures come later."""
    logged_at = attestation.logged_at
    if logged_at > now + CLOCK_SKEW:
        raise VerificationFailed(
            "the attestation is from the future",
            rule="attestation-future",
            expected=f"not after {now.isoformat()}",
            found=logged_at.isoformat(),
            reading=Reading.EITHER,
            next_step="compare this machine's clock",
        )
    window = loaded.logs.get(attestation.log_id)
    if window is None or not window.holds(logged_at):
        raise VerificationFailed(
            "the transparency log is none that the trust root names, or not at that time",
            rule="attestation-log",
            found=f"log {attestation.log_id.hex()[:64]} at {logged_at.isoformat()}",
        )
    if not any(name == certificate.issuer and window.holds(logged_at) for name, window in loaded.authorities):
        found = f"its issuer, {certificate.issuer_text}, is none that the trust root names, or not at that time"
        raise bad_certificate(found)
    for log_id, shown_at in certificate.shown_to:
        window = loaded.certificate_logs.get(log_id)
        if window is None or not window.holds(shown_at):
            raise VerificationFailed(
                "the certificate log is none that the trust root names, or not at that time",
                rule="attestation-certificate-log",
                found=f"log {log_id.hex()} at {shown_at.isoformat()}",
            )


class _LaterIdentity:
    """sigstore's place for an identity policy, left open: ``require_publisher`` decides when all else is checked."""

    def verify(self, cert: object) -> None:
        """Accept: the identity is compared after the cryptography."""


def _require_cryptography(attestation: Attestation, loaded: LoadedTrust) -> None:
    from sigstore.errors import Error as SigstoreError
    from sigstore.models import Bundle

    try:
        bundle = Bundle.from_json(render_bundle(attestation))
        payload_type, payload = loaded.verifier.verify_dsse(bundle, _LaterIdentity())
    except (SigstoreError, InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, LookupError) as error:
        rule, what = _classify(error)
        raise VerificationFailed(what, rule=rule, found=(str(error).splitlines() or [""])[0][:200]) from error
    if payload_type != PAYLOAD_TYPE or payload != attestation.payload:
        raise VerificationFailed("the statement is not the one that was signed", rule="attestation-signature")


def _classify(error: Exception) -> tuple[str, str]:
    """Rule and reason of a refusal by sigstore, which tells its refusals apart by their text only."""
    from sigstore.errors import CertValidationError

    text = str(error)
    if isinstance(error, CertValidationError):
        return "attestation-certificate", "the signing certificate does not lead to the trust root"
    if "SCT" in text:
        return "attestation-certificate-log", "the certificate log's timestamp does not verify"
    if "DSSE: invalid signature" in text:
        return "attestation-signature", "the attestation's signature does not verify"
    if "log entry" in text:
        return "attestation-log", "the transparency log's entry does not verify"
    return "attestation-not-verified", "the attestation does not verify"


def render_bundle(attestation: Attestation) -> bytes:
    """The attestation as a Sigstore bundle, which sigstore reads by its public door."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode("ascii")

    return orjson.dumps(
        {
            "mediaType": _BUNDLE_TYPE,
            "verificationMaterial": {
                "certificate": {"rawBytes": text(attestation.certificate)},
                "tlogEntries": [attestation.log_entry.values],
            },
            "dsseEnvelope": {
                "payload": text(attestation.payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": text(attestation.signature)}],
            },
        }
    )
