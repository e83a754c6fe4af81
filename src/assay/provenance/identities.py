"""Who signed: the claims in a signing certificate.

Invariant: a ``SignerIdentity`` says what a certificate says; whether the certificate is to be believed is the
verifier's matter. Source: Fulcio's registry of object identifiers (oid-info), certificates of PEP 740 attestations.
"""

from dataclasses import dataclass
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


def read_identity(certificate: "Certificate") -> SignerIdentity:
    """The claims of ``certificate``.

    Raises VerificationFailed (``attestation-certificate``) where the issuer is missing or a claim is not a DER
    UTF8String.
    """
    from cryptography import x509

    claims: dict[str, str] = {}
    subjects: tuple[str, ...] = ()
    try:
        for extension in certificate.extensions:
            oid = extension.oid.dotted_string
            if isinstance(extension.value, x509.SubjectAlternativeName):
                names = extension.value
                subjects = (
                    *names.get_values_for_type(x509.RFC822Name),
                    *names.get_values_for_type(x509.UniformResourceIdentifier),
                )
            elif isinstance(extension.value, x509.UnrecognizedExtension) and oid.startswith(FULCIO_ARC):
                number = oid.removeprefix(FULCIO_ARC)
                if number in CLAIMS:
                    claims[number] = _utf8_string(extension.value.value)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _bad_certificate(f"a claim that cannot be read: {error}") from error
    if "8" not in claims or not subjects:
        raise _bad_certificate("no issuer or no subject")
    return SignerIdentity(subjects=subjects, **{CLAIMS[number]: text for number, text in claims.items()})


def _bad_certificate(what: str) -> VerificationFailed:
    return VerificationFailed(f"the signing certificate has {what}", rule="attestation-certificate")


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
