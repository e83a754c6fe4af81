"""A token maker's proof that a key was made inside a token: certificates from the key up to the maker's authority.

YubiKeys (PIV slot 9c: ``ykman piv keys attest``) and most HSMs give such a chain. Invariant: an attestation is for the
very key that enrols, and each certificate is signed by the next; whose authority the last one is, people decide: its
fingerprint is shown and goes into the transcript.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import SSlibKey

from assay.model.digests import Sha256, sha256_of
from assay.model.errors import VerificationFailed

MAX_CERTIFICATES = 6


@dataclass(frozen=True, slots=True)
class Attestation:
    """A checked chain. ``subject``: of the key's own certificate; ``authority``: of the last, and its SHA-256."""

    subject: str
    authority: str
    authority_sha256: Sha256


def split_pem(text: str) -> tuple[str, ...]:
    """The certificates of a PEM file, each as PEM of its own."""
    end = "-----END CERTIFICATE-----"
    return tuple(part[part.index("-----BEGIN") :] + end + "\n" for part in text.split(end) if "-----BEGIN" in part)


def parse_attestation(pem: Sequence[str], key: SSlibKey) -> Attestation:
    """Check the chain for ``key``, leaf first. Raises VerificationFailed when it is another key's or does not chain."""
    if len(pem) > MAX_CERTIFICATES:
        raise _refuse("too many certificates", f"{len(pem)}")
    try:
        chain = [x509.load_pem_x509_certificate(one.encode()) for one in pem]
        attested = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        enrolled = key._crypto_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if attested != enrolled:
            raise _refuse("it speaks of another key", chain[0].subject.rfc4514_string())
        for one, issuer in pairwise(chain):
            one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, IndexError, InvalidSignature) as error:
        raise _refuse("it does not chain", f"{type(error).__name__}: {error}") from error
    last = chain[-1]
    return Attestation(
        chain[0].subject.rfc4514_string(), last.subject.rfc4514_string(), sha256_of(last.public_bytes(Encoding.DER))
    )


def _refuse(why: str, found: str) -> VerificationFailed:
    return VerificationFailed(f"the token's attestation is worth nothing: {why}", rule="attestation", found=found)
