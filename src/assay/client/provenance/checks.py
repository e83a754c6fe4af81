"""Who signed a file, held against its project's signed page and the user's policy, before the file is used.

Invariants: what the page says lies beside a file is fetched by its hash and must verify; what page or policy demand
must be there; the leniencies that policy names are told, never silent. sigstore is loaded in a thread, and only when
a file that is attested is installed.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from assay.client.provenance.pinned import PinnedFiles
from assay.client.provenance.policy import Demands, FirstSeen, ProvenancePolicy
from assay.fetch import SERVER_REFUSED
from assay.formats.pages import PageFile, ProjectPage
from assay.model.digests import Sha256
from assay.model.errors import Reading, RefusedByPolicy, Unreachable, VerificationFailed
from assay.model.signers import Attached, RegisteredCertificate, RegisteredPublisher, Signers, Term
from assay.provenance.attestation_format import Attestation
from assay.provenance.attestations import VerifiedAttestation
from assay.provenance.expected import (
    ExpectedCertificate,
    ExpectedPublisher,
    verify_expected_attestations,
    verify_expected_signature,
    verify_first_seen,
)
from assay.provenance.integrity import MAX_PROVENANCE_BYTES, parse_provenance
from assay.provenance.openpgp import MAX_SIGNATURE_BYTES, VerifiedSignature, parse_certificate
from assay.provenance.openpgp_certificate import MAX_CERTIFICATE_BYTES
from assay.provenance.publishers import describe_publisher, parse_publisher, require_publisher
from assay.provenance.sigstore_trust import MAX_ROOT_BYTES, SigstoreTrust, bundled_trust
from assay.provenance.slsa import BuildProvenance, BuildRule, require_build

_ANOTHER_IDENTITY: Final = frozenset(
    {
        "attestation-issuer",
        "attestation-repository",
        "attestation-workflow",
        "attestation-owner",
        "attestation-identity",
    }
)
_ALWAYS: Final = Term(datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class FileEvidence:
    """What verified beside one file, here and now."""

    signature: VerifiedSignature | None = None
    attestations: tuple[VerifiedAttestation, ...] = ()


class ProvenanceChecks:
    """The checks of one index's files. ``notice`` is told, in one line, of every leniency that was used."""

    def __init__(
        self,
        pinned: PinnedFiles,
        policy: ProvenancePolicy,
        clock: Callable[[], datetime],
        notice: Callable[[str], None],
    ) -> None:
        self._pinned = pinned
        self._policy = policy
        self._clock = clock
        self._notice = notice

    async def bring(self, page: ProjectPage, entry: PageFile) -> str | None:
        """Have the index bring the provenance that the upstream announces; why it cannot, or None."""
        try:
            if await self._pinned.bring(page.project, entry, MAX_PROVENANCE_BYTES):
                return None
        except Unreachable as error:
            if error.rule != SERVER_REFUSED:
                raise
            return error.found
        return "the index has none"

    async def check(
        self, page: ProjectPage, entry: PageFile, path: Path, *, unverified: str | None = None
    ) -> FileEvidence:
        """Check who signed the file at ``path``, which is what ``entry`` of ``page`` vouches for.

        ``unverified``: why the index could not bring what the upstream announces. Raises VerificationFailed (with a
        rule of docs/provenance.md), RefusedByPolicy, Unreachable.
        """
        demands = self._policy.demands(page.project)
        signature = await self._check_signature(page, entry, path, demands)
        attestations = await self._check_attestations(page, entry, demands, unverified)
        return FileEvidence(signature, attestations)

    # --- OpenPGP ----------------------------------------------------------------------------------------------

    async def _check_signature(
        self, page: ProjectPage, entry: PageFile, path: Path, demands: Demands
    ) -> VerifiedSignature | None:
        if entry.signature is None:
            self._require_no_signature(page, entry, demands)
            return None
        verified = await self.signature(page, entry, entry.signature, path)
        if demands.fingerprints and verified.certificate not in demands.fingerprints:
            raise RefusedByPolicy(
                "signed with another key than policy names for this project",
                rule="policy-signer",
                subject=entry.filename,
                expected=" or ".join(demands.fingerprints),
                found=verified.certificate,
                reading=Reading.EITHER,
                next_step="if the project's key changed, compare its fingerprint and change the policy",
            )
        return verified

    async def signature(self, page: ProjectPage, entry: PageFile, beside: Attached, path: Path) -> VerifiedSignature:
        """The signature of the file at ``path``, verified against the page's certificates."""
        data, expected = await asyncio.gather(
            self._pinned.beside(page.project, entry, ".asc", beside, MAX_SIGNATURE_BYTES), self.certificates(page)
        )
        return await asyncio.to_thread(
            verify_expected_signature,
            data,
            path,
            expected,
            came=beside.since,
            now=self._clock(),
            retired_keys=self._policy.retired_keys,
        )

    async def certificates(self, page: ProjectPage) -> tuple[ExpectedCertificate, ...]:
        """Every certificate that the page names, fetched and read."""
        return tuple(await asyncio.gather(*(self._certificate(page, each) for each in page.signers.certificates)))

    async def _certificate(self, page: ProjectPage, each: RegisteredCertificate) -> ExpectedCertificate:
        name = f"certificates/{page.project}/{each.sha256}.pgp"
        certificate = parse_certificate(await self._pinned.published(name, each.sha256, MAX_CERTIFICATE_BYTES))
        if certificate.fingerprint != each.fingerprint:
            raise VerificationFailed(
                "the page names another certificate than the one it pins",
                rule="signer-pin",
                expected=each.fingerprint,
                found=certificate.fingerprint,
            )
        return ExpectedCertificate(certificate, each.term)

    def _require_no_signature(self, page: ProjectPage, entry: PageFile, demands: Demands) -> None:
        if page.signers.demand_signature(entry.upload_time):
            raise VerificationFailed(
                "files of this project must be signed, and nothing says that this one is",
                rule="signature-missing",
                subject=entry.filename,
                expected="a signature by " + " or ".join(each.fingerprint for each in page.signers.certificates),
                next_step="do not install it; tell the index's operator",
            )
        if demands.signature:
            raise RefusedByPolicy(
                "policy asks for a signature, and this file has none",
                rule="signature-missing",
                subject=entry.filename,
                expected=" or ".join(demands.fingerprints) or "a signature by a registered certificate",
                next_step="ask the project to sign its files, or relax 'provenance' in the policy",
            )

    # --- PEP 740 ----------------------------------------------------------------------------------------------

    async def _check_attestations(
        self, page: ProjectPage, entry: PageFile, demands: Demands, unverified: str | None = None
    ) -> tuple[VerifiedAttestation, ...]:
        if entry.provenance is None:
            self._require_no_attestation(page, entry, demands, unverified)
            return ()
        data = await self._pinned.beside(page.project, entry, ".provenance", entry.provenance, MAX_PROVENANCE_BYTES)
        attestations = parse_provenance(data).attestations
        expected = (*_of_policy(demands), *await self._publishers(page))
        try:
            verified = await asyncio.to_thread(
                verify_expected_attestations,
                attestations,
                expected,
                filename=entry.filename,
                sha256=entry.sha256,
                came=entry.provenance.since,
                now=self._clock(),
                retired_keys=self._policy.retired_keys,
            )
        except VerificationFailed as refusal:
            if refusal.rule not in _ANOTHER_IDENTITY or demands.attesters or not _only_seen(page.signers):
                raise
            verified = await self._changed(entry, attestations, expected[-1].trust, refusal)
        _require_policy(entry, verified, demands)
        return verified

    async def attestations(self, page: ProjectPage, entry: PageFile) -> tuple[VerifiedAttestation, ...]:
        """The attestations of a file, verified against page and policy as at install; the file is not needed."""
        return await self._check_attestations(page, entry, self._policy.demands(page.project))

    async def _publishers(self, page: ProjectPage) -> tuple[ExpectedPublisher, ...]:
        return tuple(await asyncio.gather(*(self._publisher(page, each) for each in page.signers.publishers)))

    async def _publisher(self, page: ProjectPage, each: RegisteredPublisher) -> ExpectedPublisher:
        trust = await self._trust(page, each.root) if each.root is not None else bundled_trust()
        return ExpectedPublisher(parse_publisher(dict(each.members)), trust, each.term, each.first_seen)

    async def _trust(self, page: ProjectPage, root: Sha256) -> SigstoreTrust:
        name = f"trust-roots/{page.project}/{root}.json"
        data = await self._pinned.published(name, root, MAX_ROOT_BYTES)
        return SigstoreTrust(f"the own root of {page.project}", data)

    def _require_no_attestation(
        self, page: ProjectPage, entry: PageFile, demands: Demands, unverified: str | None
    ) -> None:
        if page.signers.demand_attestation(entry.upload_time):
            raise VerificationFailed(
                "files of this project must be attested, and nothing says that this one is",
                rule="attestation-missing",
                subject=entry.filename,
                next_step="do not install it; tell the index's operator",
            )
        if demands.attestation:
            raise RefusedByPolicy(
                "policy asks for an attestation, and this file has none",
                rule="attestation-missing",
                subject=entry.filename,
                expected=" or ".join(describe_publisher(each.publisher) for each in demands.attesters) or None,
                next_step="ask the project to publish with attestations, or relax 'provenance' in the policy",
            )
        if entry.upstream_provenance is not None and page.signers.has_chosen_publisher:
            raise VerificationFailed(
                "the upstream's attestations are not by the publisher that the index's operator registered",
                rule="attestation-unverified",
                subject=entry.filename,
                found=unverified,
                next_step="do not install it; if the project moved, the operator registers its new publisher",
            )
        if entry.upstream_provenance is not None:
            self._alarm(
                RefusedByPolicy(
                    "the upstream says that this file is attested, and the index could not verify that",
                    rule="attestation-unverified",
                    subject=entry.filename,
                    found=unverified,
                    reading=Reading.EITHER,
                    next_step="the index's log says why; first_seen = 'warn' in the policy installs it all the same",
                )
            )
        elif page.signers.foretell_attestation(entry.upload_time):
            self._alarm(
                RefusedByPolicy(
                    "earlier files of this project were attested, and this one is not",
                    rule="attestation-lost",
                    subject=entry.filename,
                    expected="an attestation by " + " or ".join(_seen(page.signers)),
                    reading=Reading.EITHER,
                    next_step="ask the project why; first_seen = 'warn' in the policy installs it all the same",
                )
            )

    async def _changed(
        self, entry: PageFile, attestations: Sequence[Attestation], trust: SigstoreTrust, refusal: VerificationFailed
    ) -> tuple[VerifiedAttestation, ...]:
        """Attested by somebody else than whoever was seen first: an alarm, unless policy only wants to be told."""
        self._alarm(
            RefusedByPolicy(
                "attested by somebody else than the publisher that was seen first",
                rule="attester-changed",
                subject=entry.filename,
                expected=refusal.expected,
                found=refusal.found,
                reading=Reading.EITHER,
                next_step="if the project moved, name its new publisher in the policy (provenance.publishers)",
            )
        )
        return await asyncio.to_thread(
            verify_first_seen,
            attestations,
            trust,
            filename=entry.filename,
            sha256=entry.sha256,
            now=self._clock(),
        )

    def _alarm(self, refusal: RefusedByPolicy) -> None:
        if self._policy.first_seen is FirstSeen.REFUSE:
            raise refusal
        self._notice(f"{refusal} [{refusal.rule}]")


