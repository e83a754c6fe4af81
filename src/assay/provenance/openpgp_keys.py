"""The keys of a certificate, judged: which may sign files, until when, and what speaks against the others.

Invariant: verdicts come from facts, before any cryptography, and can only refuse: whether a binding or a revocation is
genuine is the verifier's matter. A revocation that fits its key counts without further question.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from assay.provenance.openpgp_facts import (
    MAY_SIGN,
    STRONG_HASHES,
    Fingerprint,
    KeyFacts,
    Kind,
    SignatureFacts,
    digest_prefix_matches,
    parse_signature_facts,
)

MIN_RSA_BITS: Final = 2048
HARD_REASONS: Final = {0: "no reason given", 2: "the key was compromised"}
SOFT_REASONS: Final = {1: "superseded", 3: "retired", 32: "the user ID is no longer valid"}

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


def weakness_of(key: KeyFacts) -> Flaw | None:
    """Why the key's algorithm or size is refused, or None."""
    if not key.accepted:
        return Flaw("openpgp-key-algorithm", f"signatures by {key.algorithm} keys are not accepted")
    if key.rsa_bits is not None and key.rsa_bits < MIN_RSA_BITS:
        return Flaw("openpgp-short-key", f"an RSA key of {key.rsa_bits} bits, at least {MIN_RSA_BITS} are needed")
    return None


def primary_unfit(self_signatures: list[SignatureFacts]) -> Flaw | None:
    """Why the primary key itself may not sign files, by its own signatures on the certificate, or None."""
    flags = [facts.key_flags for facts in self_signatures if facts.key_flags is not None]
    if flags and not any(flag & MAY_SIGN for flag in flags):
        return Flaw("openpgp-not-for-signing", "the primary key is not marked as one that signs files")
    return None


def judge_subkey(primary: KeyFacts, key: KeyFacts, signatures: list[SignatureFacts]) -> CertificateKey:
    """The verdict on the subkey ``key`` of ``primary``; ``signatures`` stand behind it in the certificate."""
    binding = _binding(primary, key, signatures)
    expires = None
    if isinstance(binding, Flaw):
        unfit: Flaw | None = binding
    else:
        unfit = _binding_flaw(primary, key, binding)
        if binding.key_expires_after:
            expires = key.created + timedelta(seconds=binding.key_expires_after)
    revocation = find_revocation(signatures, Kind.SUBKEY_REVOCATION, primary, key)
    return CertificateKey(key.fingerprint, key.algorithm, key.created, expires, revocation, weakness_of(key), unfit)


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


def find_revocation(signatures: list[SignatureFacts], kind: Kind, *keys: KeyFacts) -> Revocation | None:
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
