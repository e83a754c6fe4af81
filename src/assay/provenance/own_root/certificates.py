"""The authority: a root certificate, an issuing one, and short-lived ones for identities, shown to a certificate log.

Invariants: the keys that sign lie behind a Signer, so certificates are assembled around its signature. An identity is
certified only as the caller has checked it (an OIDC token, a client certificate); nothing here checks one. Sources:
RFC 5280, RFC 6962 sections 3.2 and 3.3, Fulcio's certificate profile and object identifiers.
"""

import struct
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from securesystemslib.signer import Key, Signer

from assay.model.errors import CallerError
from assay.provenance.identities import CLAIMS, FULCIO_ARC, SignerIdentity
from assay.provenance.own_root.signing import log_id_of, p256_key, public_key_of, sign_der

LEAF_LIFETIME: Final = timedelta(minutes=10)
"""How long an identity's certificate is valid: the time to sign and to reach the log, as with the public instance."""

_ECDSA_WITH_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_SCT_LIST: Final = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_PLACEHOLDER: Final = ec.derive_private_key(1, ec.SECP256R1())
"""Fills the place of the signature while a certificate is built; its signature is thrown away."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Certificates of an own root: ``issuing`` signs identities, ``root`` signed it. Both are public."""

    issuing: x509.Certificate
    root: x509.Certificate


def make_authority(
    organization: str,
    root_signer: Signer,
    issuing_key: Key,
    *,
    now: datetime,
    lifetime: timedelta,
    serials: tuple[int, int],
) -> Authority:
    """Make both certificates of an authority; ``serials`` are two random positive numbers of at most 159 bits.

    ``root_signer`` is not needed again until the issuing key is replaced. Raises OperatorError (``own-root-key``) for
    other keys than P-256.
    """
    root_key, issuer = public_key_of(root_signer), p256_key(issuing_key)
    root_name, issuing_name = _name(organization, "root"), _name(organization, "issuing")
    root = _authority_builder(root_name, root_name, root_key, root_key, now, lifetime, serials[0], path_length=1)
    issuing = _authority_builder(issuing_name, root_name, issuer, root_key, now, lifetime, serials[1], path_length=0)
    return Authority(issuing=_signed(issuing, root_signer), root=_signed(root, root_signer))


def _name(organization: str, what: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organization} attestation {what}"),
        ]
    )


def _authority_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
    serial: int,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    builder = _builder(subject, issuer, key, issuer_key, now, lifetime, serial)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    return builder.add_extension(_key_usage(authority=True), critical=True)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    now: datetime,
    lifetime: timedelta,
    serial: int,
) -> x509.CertificateBuilder:
    start = now.replace(microsecond=0)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key, serial_number=serial)
    builder = builder.not_valid_before(start).not_valid_after(start + lifetime)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key)
    return builder.add_extension(identifier, critical=False)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, signer: Signer) -> x509.Certificate:
    """The certificate that ``builder`` describes, signed by a key that may lie in a token."""
    content = builder.sign(_PLACEHOLDER, hashes.SHA256()).tbs_certificate_bytes
    signature = b"\x00" + sign_der(signer, content)
    return x509.load_der_x509_certificate(_der(0x30, content + _ECDSA_WITH_SHA256 + _der(0x03, signature)))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | octets]) + size.to_bytes(octets, "big") + content


def issue_certificate(
    authority: Authority,
    issuing_signer: Signer,
    certificate_log_signer: Signer,
    identity: SignerIdentity,
    public_key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    serial: int,
) -> x509.Certificate:
    """A short-lived certificate that says ``public_key`` is ``identity``'s, with a timestamp of the certificate log.

    Raises CallerError (``own-root-identity``) for an identity without exactly one subject.
    """
    issuer_key = public_key_of(issuing_signer)
    builder = _builder(x509.Name([]), authority.issuing.subject, public_key, issuer_key, now, LEAF_LIFETIME, serial)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_subject_name(identity)]), critical=True)
    for oid, value in _claims(identity):
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    shown = builder.sign(_PLACEHOLDER, hashes.SHA256()).tbs_certificate_bytes
    timestamps = _timestamp_list(certificate_log_signer, shown, log_id_of(issuer_key), now)
    return _signed(
        builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, timestamps), critical=False), issuing_signer
    )


def _subject_name(identity: SignerIdentity) -> x509.GeneralName:
    if len(identity.subjects) != 1:
        raise CallerError(
            "an identity with other than one subject", rule="own-root-identity", found=str(identity.subjects)
        )
    subject = identity.subjects[0]
    if "://" in subject:
        return x509.UniformResourceIdentifier(subject)
    if "@" in subject:
        return x509.RFC822Name(subject)
    raise CallerError("neither a URI nor an e-mail address", rule="own-root-identity", found=subject[:200])


def _claims(identity: SignerIdentity) -> list[tuple[x509.ObjectIdentifier, bytes]]:
    """Fulcio's claims: the issuer in both encodings (stock verifiers compare the older one), the rest as UTF8String."""
    values = {field.name: getattr(identity, field.name) for field in fields(identity)}
    claims = [(x509.ObjectIdentifier(f"{FULCIO_ARC}1"), identity.issuer.encode())]
    for number, name in CLAIMS.items():
        if values[name] is not None:
            claims.append((x509.ObjectIdentifier(FULCIO_ARC + number), _der(0x0C, values[name].encode())))
    return claims


def _timestamp_list(signer: Signer, shown: bytes, issuer_key_hash: bytes, now: datetime) -> bytes:
    """The extension's value: one signed certificate timestamp over ``shown``, the certificate without the extension."""
    milliseconds = int(now.timestamp() * 1000)
    entry = issuer_key_hash + len(shown).to_bytes(3, "big") + shown
    signed = struct.pack(">BBQH", 0, 0, milliseconds, 1) + entry + b"\x00\x00"
    signature = sign_der(signer, signed)
    header = b"\x00" + log_id_of(public_key_of(signer)) + struct.pack(">Q", milliseconds) + b"\x00\x00"
    timestamp = header + b"\x04\x03" + struct.pack(">H", len(signature)) + signature
    item = struct.pack(">H", len(timestamp)) + timestamp
    return _der(0x04, struct.pack(">H", len(item)) + item)
