"""OpenPGP signatures of files: what ``gpg --verify`` leaves to the reader, decided.

Invariants: only ``verify_signature`` builds a ``VerifiedSignature``. The certificates come from signed metadata or
policy, never from the signature's surroundings. The cryptography is pysequoia's, over exactly the packet that was
looked at here; what is checked here besides can only refuse. Every refusal is a VerificationFailed with its own rule
(docs/provenance.md).

Off-spec: pysequoia judges the key at the signature's own time and also looks at the machine's clock; both can only
refuse more.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from assay.model.digests import Sha256
from assay.model.errors import Reading, VerificationFailed
from assay.provenance.openpgp_certificate import (
    Certificate,
    merge_certificates,
    parse_certificate,
    parse_fingerprint,
    revoke_certificate,
    sequoia,
    sequoia_reason,
)
from assay.provenance.openpgp_facts import (
    STRONG_HASHES,
    Fingerprint,
    Kind,
    SignatureFacts,
    parse_signature_facts,
    signature_version,
)
from assay.provenance.openpgp_keys import CertificateKey
from assay.provenance.openpgp_packets import Packet, Tag, armor_labels, dearmor, read_packets
from assay.provenance.retired_keys import RetiredKeys

__all__ = [
    "Certificate",
    "Fingerprint",
    "RetiredKeys",
    "VerifiedSignature",
    "merge_certificates",
    "parse_certificate",
    "parse_fingerprint",
    "revoke_certificate",
    "verify_signature",
]

MAX_SIGNATURE_BYTES: Final = 100_000
"""An armored signature; the largest real ones (SLH-DSA) have 70 KB, all others under 2 KB."""

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a signer's clock may run ahead of ours."""

