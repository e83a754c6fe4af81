"""The index's half of settling claims: which ones wait for the offline holders, and where the change starts from."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from assay.index.config import DataFolder
from assay.index.handover import read_published
from assay.index.signer.claims import published_claims
from assay.index.signer.state import PublishedState
from assay.keys.claiming import KIND, SettledClaims, read_claims
from assay.keys.offline_draft import OfflineDraft
from assay.model.errors import NotFound
from assay.model.names import ProjectName
from assay.trust.claim_search import all_delegating
from assay.trust.claims import is_claiming, stated_claim
from assay.trust.layout import CLAIMED, ROOT, TARGETS, Lifetimes


def plan_claims(data: DataFolder, folder: Path, revoke: Sequence[ProjectName], now: datetime) -> SettledClaims:
    """Write a draft to ``folder``: every claim that is new, or whose developers changed their keys, less ``revoke``.

    Without any it renews ``claimed``. Raises NotFound for a project in ``revoke`` that nobody claimed.
    """
    state = read_published(data)
    found = {claim.claim.project: claim for claim in published_claims(state)}
    for project in revoke:
        if project not in found:
            raise NotFound("nobody claimed this project", subject=project)
    waiting = [
        claim
        for project, claim in found.items()
        if project not in revoke and (not claim.is_settled or stated_claim(claim.role) != claim.claim)
    ]
    facts = {
        "adopt": [claim.claim.project for claim in waiting],
        "revoke": {project: found[project].role.version for project in revoke},
        "versions": claimed_versions(state),
    }
    current = {ROOT: state.root, TARGETS: state.role_file(TARGETS)}
    current |= {role: state.role_file(role) for role in state.ask(all_delegating(state.trusted, CLAIMED))}
    current |= {claim.claim.role: claim.data for claim in waiting}
    return read_claims(OfflineDraft.create(folder, KIND, current, facts, now), now, Lifetimes())


def claimed_versions(state: PublishedState) -> dict[str, int]:
    """The newest version that each role of the settled claims ever had, retired ones too."""
    meta = state.snapshot.meta if state.snapshot else {}
    listed = {name.removesuffix(".json"): entry.version for name, entry in meta.items()}
    return {role: version for role, version in listed.items() if is_claiming(role, CLAIMED)}
