"""OpenPGP certificates: read once, strictly, into facts that say which keys may sign what, and until when.

Invariants: a ``Certificate`` holds exactly one version 4 or 6 certificate without secret keys, in the bytes that the
verifier is given. Identity, revocation and expiry of the primary key come from the verifier (pysequoia), which checks
the self-signatures; facts of subkeys, which it does not expose, come from the packets and can only refuse.

Off-spec: pysequoia reads the machine's clock when it picks the newest self-signature; ``now`` is a parameter
everywhere else.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Final

from assay.model.errors import OperatorError, Reading, VerificationFailed
from assay.provenance.openpgp_facts import (
    CERTIFICATIONS,
    STRONG_HASHES,
    Fingerprint,
    KeyFacts,
    Kind,
    SignatureFacts,
    parse_key_facts,
    parse_signature_facts,
)
from assay.provenance.openpgp_keys import (
    CertificateKey,
    Revocation,
    find_revocation,
    judge_subkey,
    primary_unfit,
    weakness_of,
)
from assay.provenance.openpgp_packets import Packet, Tag, armor_labels, dearmor, read_packets

MAX_CERTIFICATE_BYTES: Final = 256_000
_ALLOWED: Final = {Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY, Tag.USER_ID, Tag.USER_ATTRIBUTE, Tag.SIGNATURE, Tag.PADDING}
_EXPORT_STEP: Final = "export it again with gpg --armor --export-options export-minimal --export FINGERPRINT"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An OpenPGP certificate. Times in UTC; ``expires`` is None for never; ``revocation`` is None while it is good.

    ``data``: the binary packets, public, to be stored or shipped as they are. ``keys``: the primary key, then subkeys.
    """

    fingerprint: Fingerprint
    version: int
    created: datetime
    expires: datetime | None
    revocation: Revocation | None
    user_ids: tuple[str, ...]
    keys: tuple[CertificateKey, ...]
    data: bytes

    @property
    def primary(self) -> CertificateKey:
        """The primary key, whose fingerprint names the certificate."""
        return self.keys[0]

    def key(self, fingerprint: Fingerprint) -> CertificateKey | None:
        """The key with ``fingerprint``, or None."""
        return next((key for key in self.keys if key.fingerprint == fingerprint), None)


def parse_fingerprint(text: str) -> Fingerprint:
    """A fingerprint as people write it: spaces, colons, ``0x``, either case.

    Raises VerificationFailed (``openpgp-fingerprint``) for anything else; key IDs are refused because they collide.
    """
    digits = re.sub(r"[\s:]", "", text).removeprefix("0x").upper()
    if not re.fullmatch(r"(?:[0-9A-F]{40}|[0-9A-F]{64})", digits):
        raise VerificationFailed(
            "not a fingerprint",
            rule="openpgp-fingerprint",
            expected="40 or 64 hex digits",
            found=repr(text[:80]),
            reading=Reading.MISCONFIGURATION,
            next_step="gpg --fingerprint shows it",
        )
    return Fingerprint(digits)


def sequoia() -> ModuleType:
    """pysequoia, loaded when it is needed. Raises OperatorError where it is not installed."""
    try:
        import pysequoia
    except ImportError as error:
        raise OperatorError(
            "OpenPGP signatures cannot be checked: pysequoia is not installed",
            rule="provenance-not-installed",
            next_step="pip install 'assay[provenance]'",
        ) from error
    return pysequoia


