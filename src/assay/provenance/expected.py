"""Evidence held against what is expected: the one comparison that index, signer and client share.

Invariants: who is expected comes from signed metadata or policy (``assay.model.signers``); evidence that is there must
verify, whether anybody demanded it or not; what came while somebody was expected counts, what came before or after
does not, and nothing counts of those who are distrusted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from assay.model.digests import Sha256
from assay.model.errors import Reading, VerificationFailed
from assay.model.signers import Term
from assay.provenance.attestation_format import Attestation
from assay.provenance.attestations import FIRST_SEEN, VerifiedAttestation, verify_attestation
from assay.provenance.identities import SignerIdentity, read_signing_certificate, same_uri
from assay.provenance.openpgp import Certificate, RetiredKeys, VerifiedSignature, verify_signature
from assay.provenance.publishers import (
    GitHubPublisher,
    GitLabPublisher,
    Publisher,
    describe_publisher,
    publisher_of,
    require_publisher,
)
from assay.provenance.sigstore_trust import SigstoreTrust

SIGNATURE_TOLERANCE: Final = timedelta(days=14)
"""How far an OpenPGP signature's own time may be from its upload: as long as a release takes files."""

_GETTING_CLOSER: Final = (
    "attestation-issuer",
    "attestation-identity",
    "attestation-repository",
    "attestation-owner",
    "attestation-workflow",
    "attestation-ref",
    "signer-withdrawn",
)


@dataclass(frozen=True, slots=True)
class ExpectedCertificate:
    """A certificate that a file may be signed with, and when it counts."""

    certificate: Certificate
    term: Term


@dataclass(frozen=True, slots=True)
class ExpectedPublisher:
    """A publisher that may attest a file, against which root, and when it counts.

    ``first_seen``: nobody chose this publisher; another workflow of the same repository is the same publisher.
    """

    publisher: Publisher
    trust: SigstoreTrust
    term: Term
    first_seen: bool = False


def verify_expected_signature(
    signature: bytes,
    data: bytes | Path,
    expected: Sequence[ExpectedCertificate],
    *,
    came: datetime,
    now: datetime,
    retired_keys: RetiredKeys = RetiredKeys.ACCEPT_EARLIER,
) -> VerifiedSignature:
    """Check that an expected certificate's key made ``signature`` over ``data``; it ``came`` to the index then.

    Raises VerificationFailed as ``verify_signature`` does, or ``signer-withdrawn``, ``signer-distrusted``.
    """
    found = verify_signature(
        signature,
        data,
        [each.certificate for each in expected],
        uploaded_at=came,
        now=now,
        tolerance=SIGNATURE_TOLERANCE,
        retired_keys=retired_keys,
    )
    terms = [each.term for each in expected if each.certificate.fingerprint == found.certificate]
    if not any(_counts(term, came, now, retired_keys) for term in terms):
        raise _not_in_force(terms, f"certificate {found.certificate}", came)
    return found


def verify_expected_attestations(
    attestations: Sequence[Attestation],
    expected: Sequence[ExpectedPublisher],
    *,
    filename: str,
    sha256: Sha256,
    came: datetime,
    now: datetime,
    retired_keys: RetiredKeys = RetiredKeys.ACCEPT_EARLIER,
) -> tuple[VerifiedAttestation, ...]:
    """Check that each of ``attestations`` was made for this file by an expected publisher. None may fail.

    Raises VerificationFailed as ``verify_attestation`` does, ``attestation-unexpected`` where nobody is expected, or
    ``signer-withdrawn``, ``signer-distrusted``.
    """
    verified = []
    for attestation in attestations:
        identity = read_signing_certificate(attestation.certificate).identity
        chosen = _choose(identity, expected, came, now, retired_keys)
        verified.append(
            verify_attestation(
                attestation,
                filename=filename,
                sha256=sha256,
                publisher=FIRST_SEEN if chosen.first_seen else chosen.publisher,
                trust=chosen.trust,
                now=now,
            )
        )
    return tuple(verified)


