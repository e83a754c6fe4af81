"""Claims before a witness: what an index that is broken into can do to a project that its developers signed for."""

from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile, Snapshot, Targets

from assay.model.digests import sha256_of
from assay.model.errors import AssayError
from assay.model.names import ProjectName
from assay.trust.candidate import Candidate
from assay.trust.claims import CLAIM_PREFIX, Claim, plan_claim_role, plan_delegations, with_claims_delegation
from assay.trust.layout import BIN_PREFIX, CLAIMED, CLAIMED_NEW, SPEC_VERSION, TARGETS, TargetPath
from assay.trust.plan import NewTarget
from assay.trust.seal import with_delegations
from witness.world import INDEX, LIFETIMES, OFFLINE, THIEF, Index, Judge, package, published, target

DEMO = ProjectName("demo")
WHEEL, NEXT = package("demo", "1.0"), package("demo", "2.0")
GOOD, EVIL = b"good", b"evil"
DEVELOPER = CryptoSigner.generate_ed25519()


class ClaimingIndex(Index):
    """An index whose ``targets`` delegates to ``claimed-new``, which the witnesses co-sign."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.online_claims: dict[ProjectName, Claim] = {}
        delegation, keys = with_claims_delegation(self.online_keys(BIN_PREFIX), 2, CLAIMED_NEW)
        expires = self.now + LIFETIMES.targets
        targets = with_delegations(self.roles[TARGETS], {CLAIMED_NEW: delegation}, keys, set(), expires)
        self.put(TARGETS, targets, OFFLINE[TARGETS])
        self.delegate({})

    def delegate(self, claims: dict[ProjectName, Claim], top: str = CLAIMED_NEW) -> None:
        """Let ``top`` delegate ``claims``."""
        online = top == CLAIMED_NEW
        keys = self.online_keys(BIN_PREFIX) if online else [OFFLINE[TARGETS].public_key]
        found = plan_delegations(top, claims, keys, 2 if online else 1)[top]
        old = self.roles.get(top)
        role = Targets(old.version + 1 if old else 1, SPEC_VERSION, self.now + LIFETIMES.claimed_new, {}, found)
        self.put(top, role, INDEX[BIN_PREFIX] if online else OFFLINE[TARGETS])

    def sign_claim(self, claim: Claim, *files: NewTarget, signers: tuple[CryptoSigner, ...], version: int = 0) -> None:
        """A next version of a claim's role, signed by ``signers``."""
        from assay.trust.plan import Changes, plan_bin

        listed = plan_bin(None, Changes(files), self.now, LIFETIMES).targets
        old = self.roles.get(claim.role)
        number = version or (old.version + 1 if old else 1)
        paths = {TargetPath(path): file for path, file in listed.items()}
        self.put(claim.role, plan_claim_role(claim, number, paths, self.now + LIFETIMES.claim), *signers)

    def pinned(self) -> Candidate:
        """The next publication; the snapshot holds the developers' roles by their hashes."""

        def pin(snapshot: Snapshot) -> None:
            for name, role in self.roles.items():
                if name.startswith(CLAIM_PREFIX):
                    digest = sha256_of(self.files[name])
                    snapshot.meta[f"{name}.json"] = MetaFile(role.version, hashes={"sha256": digest})

        return self.candidate(edit_snapshot=pin)


def claim_of(*keys: CryptoSigner, threshold: int = 1) -> Claim:
    return Claim(DEMO, tuple(key.public_key for key in keys), threshold)


@pytest.fixture
def index() -> ClaimingIndex:
    return ClaimingIndex()


@pytest.fixture
def judge(index: ClaimingIndex, tmp_path: Path) -> Judge:
    """A witness that saw ``demo`` published, and claimed by its developer."""
    judge = Judge.beside(index, tmp_path)
    index.change(target(WHEEL, GOOD))
    published(index, judge)
    claim = claim_of(DEVELOPER)
    index.delegate({DEMO: claim})
    index.sign_claim(claim, target(WHEEL, GOOD), signers=(DEVELOPER,))
    index.change(removed=frozenset([WHEEL]))
    candidate = index.pinned()
    judge.sign(candidate)
    index.publish(candidate)
    return judge


