"""The offline half of settling claims: the holders of targets sign ``claimed``, which no online key can undo.

Invariants: a claim is taken as the project's developers signed it, never as the index says; a change of keys needs the
signatures of the keys that ``claimed`` names now. Whoever signs reads the list: that these developers may speak for
the project is the index's word alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from tuf.api.metadata import Root, TargetFile, Targets

from assay.keys.offline_draft import OfflineDraft
from assay.model.errors import VerificationFailed
from assay.model.names import ProjectName, parse_project_name
from assay.trust.claims import (
    Claim,
    claim_role,
    claims_in,
    plan_delegations,
    require_claim_signed,
    shards_in,
    with_changed,
    with_claims_delegation,
    with_revocations,
)
from assay.trust.envelope import parse_envelope
from assay.trust.layout import CLAIMED, TARGETS, Lifetimes, TargetPath
from assay.trust.seal import MANIFEST, with_delegations
from assay.trust.verify import require_role_signed

KIND: Final = "claims"


@dataclass(frozen=True, slots=True)
class SettledClaims:
    """What the holders decide on. ``bodies``: the roles that they sign."""

    adopted: tuple[Claim, ...]
    revoked: tuple[ProjectName, ...]
    total: int
    bodies: Mapping[str, Targets]


def read_claims(draft: OfflineDraft, now: datetime, lifetimes: Lifetimes) -> SettledClaims:
    """What a draft's holders are asked to sign, worked out from its plan and what developers signed.

    Raises VerificationFailed for a claim that its developers did not sign, CallerError, NotFresh.
    """
    plan, made = draft.plan(KIND), draft.made(KIND, now)
    root = draft.current_root()
    targets = draft.current(TARGETS, root)
    published = _published(draft, targets)
    claims = {project: claim for role in published.values() for project, claim in claims_in(role).items()}
    adopted = [_adopted(draft, parse_project_name(name), claims) for name in plan["adopt"]]
    claims |= {claim.project: claim for claim in adopted}
    revoked = {parse_project_name(name): int(version) for name, version in plan["revoke"].items()}
    for project in revoked:
        claims.pop(project, None)
    bodies, renewed = _signed_by_holders(root, targets, published, claims, plan["versions"], made, lifetimes)
    bodies[CLAIMED] = with_revocations(bodies[CLAIMED], revoked)
    return SettledClaims(tuple(adopted), tuple(sorted(revoked)), len(claims), {**bodies, TARGETS: renewed})


@dataclass(frozen=True, slots=True)
class SettledFiles:
    """Which files the developers of settled claims signed, read from a draft. ``of`` verifies each role once."""

    draft: OfflineDraft
    claims: Mapping[ProjectName, Claim]

    @classmethod
    def read(cls, draft: OfflineDraft, targets: Targets) -> "SettledFiles":
        """The settled claims that ``draft`` starts from. Raises VerificationFailed."""
        published = _published(draft, targets)
        return cls(draft, {project: claim for role in published.values() for project, claim in claims_in(role).items()})

    def require_signed(self, path: TargetPath, sha256: str, length: int) -> None:
        """Raise VerificationFailed for a file of a settled project that its developers did not sign.

        Seals are searched before claims: an index in wrong hands would have its own file sealed there for ever.
        """
        project = ProjectName(path.split("/")[1])
        if project not in self.claims or path.endswith(f"/{MANIFEST}"):
            return
        signed = _files_of(self.draft, self.claims[project]).get(str(path))
        if signed is None or (signed.hashes.get("sha256"), signed.length) != (sha256, length):
            raise VerificationFailed(
                "the draft would seal a file of a claimed project that its developers did not sign",
                subject=path,
                rule="seal-unsigned",
                expected=f"sha256 {signed.hashes.get('sha256')}" if signed else "nothing under this path",
                found=f"sha256 {sha256}",
                next_step="sign nothing; ask the project's developers, and look at the index's machine",
            )


@lru_cache(maxsize=64)
def _files_of(draft: OfflineDraft, claim: Claim) -> Mapping[str, TargetFile]:
    envelope = parse_envelope(draft.current_file(claim.role), Targets, claim.role)
    require_role_signed(claim.delegator(), claim.role, envelope)
    return envelope.signed.targets


def renewed_claims(
    draft: OfflineDraft, targets: Targets, versions: Mapping[str, int], now: datetime, lifetimes: Lifetimes
) -> tuple[dict[str, Targets], Targets]:
    """``claimed`` and all below it for another while, unchanged, and ``targets`` naming the holders of now for it.

    For whoever signs ``targets`` anyway: nothing below ``packages/`` is found once ``claimed`` has expired. Without
    claims there is nothing to renew.
    """
    root = draft.current_root()
    published = _published(draft, targets)
    if not published:
        return {}, targets
    claims = {project: claim for role in published.values() for project, claim in claims_in(role).items()}
    return _signed_by_holders(root, targets, published, claims, versions, now, lifetimes)


def _signed_by_holders(
    root: Root,
    targets: Targets,
    published: Mapping[str, Targets],
    claims: Mapping[ProjectName, Claim],
    versions: Mapping[str, int],
    now: datetime,
    lifetimes: Lifetimes,
) -> tuple[dict[str, Targets], Targets]:
    """The roles that delegate ``claims``, and the next ``targets``, both naming the holders that ``root`` has now."""
    holders = root.roles[TARGETS]
    keys = [root.keys[keyid] for keyid in holders.keyids]
    tree = plan_delegations(CLAIMED, claims, keys, holders.threshold)
    bodies = with_changed(tree, published, versions, tree, now + lifetimes.claimed)
    delegation, known = with_claims_delegation(keys, holders.threshold, CLAIMED)
    return bodies, with_delegations(targets, {CLAIMED: delegation}, known, set(), now + lifetimes.targets)


def _published(draft: OfflineDraft, targets: Targets) -> dict[str, Targets]:
    """``claimed`` and what it is spread over, each checked against its delegator."""
    found: dict[str, Targets] = {}
    roles = targets.delegations.roles if targets.delegations else None
    pending: list[tuple[str, Targets]] = [(CLAIMED, targets)] if CLAIMED in (roles or {}) else []
    while pending:
        role, delegator = pending.pop()
        found[role] = draft.current(role, delegator)
        pending += [(child, found[role]) for child in shards_in(found[role], CLAIMED)]
    return found


def _adopted(draft: OfflineDraft, project: ProjectName, claims: Mapping[ProjectName, Claim]) -> Claim:
    role = claim_role(project)
    envelope = parse_envelope(draft.current_file(role), Targets, role)
    return require_claim_signed(envelope, project, claims.get(project))
