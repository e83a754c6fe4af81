"""Whom an authority issues attestations to: ``identities.toml`` of its folder, and the check of a client certificate.

Invariant: an issuer or authority that the file does not list attests nobody. Identity tokens are verified by the
caller, with the keys that the file names, because no network is asked.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from assay.keys.attesting.folder import AuthorityFolder
from assay.model.errors import CallerError, NotAllowed, OperatorError
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.identities import ClaimsKind, identity_of_certificate
from assay.settings import read_settings

_CHALLENGE = b"assay attest: this client certificate is mine"


@dataclass(frozen=True, slots=True)
class OidcIssuer:
    """``[[oidc]]``: an ``issuer`` whose tokens count. ``keys``: its JWKS, a file beside ``identities.toml``.

    ``audience``: whom its tokens must be meant for. ``kind``: how their claims are read (``ClaimsKind``).
    """

    issuer: str
    keys: str
    audience: str
    kind: str = ClaimsKind.SUBJECT.value


@dataclass(frozen=True, slots=True)
class ClientAuthority:
    """``[[client_certificates]]``: an ``authority`` (PEM file) whose certificates count, as the issuer ``issuer``."""

    authority: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Identities:
    """``identities.toml``."""

    oidc: tuple[OidcIssuer, ...] = ()
    client_certificates: tuple[ClientAuthority, ...] = ()


def load_identities(folder: AuthorityFolder) -> Identities:
    """Read ``identities.toml``. Raises OperatorError."""
    return read_settings(folder.identities_file, Identities)


def find_issuer(folder: AuthorityFolder, issuer: str) -> tuple[OidcIssuer, list[dict[str, Any]], ClaimsKind]:
    """The listed issuer ``issuer``, its public keys (JWKs), and how its claims are read. Raises NotAllowed."""
    found = next((each for each in load_identities(folder).oidc if each.issuer == issuer), None)
    if found is None:
        raise NotAllowed(
            "identity tokens of this issuer count for nothing here",
            subject=issuer,
            rule="unknown-issuer",
            next_step=f"list it in {folder.identities_file}",
        )
    try:
        keys: list[dict[str, Any]] = json.loads((folder.root / found.keys).read_bytes())["keys"]
        return found, keys, ClaimsKind(found.kind)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError(
            "the issuer's keys or kind cannot be read", subject=found.keys, rule="config", found=str(error)
        ) from error


def identity_of_client(
    folder: AuthorityFolder, certificate: Path, key: Path, passphrase: bytes | None, now: datetime
) -> SignerIdentity:
    """The holder of the client certificate and its private key. Raises NotAllowed, CallerError."""
    loaded = _load_certificate(certificate)
    _require_possession(loaded, key, passphrase)
    refusals: list[NotAllowed] = []
    for each in load_identities(folder).client_certificates:
        try:
            return identity_of_certificate(loaded, _load_certificate(folder.root / each.authority), each.issuer, now)
        except NotAllowed as refusal:
            refusals.append(refusal)
    if refusals:
        raise refusals[0]
    raise NotAllowed(
        "client certificates count for nothing here",
        rule="unknown-issuer",
        next_step=f"list their authority in {folder.identities_file}",
    )


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CallerError("not a certificate in PEM", subject=str(path), found=str(error)) from error


def _require_possession(certificate: x509.Certificate, key: Path, passphrase: bytes | None) -> None:
    """Sign a challenge with ``key`` and verify it with the certificate's public key."""
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), passphrase)
        public = certificate.public_key()
        if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            scheme = ec.ECDSA(hashes.SHA256())
            public.verify(private.sign(_CHALLENGE, scheme), _CHALLENGE, scheme)
            return
        if isinstance(private, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = private.sign(_CHALLENGE, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, _CHALLENGE, padding.PKCS1v15(), hashes.SHA256())
            return
        if isinstance(private, ed25519.Ed25519PrivateKey) and isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(private.sign(_CHALLENGE), _CHALLENGE)
            return
    except (OSError, ValueError, TypeError, InvalidSignature) as error:
        raise NotAllowed(
            "this is not the private key of the client certificate", subject=str(key), rule="own-root-identity"
        ) from error
    raise NotAllowed("this is not the private key of the client certificate", rule="own-root-identity")
