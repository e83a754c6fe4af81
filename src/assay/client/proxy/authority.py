"""The certificate authority of one run.

Its private key lives in this process's memory and dies with it. Only the certificate is written out, for the child's
``SSL_CERT_FILE``. The key of a leaf must pass through a file, because Python's ``ssl`` loads from nothing else: it does
so encrypted under a password that never leaves memory, and the file is removed at once.
"""

import ipaddress
import secrets
import ssl
from collections import OrderedDict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MAX_CONTEXTS: Final = 128
_LIFETIME: Final = timedelta(days=7)
_SKEW: Final = timedelta(hours=1)


class Authority:
    """Issues a certificate for any host, on demand. Not thread-safe."""

    def __init__(self, folder: Path, now: datetime) -> None:
        """``folder``: private to the run. ``now``: UTC; certificates are valid for a week from then."""
        self._folder = folder
        self._valid = (now - _SKEW, now + _LIFETIME)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._issue_own()
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    def certificate_pem(self) -> bytes:
        """The authority's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def context_for(self, host: str) -> ssl.SSLContext:
        """A server-side context that proves to be ``host`` (a DNS name or an IP address). HTTP/1.1 only."""
        context = self._contexts.get(host)
        if context is None:
            context = self._new_context(host)
            self._contexts[host] = context
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(host)
        return context

    def _new_context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        password = secrets.token_bytes(32)
        pem = self._leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
        path = self._folder / f"leaf-{secrets.token_hex(8)}.pem"
        path.touch(mode=0o600, exist_ok=False)
        try:
            path.write_bytes(pem + self._issue_leaf(host).public_bytes(serialization.Encoding.PEM))
            context.load_cert_chain(path, password=password)
        finally:
            path.unlink()
        return context

    def _issue_own(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "assay run (this machine, this run only)")])
        public = self._key.public_key()
        return (
            self._builder(name, name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _issue_leaf(self, host: str) -> x509.Certificate:
        public = self._leaf_key.public_key()
        return (
            self._builder(x509.Name([]), self._certificate.subject, public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            # RFC 5280 section 4.2.1.6: critical, because the subject is empty.
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._valid[0])
            .not_valid_after(self._valid[1])
        )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
