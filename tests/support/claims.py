"""Claims in the simulated index: what developers, the index's online key and the offline holders each sign."""

from collections.abc import Mapping, Sequence

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile, Targets

from assay.model.names import ProjectName
from assay.trust.claims import (
    Claim,
    claim_role,
    plan_claim_role,
    plan_delegations,
    with_changed,
    with_claims_delegation,
)
from assay.trust.layout import CLAIMED, CLAIMED_NEW, TARGETS, TargetPath
from assay.trust.seal import with_delegations
from support.simulator import LIFETIMES, SIGNERS, Simulator


def claim_of(project: str, *developers: CryptoSigner, threshold: int = 1) -> Claim:
    return Claim(ProjectName(project), tuple(developer.public_key for developer in developers), threshold)


def signers_of(index: Simulator, top: str) -> list[CryptoSigner]:
    """Who signs ``claimed`` or ``claimed-new``."""
    return [SIGNERS[TARGETS]] if top == CLAIMED else index.online("bin")


def put_claims(index: Simulator, top: str, claims: Sequence[Claim], by: Sequence[CryptoSigner] = ()) -> None:
    """Make ``top`` delegate exactly ``claims``; without publishing it. ``by``: whoever signs it instead."""
    signers = signers_of(index, top)
    tree = plan_delegations(
        top, {claim.project: claim for claim in claims}, [s.public_key for s in signers], len(signers)
    )
    published = {role: body for role, body in index.roles.items() if role in tree and isinstance(body, Targets)}
    listed = {role: body.version for role, body in published.items()}
    for role, body in with_changed(tree, published, listed, (), index.now + LIFETIMES.claimed_new).items():
        index.put(role, body, *(by or signers))


def delegate_to_claims(index: Simulator, *tops: str) -> None:
    """What a ceremony does: ``targets`` delegates to the roles that delegate claims."""
    top = index.roles[TARGETS]
    assert isinstance(top, Targets)
    for name in tops:
        signers = signers_of(index, name)
        delegation, keys = with_claims_delegation([s.public_key for s in signers], len(signers), name)
        top = with_delegations(top, {name: delegation}, keys, set(), index.now + LIFETIMES.targets)
    index.put(TARGETS, top)


def put_role(
    index: Simulator, claim: Claim, files: Mapping[str, bytes], *developers: CryptoSigner, version: int = 1
) -> None:
    """What a project's developers sign; without publishing it."""
    listed = {TargetPath(path): TargetFile.from_data(path, content, ["sha256"]) for path, content in files.items()}
    index.put(
        claim_role(claim.project), plan_claim_role(claim, version, listed, index.now + LIFETIMES.claim), *developers
    )


def claimed_index(
    top: str, claims: Mapping[str, tuple[CryptoSigner, Mapping[str, bytes]]], *, witnessed: bool = False
) -> Simulator:
    """An index with one claim for each project of ``claims`` (its developer, and the files), all below ``top``."""
    index = Simulator(witnessed=witnessed)
    every = [claim_of(project, developer) for project, (developer, _) in claims.items()]
    put_claims(index, CLAIMED_NEW, every if top == CLAIMED_NEW else [])
    if top == CLAIMED:
        put_claims(index, CLAIMED, every)
    for claim in every:
        developer, files = claims[claim.project]
        put_role(index, claim, files, developer)
    delegate_to_claims(index, *((CLAIMED,) if top == CLAIMED else ()), CLAIMED_NEW)
    index.seal_off()
    return index
