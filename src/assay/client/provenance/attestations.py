"""PEP 740 attestations at install: fetched by the hash that the signed page pins, verified against its publishers.

Invariants: provenance that the page names must be there and verify; what the page demands must be named. Where a
publisher was only seen first, policy says whether a change or a loss refuses or is told. sigstore works in a thread.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from assay.client.provenance.context import Checking
from assay.fetch import SERVER_REFUSED
from assay.formats.pages import PageFile, ProjectPage
from assay.model.digests import Sha256
from assay.model.errors import Reading, RefusedByPolicy, Unreachable, VerificationFailed
from assay.model.signers import RegisteredPublisher, Signers, Term
from assay.policy.model import ExpectedAttester, FirstSeen
from assay.provenance.attestation_format import Attestation
from assay.provenance.attestations import VerifiedAttestation
from assay.provenance.expected import ExpectedPublisher, verify_expected_attestations, verify_first_seen
from assay.provenance.integrity import MAX_PROVENANCE_BYTES, parse_provenance
from assay.provenance.publishers import describe_publisher, parse_publisher
from assay.provenance.sigstore_trust import MAX_ROOT_BYTES, SigstoreTrust, bundled_trust

_ANOTHER_IDENTITY: Final = frozenset(
    {
        "attestation-issuer",
        "attestation-repository",
        "attestation-workflow",
        "attestation-ref",
        "attestation-owner",
        "attestation-identity",
    }
)
_ALWAYS: Final = Term(datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class AttestationChecks:
    """The checks of one index's attestations."""

    checking: Checking

    async def bring(self, page: ProjectPage, entry: PageFile) -> str | None:
        """Have the index bring the provenance that the upstream announces; why it cannot, or None."""
        try:
            if await self.checking.pinned.bring(page.project, entry, MAX_PROVENANCE_BYTES):
                return None
        except Unreachable as error:
            if error.rule != SERVER_REFUSED:
                raise
            return error.found
        return "the index has none"

    async def check(
        self, page: ProjectPage, entry: PageFile, unverified: str | None = None
    ) -> tuple[VerifiedAttestation, ...]:
        """The verified attestations of a file, which is not needed itself: its digest is. None may fail.

        Publishers that policy names are expected beside those that were only seen first; those that somebody
        registered policy cannot replace. ``unverified``: why the index could not bring what the upstream announces.
        Raises VerificationFailed, RefusedByPolicy.
        """
        if entry.provenance is None:
            self._require_no_attestation(page, entry, unverified)
            return ()
        data = await self.checking.pinned.beside(
            page.project, entry, ".provenance", entry.provenance, MAX_PROVENANCE_BYTES
        )
        attestations = parse_provenance(data).attestations
        named = self.checking.policy.attesters_of(page.project) if not page.signers.has_chosen_publisher else ()
        expected = (*_expected(named), *await self._publishers(page))
        try:
            verified = await asyncio.to_thread(
                verify_expected_attestations,
                attestations,
                expected,
                filename=entry.filename,
                sha256=entry.sha256,
                came=entry.provenance.since,
                now=self.checking.clock(),
                retired_keys=self.checking.policy.retired_keys,
            )
        except VerificationFailed as refusal:
            if refusal.rule not in _ANOTHER_IDENTITY or named or not _only_seen(page.signers):
                raise
            verified = await self._changed(entry, attestations, expected[-1].trust, refusal)
        return verified

    async def _publishers(self, page: ProjectPage) -> tuple[ExpectedPublisher, ...]:
        return tuple(await asyncio.gather(*(self._publisher(page, each) for each in page.signers.publishers)))

    async def _publisher(self, page: ProjectPage, each: RegisteredPublisher) -> ExpectedPublisher:
        trust = await self._trust(page, each.root) if each.root is not None else bundled_trust()
        return ExpectedPublisher(parse_publisher(dict(each.members)), trust, each.term, each.first_seen)

    async def _trust(self, page: ProjectPage, root: Sha256) -> SigstoreTrust:
        name = f"trust-roots/{page.project}/{root}.json"
        data = await self.checking.pinned.published(name, root, MAX_ROOT_BYTES)
        return SigstoreTrust(f"the own root of {page.project}", data)

    def _require_no_attestation(self, page: ProjectPage, entry: PageFile, unverified: str | None) -> None:
        if page.signers.demand_attestation(entry.upload_time):
            raise VerificationFailed(
                "files of this project must be attested, and nothing says that this one is",
                rule="attestation-missing",
                subject=entry.filename,
                next_step="do not install it; tell the index's operator",
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
                next_step="if the project moved, name its new publisher in the policy (published_by)",
            )
        )
        return await asyncio.to_thread(
            verify_first_seen,
            attestations,
            trust,
            filename=entry.filename,
            sha256=entry.sha256,
            now=self.checking.clock(),
        )

    def _alarm(self, refusal: RefusedByPolicy) -> None:
        if self.checking.policy.first_seen is FirstSeen.REFUSE:
            raise refusal
        self.checking.notice(f"{refusal} [{refusal.rule}]")


def _expected(named: Sequence[ExpectedAttester]) -> tuple[ExpectedPublisher, ...]:
    return tuple(ExpectedPublisher(each.publisher, each.trust or bundled_trust(), _ALWAYS) for each in named)


def _only_seen(signers: Signers) -> bool:
    """Whether nobody ever chose the project's publishers: they were only met."""
    return all(each.first_seen for each in signers.publishers)


def _seen(signers: Signers) -> list[str]:
    return [describe_publisher(parse_publisher(dict(each.members))) for each in signers.publishers if each.first_seen]
