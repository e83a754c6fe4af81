"""Attestations of an own root: the trusted root that verifiers are given, and attestations that they verify with it.

Invariants: whatever is issued here verifies with stock sigstore-python and with ``verify_attestation``, given the root.
The signing key of an attestation is made for it and thrown away; randomness and time are parameters.
"""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from securesystemslib.signer import Signer

from assay.model.digests import Sha256
from assay.provenance.attestation_format import STATEMENT_V1
from assay.provenance.attestations import PAYLOAD_TYPE, PUBLISH_V1
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.certificates import Authority, issue_certificate
from assay.provenance.own_root.log import LogState, append_entry, dsse_entry_body
from assay.provenance.own_root.signing import log_id_of, public_key_of, spki

_ROOT_TYPE: Final = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"


@dataclass(frozen=True, slots=True)
class Issuer:
    """What issues attestations: an authority's public certificates and three online signers.

    ``origin``: the log's name in its checkpoints, such as ``attest.example.org/log``.
    """

    authority: Authority
    issuing: Signer
    certificate_log: Signer
    log: Signer
    origin: str


def render_trusted_root(issuer: Issuer, *, url: str, since: datetime) -> bytes:
    """The ``trusted_root.json`` of an own root, for ``SigstoreTrust`` or stock clients' ``TrustedRoot.from_file``.

    ``url``: where the instance would be reached; verifiers only show it. ``since``: from when its keys count.
    """
    valid_for = {"start": since.replace(microsecond=0).isoformat()}

    def log(signer: Signer) -> dict[str, object]:
        key = public_key_of(signer)
        return {
            "baseUrl": url,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _text(spki(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": valid_for,
            },
            "logId": {"keyId": _text(log_id_of(key))},
        }

    chain = (issuer.authority.issuing, issuer.authority.root)
    names = {attribute.rfc4514_attribute_name: str(attribute.value) for attribute in issuer.authority.root.subject}
    document = {
        "mediaType": _ROOT_TYPE,
        "tlogs": [log(issuer.log)],
        "certificateAuthorities": [
            {
                "subject": {"organization": names["O"], "commonName": names["CN"]},
                "uri": url,
                "certChain": {"certificates": [{"rawBytes": _text(part.public_bytes(Encoding.DER))} for part in chain]},
                "validFor": valid_for,
            }
        ],
        "ctlogs": [log(issuer.certificate_log)],
        "timestampAuthorities": [],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def render_statement(
    filename: str, sha256: Sha256, predicate_type: str = PUBLISH_V1, predicate: dict[str, object] | None = None
) -> bytes:
    """An in-toto v1 statement about one file; by default that its publisher published it."""
    return orjson.dumps(
        {
            "_type": STATEMENT_V1,
            "subject": [{"name": filename, "digest": {"sha256": sha256}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def issue_attestation(
    issuer: Issuer,
    state: LogState,
    statement: bytes,
    identity: SignerIdentity,
    key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime,
    serial: int,
) -> tuple[bytes, LogState]:
    """A PEP 740 attestation of ``statement`` by ``identity``, and the log's new state.

    ``identity``: as the caller has checked it. ``key``: a fresh P-256 key, used once. ``serial``: a random positive
    number of at most 159 bits. ``state``: the log's newest; see ``log`` on storing the new one.
    """
    certificate = issue_certificate(
        issuer.authority, issuer.issuing, issuer.certificate_log, identity, key.public_key(), now=now, serial=serial
    )
    signature = key.sign(_pre_authentication(statement), ec.ECDSA(hashes.SHA256()))
    envelope = orjson.dumps(
        {"payload": _text(statement), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": _text(signature)}]}
    )
    body = dsse_entry_body(statement, signature, certificate, envelope)
    grown, entry = append_entry(state, body, issuer.log, issuer.origin, now=now)
    return _render(certificate, entry, statement, signature), grown


def _render(certificate: x509.Certificate, entry: dict[str, object], statement: bytes, signature: bytes) -> bytes:
    return orjson.dumps(
        {
            "version": 1,
            "verification_material": {
                "certificate": _text(certificate.public_bytes(Encoding.DER)),
                "transparency_entries": [entry],
            },
            "envelope": {"statement": _text(statement), "signature": _text(signature)},
        }
    )


def _pre_authentication(payload: bytes) -> bytes:
    """What a DSSE signature covers (DSSE v1.0)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
