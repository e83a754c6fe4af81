"""The part of the witness rule that keeps claims: a broken index takes no project from its developers. Pure.

A claim that only ``claimed-new`` has stands on the index's signature and the witnesses'. It changes its keys with the
signatures of the old ones, and goes only where the offline holders took it over or revoked it.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from tuf.api.metadata import Targets

from assay.model.errors import VerificationFailed, WitnessRefused
from assay.model.names import ProjectName
from assay.trust.candidate import Candidate
from assay.trust.claims import Claim, claims_in, is_claiming, revocations_in
from assay.trust.envelope import Envelope
from assay.trust.layout import CLAIMED, CLAIMED_NEW, TARGETS
from assay.trust.verify import require_role_signed
from assay.trust.witness_memory import Memory, Seen


class Case(Protocol):
    """One candidate before one memory, as ``witness_rule`` judges it."""

    memory: Memory
    candidate: Candidate
    new: dict[str, Seen]

    def targets(self, role: str) -> Targets:
        """The content of ``role`` once the candidate counts."""

    def envelope(self, role: str) -> Envelope[Targets]:
        """The candidate's file of ``role``."""

    def is_reachable(self, role: str) -> bool:
        """Whether clients can come to ``role`` once the candidate counts."""


def require_claims_kept(case: Case) -> None:
    """No claim of ``claimed-new`` is dropped, or given to other keys, by the index. Raises WitnessRefused."""
    if not any(role == TARGETS or is_claiming(role, CLAIMED_NEW) for role in case.new):
        return
    known = case.memory.roles
    before = _claims(CLAIMED_NEW, [role for role in known if _was_reachable(case.memory, role)], case.memory.targets)
    if not before:
        return
    listed = [role for role in {**known, **case.new} if case.is_reachable(role)]
    after = _claims(CLAIMED_NEW, listed, case.targets)
    settled = set(_claims(CLAIMED, listed, case.targets))
    if CLAIMED in listed:
        settled |= set(revocations_in(case.targets(CLAIMED)))
    for project, claim in before.items():
        if project not in settled and after.get(project) != claim:
            _require_handed_over(case, claim, after.get(project))


def _require_handed_over(case: Case, old: Claim, new: Claim | None) -> None:
    if new is None:
        raise WitnessRefused(
            "a claim would be dropped that the offline holders neither took over nor revoked",
            subject=old.project,
            rule="claim-dropped",
        )
    try:
        if old.role not in case.candidate.roles:
            raise VerificationFailed("its role is not signed anew", subject=old.role, rule="role-missing")
        require_role_signed(old.delegator(), old.role, case.envelope(old.role))
    except VerificationFailed as error:
        raise WitnessRefused(
            "a claim would get other keys without the signatures of those it has",
            subject=old.project,
            rule="claim-keys",
            expected=f"{old.threshold} of {', '.join(key.keyid[:16] for key in old.keys)}",
            found=str(error),
        ) from error


def _was_reachable(memory: Memory, role: str) -> bool:
    above: str | None = role
    while above is not None and above != TARGETS:
        above = memory.delegators.get(above)
    return above == TARGETS


def _claims(top: str, roles: Iterable[str], targets: Callable[[str], Targets]) -> dict[ProjectName, Claim]:
    return {
        project: claim
        for role in roles
        if is_claiming(role, top)
        for project, claim in claims_in(targets(role)).items()
    }
