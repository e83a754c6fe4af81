"""Signatures by keys that may lie in a token: P-256, wherever securesystemslib can reach them.

Invariants: a signature is checked with the signer's own public key before it is used. All keys of an own root are
ECDSA on P-256 with SHA-256, the one scheme that X.509, certificate timestamps and the log share.
"""

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import Key, Signer

from assay.model.errors import KeyUnavailable, OperatorError

SCHEME: Final = "ecdsa-sha2-nistp256"


def public_key_of(signer: Signer) -> ec.EllipticCurvePublicKey:
    """The signer's public key. Raises as ``p256_key`` does."""
    return p256_key(signer.public_key)


def p256_key(key: Key) -> ec.EllipticCurvePublicKey:
    """``key`` for X.509. Raises OperatorError (``own-root-key``) unless it is ECDSA on P-256 with SHA-256."""
    if key.scheme == SCHEME:
        loaded = serialization.load_pem_public_key(key.keyval["public"].encode())
        if isinstance(loaded, ec.EllipticCurvePublicKey) and isinstance(loaded.curve, ec.SECP256R1):
            return loaded
    raise OperatorError(
        "this kind of key cannot serve an own Sigstore root", rule="own-root-key", expected=SCHEME, found=key.scheme
    )


def sign_der(signer: Signer, data: bytes) -> bytes:
    """A signature over ``data`` in DER, verified. Raises KeyUnavailable (``bad-signature``) if it does not verify."""
    public = public_key_of(signer)
    signature = bytes.fromhex(signer.sign(data).signature)
    try:
        public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise KeyUnavailable("the key made a signature that does not verify", rule="bad-signature") from error
    return signature


def spki(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """The key as DER SubjectPublicKeyInfo."""
    return public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def log_id_of(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """The id of a log (RFC 6962 section 3.2): SHA-256 of its key."""
    return hashlib.sha256(spki(public_key)).digest()