_INLINE: Final = {Tag.ONE_PASS_SIGNATURE, Tag.LITERAL, Tag.COMPRESSED}
_EVIDENCE: Final = object()


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """Evidence: the file whose SHA-256 is ``sha256`` was signed with a key of ``certificate``.

    Only the verifier builds it. ``key``: the primary key or subkey that signed. ``signed_at``: the signer's word,
    found near ``uploaded_at``.
    """

    certificate: Fingerprint
    key: Fingerprint
    user_ids: tuple[str, ...]
    signed_at: datetime
    uploaded_at: datetime
    verified_at: datetime
    sha256: Sha256
    _evidence: object = field(repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self._evidence is not _EVIDENCE:
            raise TypeError("only verify_signature builds a VerifiedSignature")


def verify_signature(
    signature: bytes,
    data: bytes | Path,
    certificates: Sequence[Certificate],
    *,
    uploaded_at: datetime,
    now: datetime,
    tolerance: timedelta,
    retired_keys: RetiredKeys = RetiredKeys.REFUSE,
) -> VerifiedSignature:
    """Check that ``signature``, one armored detached signature, was made over ``data`` by a key of ``certificates``.

    ``data``: the file's bytes, or its path, which is read twice as a stream and must not change meanwhile.
    ``uploaded_at``: when the signature came to the index, from signed metadata. ``tolerance``: how far the signature's
    own time may be from it. Times are aware. Raises VerificationFailed with the rule that refused.
    """
    packet, facts = _read_signature(signature)
    signed_at = _check_claims(facts, uploaded_at=uploaded_at, now=now, tolerance=tolerance)
    issuer = _issuer(facts)
    holders = [(certificate, key) for certificate in certificates if (key := certificate.key(issuer))]
    if not holders:
        raise VerificationFailed(
            "made with a key that nobody registered",
            rule="openpgp-unknown-key",
            expected=" or ".join(certificate.fingerprint for certificate in certificates) or "a registered certificate",
            found=issuer,
            next_step="register the certificate of the key, if it is yours",
        )
    refusals = []
    for certificate, key in holders:
        try:
            _check_key(certificate, key, signed_at, now=now, uploaded_at=uploaded_at, retired_keys=retired_keys)
            sha256 = _check_cryptography(packet, data, certificate, key)
        except VerificationFailed as refusal:
            refusals.append(refusal)
            continue
        return VerifiedSignature(
            certificate.fingerprint,
            key.fingerprint,
            certificate.user_ids,
            signed_at,
            uploaded_at,
            now,
            sha256,
            _evidence=_EVIDENCE,
        )
    raise refusals[0]


def _read_signature(signature: bytes) -> tuple[Packet, SignatureFacts]:
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise VerificationFailed(
            "the signature is too large",
            rule="openpgp-too-large",
            expected=f"at most {MAX_SIGNATURE_BYTES} bytes",
            found=f"{len(signature)} bytes",
        )
    _refuse_other_blocks(armor_labels(signature))
    packets = read_packets(dearmor(signature, "PGP SIGNATURE"))
    tags = {packet.tag for packet in packets}
    if tags & _INLINE:
        raise _inline()
    if tags != {Tag.SIGNATURE}:
        raise _not_a_signature("the block does not contain a signature")
    if len(packets) > 1:
        raise _several(len(packets))
    version = signature_version(packets[0].body)
    if version not in (4, 6):
        raise VerificationFailed(
            f"a signature of version {version}",
            rule="openpgp-signature-version",
            expected="version 4 or 6",
            reading=Reading.MISCONFIGURATION,
            next_step="sign with a current OpenPGP program",
        )
    return packets[0], parse_signature_facts(packets[0].body)


def _refuse_other_blocks(labels: tuple[str, ...]) -> None:
    if "PGP SIGNED MESSAGE" in labels:
        raise VerificationFailed(
            "a cleartext-signed message, not a detached signature",
            rule="openpgp-cleartext",
            reading=Reading.MISCONFIGURATION,
            next_step="sign with gpg --armor --detach-sign FILE",
        )
    if "PGP MESSAGE" in labels:
        raise _inline()
    if labels.count("PGP SIGNATURE") > 1:
        raise _several(labels.count("PGP SIGNATURE"))
    if labels and set(labels) != {"PGP SIGNATURE"}:
        raise _not_a_signature(f"the file contains a block '{labels[0]}'")


def _inline() -> VerificationFailed:
    return VerificationFailed(
        "a signed message, not a detached signature",
        rule="openpgp-inline",
        reading=Reading.MISCONFIGURATION,
        next_step="sign with gpg --armor --detach-sign FILE",
    )


def _not_a_signature(what: str) -> VerificationFailed:
    return VerificationFailed(
        what, rule="openpgp-not-a-signature", expected="one detached signature", reading=Reading.EITHER
    )


def _several(count: int) -> VerificationFailed:
    return VerificationFailed(
        "several signatures in one file: which one counts would depend on the reader",
        rule="openpgp-several-signatures",
        expected="exactly one",
        found=str(count),
        reading=Reading.EITHER,
        next_step="upload one signature per file",
    )


def _check_claims(facts: SignatureFacts, *, uploaded_at: datetime, now: datetime, tolerance: timedelta) -> datetime:
    """Everything about the signature that needs no key. Returns its time."""
    if facts.kind != Kind.BINARY:
        raise VerificationFailed(
            "not a signature over a file's bytes",
            rule="openpgp-signature-type",
            expected="type 0x00, binary",
            found=f"type {facts.kind:#04x}" + (", text: line ends are free" if facts.kind == Kind.TEXT else ""),
            next_step="sign with gpg --armor --detach-sign FILE",
        )
    if facts.hash_algorithm not in STRONG_HASHES:
        raise VerificationFailed(
            "the signature uses a hash algorithm that is not accepted",
            rule="openpgp-weak-hash",
            expected="SHA-256 or stronger",
            found=facts.hash_name,
            next_step="sign again with gpg --digest-algo SHA512",
        )
    if facts.created is None:
        raise VerificationFailed("the signature does not say when it was made", rule="openpgp-packet")
    if facts.created > now + CLOCK_SKEW:
        raise VerificationFailed(
            "the signature is from the future",
            rule="openpgp-future",
            expected=f"not after {now.isoformat()}",
            found=facts.created.isoformat(),
            reading=Reading.EITHER,
            next_step="compare the signer's clock and this machine's",
        )
    if facts.expires_after and facts.created + timedelta(seconds=facts.expires_after) <= now:
        raise VerificationFailed(
            "the signature has expired",
            rule="openpgp-signature-expired",
            found=(facts.created + timedelta(seconds=facts.expires_after)).isoformat(),
            reading=Reading.MISCONFIGURATION,
            next_step="sign without an expiry",
        )
    if abs(facts.created - uploaded_at) > tolerance:
        raise VerificationFailed(
            "the signature was not made about the time of the upload",
            rule="openpgp-not-near-upload",
            expected=f"within {tolerance} of {uploaded_at.isoformat()}",
            found=facts.created.isoformat(),
            reading=Reading.EITHER,
            next_step="sign again, then upload",
        )
    return facts.created


def _issuer(facts: SignatureFacts) -> Fingerprint:
    if facts.issuer is None:
        raise VerificationFailed(
            "the signature does not say, under its own protection, which key made it",
            rule="openpgp-no-issuer",
            expected="an issuer fingerprint in the hashed area",
            reading=Reading.EITHER,
            next_step="sign with GnuPG 2.1.16 or later, or Sequoia",
        )
    return facts.issuer


def _check_key(
    certificate: Certificate,
    key: CertificateKey,
    signed_at: datetime,
    *,
    now: datetime,
    uploaded_at: datetime,
    retired_keys: RetiredKeys,
) -> None:
    """Whether ``key`` may have made a signature at ``signed_at``, and may still be believed ``now``."""
    primary = certificate.primary
    flaw = key.weakness or key.unfit
    if flaw is not None:
        raise VerificationFailed(
            flaw.what,
            rule=flaw.rule,
            subject=f"key {key.fingerprint}",
            reading=Reading.EITHER,
            next_step="make a new signing key and register its certificate",
        )
    for part in {primary.fingerprint: primary, key.fingerprint: key}.values():
        if signed_at < part.created:
            raise VerificationFailed(
                "the signature is older than its key",
                rule="openpgp-signature-before-key",
                subject=f"key {part.fingerprint}",
                expected=f"not before {part.created.isoformat()}",
                found=signed_at.isoformat(),
            )
        lenient_until = uploaded_at if retired_keys is RetiredKeys.ACCEPT_EARLIER else now
        _refuse_revoked(part, signed_at, max(signed_at, lenient_until))
        _refuse_expired(part, signed_at, max(signed_at, lenient_until))


def _refuse_revoked(key: CertificateKey, signed_at: datetime, moment: datetime) -> None:
    revocation = key.revocation
    if revocation is None or (not revocation.hard and moment < revocation.at and signed_at < revocation.at):
        return
    raise VerificationFailed(
        f"the key was revoked ({revocation.reason})",
        rule="openpgp-revoked",
        subject=f"key {key.fingerprint}",
        found=f"revoked {revocation.at.isoformat()}, signed {signed_at.isoformat()}",
        next_step="do not install; ask the project which key it signs with now",
    )


def _refuse_expired(key: CertificateKey, signed_at: datetime, moment: datetime) -> None:
    if key.expires is None or moment < key.expires:
        return
    when = "when it signed" if key.expires <= signed_at else "since"
    raise VerificationFailed(
        f"the key had expired {when}" if when != "since" else "the key has expired since",
        rule="openpgp-expired",
        subject=f"key {key.fingerprint}",
        expected=f"valid at {moment.isoformat()}",
        found=f"expired {key.expires.isoformat()}",
        reading=Reading.MISCONFIGURATION,
        next_step="extend the key's expiry and register the certificate again",
    )


def _check_cryptography(packet: Packet, data: bytes | Path, certificate: Certificate, key: CertificateKey) -> Sha256:
    """The signature itself and the self-signatures behind the key, by pysequoia. Returns the data's SHA-256."""
    library = sequoia()
    try:
        loaded = library.Cert.from_bytes(certificate.data)
        signature = library.Sig.from_bytes(packet.raw)
        source = {"file": data} if isinstance(data, Path) else {"bytes": data}
        result = library.verify(store=lambda _ids: [loaded], signature=signature, **source)
        verified = [(found.certificate.upper(), found.signing_key.upper()) for found in result.valid_sigs]
    except RuntimeError as error:
        raise _bad_signature(key, sequoia_reason(error)) from error
    if verified != [(certificate.fingerprint, key.fingerprint)]:
        raise _bad_signature(key, "another key than the signature names")
    return _sha256(data)


def _bad_signature(key: CertificateKey, reason: str) -> VerificationFailed:
    return VerificationFailed(
        "the signature does not verify: the file, the signature or the key's binding was changed",
        rule="openpgp-bad-signature",
        expected=f"a signature by {key.fingerprint}",
        found=reason,
        next_step="do not install; fetch the file and its signature again",
    )


def _sha256(data: bytes | Path) -> Sha256:
    if isinstance(data, bytes):
        return Sha256(hashlib.sha256(data).hexdigest())
    with data.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").hexdigest())