def _of_policy(demands: Demands) -> tuple[ExpectedPublisher, ...]:
    return tuple(
        ExpectedPublisher(each.publisher, each.trust or bundled_trust(), _ALWAYS) for each in demands.attesters
    )


def _require_policy(entry: PageFile, verified: Sequence[VerifiedAttestation], demands: Demands) -> None:
    """At least one attestation is by a publisher that policy names, and one build satisfies each rule."""
    if demands.attesters and not any(_is_of(each, demands) for each in verified):
        raise RefusedByPolicy(
            "attested by another publisher than policy names for this project",
            rule="policy-attester",
            subject=entry.filename,
            expected=" or ".join(describe_publisher(each.publisher) for each in demands.attesters),
            found=", ".join(describe_publisher(each.publisher) for each in verified),
            reading=Reading.EITHER,
            next_step="if the project moved, change the policy; else do not install it",
        )
    builds: list[BuildProvenance | None] = [each.build for each in verified if each.build is not None]
    for rule in demands.builds:
        _require_any_build(builds or [None], rule, entry.filename)


def _require_any_build(builds: Sequence[BuildProvenance | None], rule: BuildRule, filename: str) -> None:
    refusals = []
    for build in builds:
        try:
            require_build(build, rule, filename=filename)
        except RefusedByPolicy as refusal:
            refusals.append(refusal)
        else:
            return
    raise refusals[0]


def _is_of(attestation: VerifiedAttestation, demands: Demands) -> bool:
    for each in demands.attesters:
        trust = each.trust or bundled_trust()
        try:
            require_publisher(attestation.identity, each.publisher)
        except VerificationFailed:
            continue
        if attestation.root == trust.sha256:
            return True
    return False


def _only_seen(signers: Signers) -> bool:
    """Whether nobody ever chose the project's publishers: they were only met."""
    return all(each.first_seen for each in signers.publishers)


def _seen(signers: Signers) -> list[str]:
    return [describe_publisher(parse_publisher(dict(each.members))) for each in signers.publishers if each.first_seen]
