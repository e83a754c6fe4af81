"""A certificate authority of a company's own, made on the spot, and what it certifies."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """Files: an authority, a ``certificate`` for localhost of that authority with its ``key``, another authority."""

    authority: Path
    certificate: Path
    key: Path
    other_authority: Path


def make_certificates(folder: Path) -> Certificates:
    authority_key, other_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    authority = _certificate("the company", authority_key, None, authority_key)
    other = _certificate("somebody else", other_key, None, other_key)
    leaf = _certificate("localhost", key, authority, authority_key)
    files = Certificates(*(folder / f"{name}.pem" for name in ("authority", "certificate", "key", "other")))
    for path, made in ((files.authority, authority), (files.certificate, leaf), (files.other_authority, other)):
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    pem, pkcs8, bare = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(pem, pkcs8, bare))
    return files


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A certificate for ``key``; of an authority where ``issuer`` is None."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, SHA256())
