"""Who signed a file, as values and in words: verified here and now, else as the index verified it when it came."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.formats.pages import PageFile, ProjectPage
from assay.model.errors import AssayError, OperatorError
from assay.provenance.publishers import describe_publisher

if TYPE_CHECKING:
    from assay.client.provenance.checks import ProvenanceChecks
    from assay.provenance.attestations import VerifiedAttestation
    from assay.provenance.openpgp import VerifiedSignature


@dataclass(frozen=True, slots=True)
class ToldEvidence:
    """One signature or attestation. ``kind``: OpenPGP, or the attestation's predicate.

    ``by``: who signed. ``against``: what it was verified against. ``details``: further facts, in words. ``here``: it
    was verified on this machine just now; else ``refusal`` says why not, or the index's word of ``since`` stands.
    """

    kind: str
    by: tuple[str, ...]
    since: str
    here: bool
    against: str | None = None
    details: tuple[str, ...] = ()
    refusal: str | None = None
    rule: str | None = None


async def tell_signers(
    checks: "ProvenanceChecks", page: ProjectPage, entry: PageFile, kept: Path | None
) -> tuple[ToldEvidence, ...]:
    """What lies beside the file ``entry``; ``kept``: its verified bytes, None where they are not on this machine."""
    told: list[ToldEvidence] = []
    if entry.signature is not None:
        beside = entry.signature
        if kept is None:
            told.append(ToldEvidence("OpenPGP", beside.by, beside.since.isoformat(), here=False))
        else:

            async def verify_signature() -> Sequence[ToldEvidence]:
                return [_told_signature(await checks.openpgp.verify(page, entry, beside, kept))]

            told += await _told_or_refused("OpenPGP", beside.by, beside.since.isoformat(), verify_signature)
    if entry.provenance is not None:
        since = entry.provenance.since.isoformat()

        async def verify_attestations() -> Sequence[ToldEvidence]:
            return [_told_attestation(each, since) for each in await checks.attestations(page, entry)]

        told += await _told_or_refused("attestation", entry.provenance.by, since, verify_attestations)
    return tuple(told)


async def _told_or_refused(
    kind: str, by: tuple[str, ...], since: str, verify: Callable[[], Awaitable[Sequence[ToldEvidence]]]
) -> Sequence[ToldEvidence]:
    try:
        return await verify()
    except OperatorError as error:
        return [ToldEvidence(kind, by, since, here=False, details=(f"{error.what}; {error.next_step}",))]
    except AssayError as error:
        return [ToldEvidence(kind, by, since, here=False, refusal=str(error), rule=error.rule)]


def _told_signature(verified: "VerifiedSignature") -> ToldEvidence:
    return ToldEvidence(
        "OpenPGP",
        (verified.certificate,),
        verified.uploaded_at.isoformat(),
        here=True,
        against="the certificate that the project registered",
        details=(
            ", ".join(verified.user_ids),
            f"key {verified.key}",
            f"made {verified.signed_at:%Y-%m-%d %H:%M} UTC",
        ),
    )


def _told_attestation(verified: "VerifiedAttestation", since: str) -> ToldEvidence:
    build = verified.build
    details = [f"logged {verified.logged_at:%Y-%m-%d %H:%M} UTC, entry {verified.log_index}"]
    if build is not None:
        where = "".join((build.source or "an unnamed source", f" at {build.ref}" if build.ref else ""))
        details += [f"built from {where}" + (f", commit {build.commit}" if build.commit else "")]
        details += [f"by {build.workflow or 'an unnamed workflow'} on {build.builder}"]
    return ToldEvidence(
        verified.predicate_type,
        (describe_publisher(verified.publisher),),
        since,
        here=True,
        against=f"{verified.trust} (root sha256 {verified.root})",
        details=tuple(details),
    )


def tell_evidence(told: ToldEvidence) -> list[str]:
    """``told`` in words, for the lines of ``explain``."""
    label = "signed by" if told.kind == "OpenPGP" else "attested"
    who = ", ".join(told.by)
    lines = [f"  {label:<10} {'OpenPGP certificate ' if told.kind == 'OpenPGP' else 'by '}{who}"]
    lines += [f"  {'':<10} {detail}" for detail in told.details if detail]
    if told.here:
        lines.append(f"  {'':<10} verified here just now against {told.against}; at the index since {told.since}")
    elif told.refusal is not None:
        lines.append(f"  {'':<10} REFUSED: {told.refusal} [{told.rule}]")
    else:
        lines.append(f"  {'':<10} verified by the index on {told.since}; verified again here when it is installed")
    return lines
