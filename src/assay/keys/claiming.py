"""The offline half of settling claims: the holders of targets sign ``claimed``, which no online key can undo.

Invariants: a claim is taken as the project's developers signed it, never as the index says; a change of keys needs the
signatures of the keys that ``claimed`` names now. Whoever signs reads the list: that these developers may speak for
the project is the index's word alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tuf.api.metadata import Targets

from assay.keys.offline_draft import OfflineDraft
from assay.model.errors import CallerError
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
from assay.trust.layout import CLAIMED, TARGETS, Lifetimes
from assay.trust.seal import with_delegations

KIND: Final = "claims"


@dataclass(frozen=True, slots=True)
class SettledClaims:
    """What the holders decide on. ``roles``: what they sign."""

    adopted: tuple[Claim, ...]
    revoked: tuple[ProjectName, ...]
    total: int
    roles: tuple[str, ...]


def draft_claims(draft: OfflineDraft, now: datetime, lifetimes: Lifetimes) -> SettledClaims:
    """Put the new ``claimed`` and ``targets`` that ``draft`` plans there, for the holders to sign.

    Raises VerificationFailed for a claim that its developers did not sign, CallerError when it was signed before.
    """
    if draft.files():
        raise CallerError(
            "this draft was signed already; holders add their signature with sign", subject=str(draft.folder)
        )
    return _settle(draft, draft.plan(KIND), now, lifetimes, write=True)


def read_claims(draft: OfflineDraft, now: datetime, lifetimes: Lifetimes) -> SettledClaims:
    """What a draft's holders are asked to sign, worked out again from what the draft starts from."""
    return _settle(draft, draft.plan(KIND), now, lifetimes, write=False)


def _settle(
    draft: OfflineDraft, plan: Mapping[str, Any], now: datetime, lifetimes: Lifetimes, *, write: bool
) -> SettledClaims:
    root = draft.current_root()
    targets = draft.current(TARGETS, root)
    published = _published(draft, targets)
    claims = {project: claim for role in published.values() for project, claim in claims_in(role).items()}
    adopted = [_adopted(draft, parse_project_name(name), claims) for name in plan["adopt"]]
    claims |= {claim.project: claim for claim in adopted}
    revoked = {parse_project_name(name): int(version) for name, version in plan["revoke"].items()}
    for project in revoked:
        claims.pop(project, None)
    holders = root.roles[TARGETS]
    keys = [root.keys[keyid] for keyid in holders.keyids]
    tree = plan_delegations(CLAIMED, claims, keys, holders.threshold)
    bodies = with_changed(tree, published, plan["versions"], tree, now + lifetimes.claimed)
    bodies[CLAIMED] = with_revocations(bodies[CLAIMED], revoked)
    delegation, known = with_claims_delegation(keys, holders.threshold, CLAIMED)
    renewed = with_delegations(targets, {CLAIMED: delegation}, known, set(), now + lifetimes.targets)
    for role, body in {**bodies, TARGETS: renewed}.items() if write else ():
        draft.put(role, body, [])
    return SettledClaims(tuple(adopted), tuple(sorted(revoked)), len(claims), (TARGETS, *bodies))


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
