"""OpenPGP certificates: read once, strictly, into facts that say which keys may sign what, and until when.

Invariants: a ``Certificate`` holds exactly one version 4 or 6 certificate without secret keys, in the bytes that the
verifier is given. Identity, revocation and expiry of the primary key come from the verifier (pysequoia), which checks
the self-signatures; facts of subkeys, which it does not expose, come from the packets and can only refuse.

Off-spec: pysequoia reads the machine's clock when it picks the newest self-signature; ``now`` is a parameter
everywhere else.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import ModuleType
from typing import Final, Literal

from assay.model.errors import OperatorError, Reading, VerificationFailed
from assay.provenance.openpgp_facts import (
    CERTIFICATIONS,
    MAY_SIGN,
    STRONG_HASHES,
    Fingerprint,
    KeyFacts,
    Kind,
    SignatureFacts,
    digest_prefix_matches,
    parse_key_facts,
    parse_signature_facts,
)
from assay.provenance.openpgp_packets import Packet, Tag, armor_labels, dearmor, read_packets

MAX_CERTIFICATE_BYTES: Final = 256_000
MIN_RSA_BITS: Final = 2048
HARD_REASONS: Final = {0: "no reason given", 2: "the key was compromised"}
SOFT_REASONS: Final = {1: "superseded", 3: "retired", 32: "the user ID is no longer valid"}
_ALLOWED: Final = {Tag.PUBLIC_KEY, Tag.PUBLIC_SUBKEY, Tag.USER_ID, Tag.USER_ATTRIBUTE, Tag.SIGNATURE, Tag.PADDING}
_EXPORT_STEP: Final = "export it again with gpg --armor --export-options export-minimal --export FINGERPRINT"

FlawRule = Literal[
    "openpgp-short-key",
    "openpgp-key-algorithm",
    "openpgp-weak-hash",
    "openpgp-not-bound",
    "openpgp-no-back-signature",
    "openpgp-not-for-signing",
]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why no signature of a key is accepted, at whatever time: the rule and the reason."""

    rule: FlawRule
    what: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation. ``hard``: nothing the key ever signed counts; else only what it signed from ``at`` on is void."""

    reason: str
    hard: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class CertificateKey:
    """One key of a certificate.

    ``weakness``: its algorithm is refused. ``unfit``: it may not sign files, or is not bound to the certificate.
    """

    fingerprint: Fingerprint
    algorithm: str
    created: datetime
    expires: datetime | None
    revocation: Revocation | None
    weakness: Flaw | None
    unfit: Flaw | None


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
    weakness = _weakness(primary)
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
    revocation = _revocation(own, Kind.KEY_REVOCATION, primary) if verified.is_revoked else None
    if verified.is_revoked and revocation is None:
        revocation = Revocation("no reason that can be read", hard=True, at=primary.created)
    first = CertificateKey(
        primary.fingerprint,
        primary.algorithm,
        primary.created,
        verified.expiration,
        revocation,
        None,
        _primary_unfit(own + self_signed),
    )
    return Certificate(
        fingerprint=primary.fingerprint,
        version=primary.version,
        created=primary.created,
        expires=verified.expiration,
        revocation=revocation,
        user_ids=tuple(str(user_id) for user_id in verified.user_ids),
        keys=(first, *(_subkey(primary, facts, signatures) for facts, signatures in subkeys)),
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


def _weakness(key: KeyFacts) -> Flaw | None:
    if not key.accepted:
        return Flaw("openpgp-key-algorithm", f"signatures by {key.algorithm} keys are not accepted")
    if key.rsa_bits is not None and key.rsa_bits < MIN_RSA_BITS:
        return Flaw("openpgp-short-key", f"an RSA key of {key.rsa_bits} bits, at least {MIN_RSA_BITS} are needed")
    return None


def _primary_unfit(self_signatures: list[SignatureFacts]) -> Flaw | None:
    flags = [facts.key_flags for facts in self_signatures if facts.key_flags is not None]
    if flags and not any(flag & MAY_SIGN for flag in flags):
        return Flaw("openpgp-not-for-signing", "the primary key is not marked as one that signs files")
    return None


def _subkey(primary: KeyFacts, key: KeyFacts, signatures: list[SignatureFacts]) -> CertificateKey:
    binding = _binding(primary, key, signatures)
    expires = None
    if isinstance(binding, Flaw):
        unfit: Flaw | None = binding
    else:
        unfit = _binding_flaw(primary, key, binding)
        if binding.key_expires_after:
            expires = key.created + timedelta(seconds=binding.key_expires_after)
    revocation = _revocation(signatures, Kind.SUBKEY_REVOCATION, primary, key)
    return CertificateKey(key.fingerprint, key.algorithm, key.created, expires, revocation, _weakness(key), unfit)


def _binding(primary: KeyFacts, key: KeyFacts, signatures: list[SignatureFacts]) -> SignatureFacts | Flaw:
    """The newest binding of ``key`` to ``primary`` that fits both, or why there is none."""
    bindings = [facts for facts in signatures if facts.kind == Kind.SUBKEY_BINDING and facts.created is not None]
    if not bindings:
        return Flaw("openpgp-not-bound", "nothing binds the subkey to the certificate")
    strong = [facts for facts in bindings if facts.hash_algorithm in STRONG_HASHES]
    if not strong:
        return Flaw("openpgp-weak-hash", f"the subkey's binding uses {bindings[-1].hash_name}")
    fitting = [facts for facts in strong if digest_prefix_matches(facts, primary.hashed_form, key.hashed_form)]
    if not fitting:
        return Flaw("openpgp-not-bound", "the subkey's binding was made for other keys")
    return max(fitting, key=lambda facts: facts.created or key.created)


def _binding_flaw(primary: KeyFacts, key: KeyFacts, binding: SignatureFacts) -> Flaw | None:
    if binding.key_flags is None or not binding.key_flags & MAY_SIGN:
        return Flaw("openpgp-not-for-signing", "the subkey is not marked as one that signs files")
    backs = [parse_signature_facts(body) for body in binding.embedded]
    backs = [facts for facts in backs if facts.kind == Kind.PRIMARY_KEY_BINDING]
    if not backs:
        return Flaw("openpgp-no-back-signature", "the subkey never agreed to be part of the certificate")
    if not any(facts.hash_algorithm in STRONG_HASHES for facts in backs):
        return Flaw("openpgp-weak-hash", f"the subkey's back-signature uses {backs[-1].hash_name}")
    if not any(digest_prefix_matches(facts, primary.hashed_form, key.hashed_form) for facts in backs):
        return Flaw("openpgp-no-back-signature", "the subkey's back-signature was made for another certificate")
    return None


def _revocation(signatures: list[SignatureFacts], kind: Kind, *keys: KeyFacts) -> Revocation | None:
    """The gravest revocation among ``signatures``: a hard one, else the earliest; no reason is a hard one."""
    forms = [key.hashed_form for key in keys]
    found = [
        Revocation(
            _reason_text(facts.revocation_reason),
            facts.revocation_reason not in SOFT_REASONS,
            facts.created or keys[-1].created,
        )
        for facts in signatures
        if facts.kind == kind and (facts.hash_algorithm not in STRONG_HASHES or digest_prefix_matches(facts, *forms))
    ]
    return min(found, key=lambda revocation: (not revocation.hard, revocation.at), default=None)


def _reason_text(reason: int | None) -> str:
    return {**HARD_REASONS, **SOFT_REASONS}.get(reason or 0, f"reason {reason}")
