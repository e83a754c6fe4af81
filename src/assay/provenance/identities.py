"""Who signed: signing certificates, and the claims in them.

Invariant: these types say what a certificate says; whether the certificate is to be believed is the verifier's
matter. Source: Fulcio's registry of object identifiers (oid-info), certificates of PEP 740 attestations.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from assay.model.errors import VerificationFailed

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

FULCIO_ARC: Final = "1.3.6.1.4.1.57264.1."
CLAIMS: Final = {
    "8": "issuer",
    "9": "build_signer",
    "11": "runner",
    "12": "repository",
    "13": "digest",
    "14": "ref",
    "15": "repository_id",
    "16": "owner",
    "17": "owner_id",
    "18": "build_config",
    "20": "trigger",
    "21": "run",
}
"""The claims that are read, by the last number of their identifier. Below 8 are older twins in another encoding."""


@dataclass(frozen=True, slots=True)
class SignerIdentity:
    """What the certificate authority says about the signer; None where it says nothing.

    ``issuer``: the OIDC provider. ``subjects``: the certificate's alternative names (an e-mail address, a
    workflow's URI). ``repository``, ``owner``: URIs; their ids survive renaming and are not given again.
    ``build_config``: URI of the workflow that was started, with ``@`` and ref; ``build_signer``: of the one that
    signed (another for reusable workflows). ``ref``, ``digest``: what was checked out. ``run``: URI of the run.
    """

    issuer: str
    subjects: tuple[str, ...]
    repository: str | None = None
    repository_id: str | None = None
    owner: str | None = None
    owner_id: str | None = None
    build_config: str | None = None
    build_signer: str | None = None
    ref: str | None = None
    digest: str | None = None
    runner: str | None = None
    trigger: str | None = None
    run: str | None = None

    @property
    def workflow(self) -> str | None:
        """The path of ``build_config`` in ``repository``; a ref may contain ``@``, as tags of monorepos do."""
        for checkout in (self.ref, self.digest):
            start, end = f"{self.repository}/", f"@{checkout}"
            found = self.build_config or ""
            if self.repository and checkout and found.startswith(start) and found.endswith(end):
                return found.removeprefix(start).removesuffix(end).removeprefix("/")
        return None


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A signing certificate, read: nothing about it is verified. ``issuer``: the issuer's name in DER.

    ``shown_to``: the certificate logs (their ids) whose timestamps it carries, and when.
    """

    identity: SignerIdentity
    issuer: bytes
    issuer_text: str
    shown_to: tuple[tuple[bytes, datetime], ...]


def read_signing_certificate(der: bytes) -> SigningCertificate:
    """Read a certificate as Fulcio makes them.

    Raises VerificationFailed: ``attestation-certificate`` if it cannot be read, has no ECDSA key, lacks issuer or
    subject; ``attestation-certificate-log`` where no certificate log has put its timestamp into it.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        certificate = x509.load_der_x509_certificate(der)
        if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey):
            raise bad_certificate("its key is not an ECDSA key")
        return SigningCertificate(
            identity=_identity(certificate),
            issuer=certificate.issuer.public_bytes(),
            issuer_text=certificate.issuer.rfc4514_string()[:100],
            shown_to=_shown_to(certificate),
        )
    except (
        ValueError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        UnsupportedAlgorithm,
    ) as error:
        raise bad_certificate(f"it cannot be read: {str(error)[:200]}") from error


def bad_certificate(what: str) -> VerificationFailed:
    """The refusal of a signing certificate (``attestation-certificate``)."""
    return VerificationFailed(f"the signing certificate is not to be believed: {what}", rule="attestation-certificate")


def _shown_to(certificate: "Certificate") -> tuple[tuple[bytes, datetime], ...]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    except x509.ExtensionNotFound as error:
        raise VerificationFailed(
            "the signing certificate was never shown to a certificate log",
            rule="attestation-certificate-log",
            expected="a signed certificate timestamp in the certificate",
        ) from error
    return tuple((shown.log_id, shown.timestamp.replace(tzinfo=UTC)) for shown in extension.value)


def _identity(certificate: "Certificate") -> SignerIdentity:
    """Raises ValueError or a VerificationFailed (``attestation-certificate``)."""
    from cryptography import x509

    claims: dict[str, str] = {}
    subjects: tuple[str, ...] = ()
    for extension in certificate.extensions:
        number = extension.oid.dotted_string.removeprefix(FULCIO_ARC)
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = extension.value
            subjects = (
                *names.get_values_for_type(x509.RFC822Name),
                *names.get_values_for_type(x509.UniformResourceIdentifier),
            )
        elif isinstance(extension.value, x509.UnrecognizedExtension) and number in CLAIMS:
            claims[number] = _utf8_string(extension.value.value)
    if "8" not in claims or not subjects:
        raise bad_certificate("it names no issuer or no subject")
    return SignerIdentity(subjects=subjects, **{CLAIMS[number]: text for number, text in claims.items()})


def matches_ref(ref: str | None, wanted: str) -> bool:
    """Whether ``ref`` is ``wanted``, or lies below it where that ends in ``/*`` (``refs/tags/*``)."""
    if wanted.endswith("/*"):
        return ref is not None and ref.startswith(wanted[:-1])
    return ref == wanted


def same_uri(left: str, right: str) -> bool:
    """Equal, or equal but for the case of ASCII letters: forges do not tell repositories apart by case."""
    return left == right or (left.isascii() and right.isascii() and left.lower() == right.lower())


def _utf8_string(der: bytes) -> str:
    """The text of a DER UTF8String (tag 0x0C) that fills ``der`` exactly."""
    if len(der) < 2 or der[0] != 0x0C:
        raise ValueError("not a UTF8String")
    size, start = der[1], 2
    if size > 0x80:
        octets = size - 0x80
        start = 2 + octets
        size = int.from_bytes(der[2:start], "big")
        if octets > 2 or size < 0x80:
            raise ValueError("not in DER")
    elif size == 0x80:
        raise ValueError("indefinite length")
    if len(der) != start + size:
        raise ValueError("wrong length")
    return der[start:].decode("utf-8")