def verify_first_seen(
    attestations: Sequence[Attestation], trust: SigstoreTrust, *, filename: str, sha256: Sha256, now: datetime
) -> tuple[VerifiedAttestation, ...]:
    """Check attestations whose publisher nobody knows yet: what they say is to be remembered, not believed.

    Raises VerificationFailed as ``verify_attestation`` does.
    """
    return tuple(
        verify_attestation(attestation, filename=filename, sha256=sha256, publisher=FIRST_SEEN, trust=trust, now=now)
        for attestation in attestations
    )


def _choose(
    identity: SignerIdentity,
    expected: Sequence[ExpectedPublisher],
    came: datetime,
    now: datetime,
    retired_keys: RetiredKeys,
) -> ExpectedPublisher:
    """The expected publisher that ``identity`` claims to be: not verified yet. Raises the refusal that came closest."""
    if not expected:
        raise VerificationFailed(
            "attested, but no publisher is registered for this project",
            rule="attestation-unexpected",
            found=describe_publisher(publisher_of(identity)),
            reading=Reading.EITHER,
            next_step="if this is the project's publisher, register it: assay attester add",
        )
    refusals = []
    for each in expected:
        if each.first_seen and not each.term.holds(came) and len(expected) > 1:
            continue  # somebody chose another one since: a guess is no candidate any more
        try:
            _require_same(identity, each)
            if not _counts(each.term, came, now, retired_keys):
                raise _not_in_force([each.term], describe_publisher(each.publisher), came)
        except VerificationFailed as refusal:
            refusals.append(refusal)
        else:
            return each
    raise max(refusals, key=_closeness)


def _closeness(refusal: VerificationFailed) -> int:
    return _GETTING_CLOSER.index(refusal.rule) if refusal.rule in _GETTING_CLOSER else len(_GETTING_CLOSER)


def _require_same(identity: SignerIdentity, expected: ExpectedPublisher) -> None:
    """Refuse another publisher than the expected one. Raises VerificationFailed."""
    if expected.first_seen and is_same_project(publisher_of(identity), expected.publisher):
        return
    require_publisher(identity, expected.publisher)


def is_same_project(publisher: Publisher, seen: Publisher) -> bool:
    """Whether both are workflows of one repository: by its immutable ids where both have them, else by its name.

    A workflow is renamed often, a repository seldom; and with the ids of another owner an equal name counts nothing.
    """
    if isinstance(publisher, GitHubPublisher) and isinstance(seen, GitHubPublisher):
        same_forge = (publisher.server, publisher.issuer) == (seen.server, seen.issuer)
    elif isinstance(publisher, GitLabPublisher) and isinstance(seen, GitLabPublisher):
        same_forge = publisher.server == seen.server
    else:
        return publisher == seen
    ids, seen_ids = (publisher.owner_id, publisher.repository_id), (seen.owner_id, seen.repository_id)
    if None not in ids and None not in seen_ids:
        return same_forge and ids == seen_ids
    return same_forge and same_uri(publisher.repository, seen.repository)


def _counts(term: Term, came: datetime, now: datetime, retired_keys: RetiredKeys) -> bool:
    return term.holds(came) and (retired_keys is RetiredKeys.ACCEPT_EARLIER or term.holds(now))


def _not_in_force(terms: Sequence[Term], who: str, came: datetime) -> VerificationFailed:
    if any(term.distrusted for term in terms):
        return VerificationFailed(
            "signed by somebody whom the project no longer trusts, whenever it was",
            rule="signer-distrusted",
            found=who,
            next_step="do not install; the project must sign the file again",
        )
    term = terms[-1]
    return VerificationFailed(
        "signed by somebody who was not registered for this project at that time",
        rule="signer-withdrawn",
        expected=f"from {term.since.isoformat()}" + (f" until {term.until.isoformat()}" if term.until else ""),
        found=f"{who}, {came.isoformat()}",
        next_step="sign with a registered key or publisher",
    )