def refused_rule(judge: Judge, candidate: Candidate) -> str:
    with pytest.raises(AssayError) as refused:
        judge.sign(candidate)
    return refused.value.rule


def test_a_developer_publishes_and_the_witness_co_signs(index: ClaimingIndex, judge: Judge) -> None:
    index.sign_claim(claim_of(DEVELOPER), target(WHEEL, GOOD), target(NEXT, GOOD), signers=(DEVELOPER,))
    candidate = index.pinned()
    signed = judge.sign(candidate)
    assert "claim-demo" not in signed.roles
    assert judge.store.file(NEXT) is not None


def test_A15_a_developers_key_does_not_change_what_was_published(index: ClaimingIndex, judge: Judge) -> None:
    index.sign_claim(claim_of(DEVELOPER), target(WHEEL, EVIL), signers=(DEVELOPER,))
    assert refused_rule(judge, index.pinned()) == "second-hash"


def test_A13_a_new_claim_is_held_by_its_hash(index: ClaimingIndex, judge: Judge) -> None:
    """Or whoever has the claim's key could show another file under the same version."""
    index.sign_claim(claim_of(DEVELOPER), target(WHEEL, GOOD), target(NEXT, GOOD), signers=(DEVELOPER,))
    assert refused_rule(judge, index.candidate()) == "unpinned-role"


def test_A13_a_claim_under_the_thiefs_own_key_changes_no_file(index: ClaimingIndex, tmp_path: Path) -> None:
    judge = Judge.beside(index, tmp_path)
    index.change(target(WHEEL, GOOD))
    published(index, judge)
    claim = claim_of(THIEF)
    index.delegate({DEMO: claim})
    index.sign_claim(claim, target(WHEEL, EVIL), signers=(THIEF,))
    assert refused_rule(judge, index.pinned()) == "second-hash"


def test_A13_a_claim_does_not_get_the_thiefs_keys(index: ClaimingIndex, judge: Judge) -> None:
    stolen = claim_of(THIEF)
    index.delegate({DEMO: stolen})
    index.sign_claim(stolen, target(WHEEL, GOOD), target(NEXT, EVIL), signers=(THIEF,))
    assert refused_rule(judge, index.pinned()) == "claim-keys"


def test_A13_a_claim_is_not_dropped(index: ClaimingIndex, judge: Judge) -> None:
    index.delegate({})
    index.change(target(WHEEL, GOOD))
    assert refused_rule(judge, index.pinned()) == "claim-dropped"


def test_the_claims_own_keys_hand_it_over(index: ClaimingIndex, judge: Judge) -> None:
    other = CryptoSigner.generate_ed25519()
    claim = claim_of(other)
    index.delegate({DEMO: claim})
    index.sign_claim(claim, target(WHEEL, GOOD), signers=(DEVELOPER, other))
    judge.sign(index.pinned())


def test_the_offline_holders_take_a_claim_over(index: ClaimingIndex, judge: Judge) -> None:
    claim = claim_of(DEVELOPER)
    delegation, keys = with_claims_delegation([OFFLINE[TARGETS].public_key], 1, CLAIMED)
    expires = index.now + LIFETIMES.targets
    targets = with_delegations(index.roles[TARGETS], {CLAIMED: delegation}, keys, set(), expires)
    index.put(TARGETS, targets, OFFLINE[TARGETS])
    index.delegate({DEMO: claim}, CLAIMED)
    index.delegate({})
    candidate = index.pinned()
    judge.sign(candidate)
    index.publish(candidate)
    index.sign_claim(claim, target(WHEEL, GOOD), target(NEXT, GOOD), signers=(DEVELOPER,))
    judge.sign(index.candidate())


def test_a_claim_with_two_delegators_at_once_is_refused(index: ClaimingIndex, judge: Judge) -> None:
    delegation, keys = with_claims_delegation([OFFLINE[TARGETS].public_key], 1, CLAIMED)
    expires = index.now + LIFETIMES.targets
    targets = with_delegations(index.roles[TARGETS], {CLAIMED: delegation}, keys, set(), expires)
    index.put(TARGETS, targets, OFFLINE[TARGETS])
    index.delegate({DEMO: claim_of(DEVELOPER)}, CLAIMED)
    assert refused_rule(judge, index.pinned()) == "second-delegator"
