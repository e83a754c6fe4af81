"""A token maker's certificates at enrolment: for this very key, chained, or worth nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from securesystemslib.signer import SSlibKey

from assay.keys.ceremony.attestation import parse_attestation, split_pem
from assay.model.errors import VerificationFailed

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def certificate(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> str:
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = x509.CertificateBuilder(
        names[1], names[0], key.public_key(), x509.random_serial_number(), NOW, NOW + timedelta(1)
    )
    return builder.sign(by, SHA256()).public_bytes(Encoding.PEM).decode()


KEY, MAKER, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
PUBLIC = SSlibKey.from_crypto(KEY.public_key())
ROOT = certificate("maker", MAKER, "maker", MAKER)
LEAF = certificate("token 1, slot 9c", KEY, "maker", MAKER)


def test_a_chain_for_the_key_names_its_authority() -> None:
    found = parse_attestation(split_pem(LEAF + ROOT), PUBLIC)
    assert found.authority == "CN=maker"
    assert found.subject == "CN=token 1\\, slot 9c"


@pytest.mark.parametrize(
    "pem",
    [
        certificate("token", OTHER, "maker", MAKER) + ROOT,
        certificate("token", KEY, "maker", OTHER) + ROOT,
        certificate("token", KEY, "another", MAKER) + ROOT,
        ROOT + LEAF,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        (LEAF + ROOT) * 9,
    ],
)
def test_everything_else_is_refused(pem: str) -> None:
    with pytest.raises(VerificationFailed, match="worth nothing"):
        parse_attestation(split_pem(pem), PUBLIC)