def sequoia_reason(error: Exception) -> str:
    """What pysequoia said, without its stack: it raises bare RuntimeError with a backtrace in the text."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def parse_certificate(data: bytes) -> Certificate:
    """Read one certificate, armored or binary.

    Raises VerificationFailed: ``openpgp-too-large``, ``openpgp-armor``, ``openpgp-packet``, ``openpgp-secret-key``,
    ``openpgp-certificate`` for what is no certificate or not exactly one, ``openpgp-key-version`` for other versions
    than 4 and 6, ``openpgp-short-key`` and ``openpgp-key-algorithm`` for its primary key, ``openpgp-weak-hash`` when
    only SHA-1 holds it together. A revoked or expired certificate is read: its signatures are refused.
    """
    packets = read_packets(_binary(data))
    primary, own, subkeys, self_signed = _facts(packets)
    weakness = weakness_of(primary)
    if weakness is not None:
        raise VerificationFailed(
            weakness.what,
            rule=weakness.rule,
            subject=f"key {primary.fingerprint}",
            reading=Reading.MISCONFIGURATION,
            next_step="make a new key, for example with gpg --quick-gen-key NAME ed25519 sign",
        )
    binary = b"".join(packet.raw for packet in packets)
    verified = _load(binary, own + self_signed)
    if verified.fingerprint.upper() != primary.fingerprint:
        raise _not_a_certificate("two readers see different keys in it")
    revocation = find_revocation(own, Kind.KEY_REVOCATION, primary) if verified.is_revoked else None
    if verified.is_revoked and revocation is None:
        revocation = Revocation("no reason that can be read", hard=True, at=primary.created)
    first = CertificateKey(
        primary.fingerprint,
        primary.algorithm,
        primary.created,
        verified.expiration,
        revocation,
        None,
        primary_unfit(own + self_signed),
    )
    return Certificate(
        fingerprint=primary.fingerprint,
        version=primary.version,
        created=primary.created,
        expires=verified.expiration,
        revocation=revocation,
        user_ids=tuple(str(user_id) for user_id in verified.user_ids),
        keys=(first, *(judge_subkey(primary, facts, signatures) for facts, signatures in subkeys)),
        data=binary,
    )


def merge_certificates(known: Certificate, update: Certificate) -> Certificate:
    """``known`` with everything that ``update``, a newer export of the same certificate, adds: revocations above all.

    Take this, and never the update alone: gpg drops the self-signatures it replaces when an expiry is extended, and
    what the key signed before would no longer verify. Raises VerificationFailed (``openpgp-certificate``) for another
    certificate.
    """
    if known.fingerprint != update.fingerprint:
        raise VerificationFailed(
            "this is another certificate",
            rule="openpgp-certificate",
            expected=known.fingerprint,
            found=update.fingerprint,
        )
    certificates = sequoia().Cert
    merged = certificates.from_bytes(known.data).merge(certificates.from_bytes(update.data))
    return parse_certificate(bytes(merged))


def revoke_certificate(known: Certificate, revocation: bytes) -> Certificate:
    """``known`` with ``revocation`` applied: an armored revocation alone, as gpg keeps one for each key it makes.

    Raises VerificationFailed (``openpgp-revocation``) unless it is one revocation that verifies for this certificate.
    """
    if len(revocation) > MAX_CERTIFICATE_BYTES:
        raise _not_a_revocation("it is too large")
    packets = read_packets(dearmor(revocation, "PGP PUBLIC KEY BLOCK"))
    if [packet.tag for packet in packets] != [Tag.SIGNATURE]:
        raise _not_a_revocation("it is not exactly one signature packet")
    first, *others = read_packets(known.data)
    revoked = parse_certificate(b"".join((first.raw, packets[0].raw, *(packet.raw for packet in others))))
    if revoked.revocation is None:
        raise _not_a_revocation("it does not verify for this certificate")
    return revoked


def _not_a_revocation(what: str) -> VerificationFailed:
    return VerificationFailed(
        f"not a revocation of this certificate: {what}",
        rule="openpgp-revocation",
        reading=Reading.MISCONFIGURATION,
        next_step="take the file that gpg wrote to openpgp-revocs.d, or make one with gpg --gen-revoke",
    )


def _binary(data: bytes) -> bytes:
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise VerificationFailed(
            "the certificate is too large",
            rule="openpgp-too-large",
            expected=f"at most {MAX_CERTIFICATE_BYTES} bytes",
            found=f"{len(data)} bytes",
            reading=Reading.EITHER,
            next_step=_EXPORT_STEP,
        )
    labels = armor_labels(data)
    if any("PRIVATE" in label for label in labels):
        raise _secret_key()
    if labels.count("PGP PUBLIC KEY BLOCK") > 1:
        raise _not_a_certificate("several certificates, expected exactly one")
    return dearmor(data, "PGP PUBLIC KEY BLOCK") if labels else data


def _secret_key() -> VerificationFailed:
    return VerificationFailed(
        "this is a private key",
        rule="openpgp-secret-key",
        reading=Reading.MISCONFIGURATION,
        next_step="it has been sent over the network: revoke it, make a new one, and export the public part only",
    )


def _not_a_certificate(what: str) -> VerificationFailed:
    return VerificationFailed(what, rule="openpgp-certificate", reading=Reading.EITHER, next_step=_EXPORT_STEP)


def _facts(
    packets: tuple[Packet, ...],
) -> tuple[KeyFacts, list[SignatureFacts], list[tuple[KeyFacts, list[SignatureFacts]]], list[SignatureFacts]]:
    """The primary key, signatures on it, subkeys with theirs, and its own certifications of user IDs."""
    if any(packet.tag in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY) for packet in packets):
        raise _secret_key()
    if not packets or packets[0].tag != Tag.PUBLIC_KEY or any(packet.tag not in _ALLOWED for packet in packets):
        raise _not_a_certificate("not an OpenPGP certificate")
    if any(packet.tag == Tag.PUBLIC_KEY for packet in packets[1:]):
        raise _not_a_certificate("several certificates, expected exactly one")
    if any(
        packet.body[:1] not in (b"\x04", b"\x06")
        for packet in packets
        if packet.tag in (Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY)
    ):
        raise VerificationFailed(
            "a key of another version than 4 or 6",
            rule="openpgp-key-version",
            reading=Reading.MISCONFIGURATION,
            next_step="make a key with a current OpenPGP program",
        )
    primary = parse_key_facts(packets[0].body)
    own: list[SignatureFacts] = []
    user_ids: list[SignatureFacts] = []
    subkeys: list[tuple[KeyFacts, list[SignatureFacts]]] = []
    target = own
    for packet in packets[1:]:
        if packet.tag == Tag.PUBLIC_SUBKEY:
            target = []
            subkeys.append((parse_key_facts(packet.body), target))
        elif packet.tag in (Tag.USER_ID, Tag.USER_ATTRIBUTE):
            target = user_ids
        elif packet.tag == Tag.SIGNATURE:
            target.append(_readable_signature(packet))
    self_signed = [
        facts for facts in user_ids if facts.kind in CERTIFICATIONS and facts.issuer in (None, primary.fingerprint)
    ]
    return primary, own, subkeys, self_signed


def _readable_signature(packet: Packet) -> SignatureFacts:
    try:
        return parse_signature_facts(packet.body)
    except VerificationFailed as error:
        raise _not_a_certificate(f"it contains a signature that cannot be read: {error.what}") from error


class _Loaded:
    """What pysequoia says about a certificate, each attribute read once."""

    def __init__(self, binary: bytes) -> None:
        certificate = sequoia().Cert.from_bytes(binary)
        self.fingerprint: str = certificate.fingerprint
        self.is_revoked: bool = certificate.is_revoked
        self.expiration: datetime | None = certificate.expiration
        self.user_ids = certificate.user_ids


def _load(binary: bytes, self_signatures: list[SignatureFacts]) -> _Loaded:
    try:
        return _Loaded(binary)
    except RuntimeError as error:
        reason = sequoia_reason(error)
        held_by = {facts.hash_algorithm for facts in self_signatures}
        if held_by and not held_by & set(STRONG_HASHES):
            raise VerificationFailed(
                "the certificate's own signatures use a hash algorithm that is broken",
                rule="openpgp-weak-hash",
                found=self_signatures[0].hash_name,
                reading=Reading.MISCONFIGURATION,
                next_step="renew it, for example with gpg --quick-set-expire, in a current gpg",
            ) from error
        raise _not_a_certificate(f"the certificate does not verify ({reason})") from error
