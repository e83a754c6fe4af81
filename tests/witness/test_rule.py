"""The witness rule against an index that lies: each lie is refused by its rule, and leaves no trace in the memory."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, MetaFile, Snapshot, SuccinctRoles, Targets

from assay.model.errors import AssayError, WitnessRefused
from assay.trust.candidate import Candidate, Lacking, Stamp
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BIN_PREFIX, BINS, ROOT, SNAPSHOT, TARGETS, TargetPath
from assay.trust.plan import Changes, plan_bin, plan_bins, plan_root, plan_targets
from assay.trust.witness_memory import Approval
from witness.world import INDEX, LIFETIMES, OFFLINE, THIEF, W2, Index, Judge, package, page, published, target

DEMO = package("demo", "1.0")
OTHER = package("other", "2.0")
GOOD, EVIL = b"good", b"evil"


@pytest.fixture
def index() -> Index:
    return Index()


@pytest.fixture
def judge(index: Index, tmp_path: Path) -> Judge:
    """A witness that saw ``demo`` and ``other`` published."""
    witness = Judge.beside(index, tmp_path)
    published(index, witness)
    index.change(target(DEMO, GOOD), target(OTHER, GOOD), target(page("demo"), b"page 1"))
    published(index, witness)
    return witness


# --- lies; each returns the candidate that the index would have co-signed ------------------------------------------


def second_hash(index: Index) -> Candidate:
    """B8: an insider replaces a file."""
    forge(index, index.bin_of(DEMO), {DEMO: EVIL})
    return index.candidate()


def second_hash_in_a_new_seal(index: Index) -> Candidate:
    """The offline holders are shown a wrong plan."""
    index.seal(content={DEMO: EVIL})
    return index.candidate()


def same_version_other_content(index: Index) -> Candidate:
    """B12: another bin under the version that was shown."""
    name = index.bin_of(OTHER)
    role = plan_bin(index.roles[name], Changes((target(package("new", "1"), GOOD),)), index.now, LIFETIMES)
    role.version -= 1
    index.put(name, role, INDEX[BIN_PREFIX])
    return index.candidate()


def bin_goes_back(index: Index) -> Candidate:
    """A2: an older bin."""
    name = index.bin_of(DEMO)
    role = plan_bin(None, Changes(), index.now, LIFETIMES)
    listed = f"{name}.json"
    index.put(name, role, INDEX[BIN_PREFIX])
    index.roles[name].version = 2
    candidate = index.candidate(edit_snapshot=lambda snapshot: snapshot.meta.update({listed: MetaFile(1)}))
    index.roles[name].version = 1
    return candidate


def snapshot_lists_an_old_bin(index: Index) -> Candidate:
    name = f"{index.bin_of(DEMO)}.json"
    return index.candidate(edit_snapshot=lambda snapshot: snapshot.meta.update({name: MetaFile(1)}))


def role_vanishes(index: Index) -> Candidate:
    name = f"{index.bin_of(DEMO)}.json"
    return index.candidate(edit_snapshot=lambda snapshot: snapshot.meta.pop(name))


def path_vanishes(index: Index) -> Candidate:
    index.change(removed=frozenset([DEMO]))
    return index.candidate()


def page_vanishes(index: Index) -> Candidate:
    index.change(removed=frozenset([page("demo")]))
    return index.candidate()


def bin_delegates(index: Index) -> Candidate:
    name = index.bin_of(DEMO)
    role = plan_bin(index.roles[name], Changes(), index.now, LIFETIMES)
    child = DelegatedRole("evil", [THIEF.public_key.keyid], 1, True, paths=["packages/*/*/*"])
    role.delegations = Delegations({THIEF.public_key.keyid: THIEF.public_key}, {"evil": child})
    index.put(name, role, INDEX[BIN_PREFIX])
    index.put("evil", Targets(1, expires=role.expires), THIEF)
    return index.candidate()


def path_in_a_wrong_bin(index: Index) -> Candidate:
    """A co-signed bin could be shown in the place of another, if bins were not told apart by their paths."""
    name = next(name for name in index.bins() if name != index.bin_of(DEMO))
    forge(index, name, {DEMO: GOOD})
    return index.candidate()


def strange_path(index: Index) -> Candidate:
    path = TargetPath("index.html")
    forge(index, index.bin_of(path), {path: EVIL})
    return index.candidate()


def timestamp_of_next_year(index: Index) -> Candidate:
    candidate = index.candidate()
    return replace(candidate, stamp=Stamp(candidate.stamp.version, index.now + timedelta(days=365)))


def snapshot_of_next_year(index: Index) -> Candidate:
    return index.candidate(edit_snapshot=lambda snapshot: expire(snapshot, index.now + timedelta(days=365)))


def bin_of_next_year(index: Index) -> Candidate:
    name = index.bins()[0]
    role = plan_bin(index.roles[name], Changes(), index.now + timedelta(days=335), LIFETIMES)
    index.put(name, role, INDEX[BIN_PREFIX])
    return index.candidate()


def timestamp_of_last_year(index: Index) -> Candidate:
    candidate = index.candidate()
    return replace(candidate, stamp=Stamp(candidate.stamp.version, index.now - timedelta(days=365)))


def timestamp_goes_back(index: Index) -> Candidate:
    candidate = index.candidate()
    return replace(candidate, stamp=Stamp(1, candidate.stamp.expires))


def snapshot_goes_back(index: Index) -> Candidate:
    return index.candidate(edit_snapshot=lambda snapshot: number(snapshot, 1))


def second_snapshot(index: Index) -> Candidate:
    """Another snapshot under the version that was co-signed."""
    index.renew(index.bins()[0])
    return index.candidate(edit_snapshot=lambda snapshot: number(snapshot, snapshot.version - 1))


def version_leaps(index: Index) -> Candidate:
    """A4: the numbers are used up."""
    return index.candidate(edit_snapshot=lambda snapshot: number(snapshot, 2**31))


def signed_by_a_stranger(index: Index) -> Candidate:
    return index.candidate(signer=THIEF)


def signed_by_the_other_witness_alone(index: Index) -> Candidate:
    """A witness in wrong hands publishes nothing without the index."""
    signer = W2.signers[SNAPSHOT]
    assert isinstance(signer, CryptoSigner)
    return index.candidate(signer=signer)


def bin_signed_by_a_stranger(index: Index) -> Candidate:
    name = index.bin_of(DEMO)
    index.put(name, plan_bin(index.roles[name], Changes(), index.now, LIFETIMES), THIEF)
    return index.candidate()


def targets_signed_online(index: Index) -> Candidate:
    """The index's own keys do not make offline roles."""
    targets = plan_targets([OFFLINE[BINS].public_key], 1, 2, index.now + LIFETIMES.targets)
    index.put(TARGETS, targets, INDEX[BIN_PREFIX])
    return index.candidate()


def bins_signed_online(index: Index) -> Candidate:
    bins = plan_bins([INDEX[BIN_PREFIX].public_key], 1, index.bits, 2, index.now + LIFETIMES.bins)
    index.put(BINS, bins, INDEX[BIN_PREFIX])
    return index.candidate()


def root_signed_online(index: Index) -> Candidate:
    keys = {role: [THIEF.public_key] for role in (ROOT, TARGETS, SNAPSHOT, "timestamp")}
    root = sign_envelope(plan_root(keys, {}, 2, index.now + LIFETIMES.root), [THIEF])
    return replace(index.candidate(), roots=(root,), root_version=2)


def unpinned_role_of_the_index(index: Index) -> Candidate:
    """What the index alone could sign again must be held by its hash."""
    online = INDEX[BIN_PREFIX]
    claimed = DelegatedRole("claimed-new", [online.public_key.keyid], 1, False, paths=["packages/*/*/*"])
    old = index.roles[TARGETS].delegations
    assert old is not None
    assert old.roles is not None
    keys = {**old.keys, online.public_key.keyid: online.public_key}
    delegations = Delegations(keys, {"claimed-new": claimed, **old.roles})
    index.put(TARGETS, Targets(2, expires=index.roles[TARGETS].expires, delegations=delegations), OFFLINE[TARGETS])
    index.put("claimed-new", Targets(1, expires=index.now + timedelta(days=7)), online)
    return index.candidate()


def second_delegator(index: Index) -> Candidate:
    """A18: a bin is reached from elsewhere, too."""
    name = index.bin_of(DEMO)
    role = DelegatedRole(name, [THIEF.public_key.keyid], 1, False, paths=["packages/*/*/*"])
    old = index.roles[TARGETS].delegations
    assert old is not None
    assert old.roles is not None
    keys = {**old.keys, THIEF.public_key.keyid: THIEF.public_key}
    delegations = Delegations(keys, {name: role, **old.roles})
    index.put(TARGETS, Targets(2, expires=index.roles[TARGETS].expires, delegations=delegations), OFFLINE[TARGETS])
    index.renew(name)
    return index.candidate()


def fewer_bins(index: Index) -> Candidate:
    """The bins are spread anew, and one file is forgotten."""
    keys = index.online_keys(BIN_PREFIX)
    index.put(BINS, plan_bins(keys, 2, 1, 2, index.now + LIFETIMES.bins), OFFLINE[BINS])
    for name in SuccinctRoles([key.keyid for key in keys], 2, 1, BIN_PREFIX).get_roles():
        role = plan_bin(index.roles[name], Changes(), index.now, LIFETIMES)
        role.targets = {}
        index.put(name, role, INDEX[BIN_PREFIX])
    return index.candidate()


def no_sha256(index: Index) -> Candidate:
    path = package("new", "3")
    name = index.bin_of(path)
    role = plan_bin(index.roles[name], Changes((target(path, GOOD),)), index.now, LIFETIMES)
    role.targets[path].hashes = {"sha1": "0" * 40}
    index.put(name, role, INDEX[BIN_PREFIX])
    return index.candidate()


def too_large(index: Index) -> Candidate:
    name = index.bin_of(DEMO)
    role = plan_bin(index.roles[name], Changes(), index.now, LIFETIMES)
    role.unrecognized_fields["padding"] = "x" * 5_000_001
    index.put(name, role, INDEX[BIN_PREFIX])
    return index.candidate()


def forge(index: Index, name: str, content: dict[TargetPath, bytes]) -> None:
    """A next version of a bin with ``content``, which no plan would make."""
    role = plan_bin(index.roles[name], Changes(), index.now, LIFETIMES)
    for path, data in content.items():
        forged = plan_bin(None, Changes((target(path, data),)), index.now, LIFETIMES)
        role.targets[path] = forged.targets[path]
    index.put(name, role, INDEX[BIN_PREFIX])


def number(snapshot: Snapshot, version: int) -> None:
    snapshot.version = version


def expire(snapshot: Snapshot, moment: object) -> None:
    snapshot.expires = moment  # type: ignore[assignment]


LIES: list[tuple[Callable[[Index], Candidate], str]] = [
    (second_hash, "second-hash"),
    (second_hash_in_a_new_seal, "second-hash"),
    (same_version_other_content, "second-content"),
    (bin_goes_back, "rollback"),
    (snapshot_lists_an_old_bin, "rollback"),
    (role_vanishes, "role-vanished"),
    (path_vanishes, "path-vanished"),
    (page_vanishes, "path-vanished"),
    (bin_delegates, "bin-delegates"),
    (path_in_a_wrong_bin, "wrong-bin"),
    (strange_path, "wrong-bin"),
    (timestamp_of_next_year, "time-future"),
    (snapshot_of_next_year, "time-future"),
    (bin_of_next_year, "time-future"),
    (timestamp_of_last_year, "time-past"),
    (timestamp_goes_back, "rollback"),
    (snapshot_goes_back, "rollback"),
    (second_snapshot, "second-content"),
    (version_leaps, "version-jump"),
    (signed_by_a_stranger, "index-signature"),
    (signed_by_the_other_witness_alone, "index-signature"),
    (bin_signed_by_a_stranger, "index-signature"),
    (targets_signed_online, "signature-threshold"),
    (bins_signed_online, "signature-threshold"),
    (root_signed_online, "signature-threshold"),
    (unpinned_role_of_the_index, "unpinned-role"),
    (second_delegator, "second-delegator"),
    (fewer_bins, "path-vanished"),
    (no_sha256, "malformed"),
    (too_large, "metadata-too-large"),
]


@pytest.mark.parametrize(("lie", "rule"), LIES, ids=[lie.__name__ for lie, _ in LIES])
def test_a_lie_is_refused_by_its_rule(lie: Callable[[Index], Candidate], rule: str, index: Index, judge: Judge) -> None:
    candidate = lie(index)
    with pytest.raises(AssayError) as refused:
        judge.sign(candidate)
    assert refused.value.rule == rule
    assert refused.value.subject


@pytest.mark.parametrize(("lie", "rule"), LIES, ids=[lie.__name__ for lie, _ in LIES])
def test_a_refusal_leaves_the_memory_as_it_was(
    lie: Callable[[Index], Candidate], rule: str, index: Index, judge: Judge
) -> None:
    before = dict(judge.store.roles), judge.store.snapshot, judge.store.stamp, judge.store.file(DEMO)
    candidate = lie(index)
    with pytest.raises(AssayError):
        judge.sign(candidate)
    assert (dict(judge.store.roles), judge.store.snapshot, judge.store.stamp, judge.store.file(DEMO)) == before


# --- what honest indexes do --------------------------------------------------------------------------------------


def test_a_removed_path_stays_bound_to_its_bytes(index: Index, judge: Judge) -> None:
    index.change(removed=frozenset([DEMO]))
    published(index, judge, removed={DEMO: target(DEMO, GOOD).sha256})
    index.change(target(DEMO, EVIL))
    with pytest.raises(WitnessRefused) as refused:
        judge.sign(index.candidate())
    assert refused.value.rule == "second-hash"


def test_a_removal_with_a_wrong_hash_is_none(index: Index, judge: Judge) -> None:
    index.change(removed=frozenset([DEMO]))
    with pytest.raises(WitnessRefused) as refused:
        judge.sign(index.candidate(removed={DEMO: target(DEMO, EVIL).sha256}))
    assert refused.value.rule == "path-vanished"


def test_a_removed_path_may_come_back_with_its_bytes(index: Index, judge: Judge) -> None:
    index.change(removed=frozenset([DEMO]))
    published(index, judge, removed={DEMO: target(DEMO, GOOD).sha256})
    index.change(target(DEMO, GOOD))
    published(index, judge)


def test_pages_change_and_files_leave_for_a_seal(index: Index, judge: Judge) -> None:
    index.change(target(page("demo"), b"page 2"))
    published(index, judge)
    index.seal()
    published(index, judge)
    assert index.online() == {}
    forge(index, index.bin_of(DEMO), {DEMO: EVIL})
    with pytest.raises(WitnessRefused) as refused:
        judge.sign(index.candidate())
    assert refused.value.rule == "second-hash"


def test_the_same_candidate_again_gets_the_same_signatures(index: Index, judge: Judge) -> None:
    index.change(target(package("new", "1"), GOOD))
    candidate = index.candidate()
    assert judge.sign(candidate) == judge.sign(candidate)


def test_after_a_signature_another_candidate_under_the_same_versions_is_refused(index: Index, judge: Judge) -> None:
    """The index crashed before it published, and comes back with something else."""
    judge.sign(index.candidate())
    index.change(target(package("new", "1"), GOOD))
    with pytest.raises(WitnessRefused) as refused:
        judge.sign(index.candidate())
    assert refused.value.rule == "second-content"


def test_a_witness_that_was_away_asks_for_what_it_missed(index: Index, judge: Judge) -> None:
    path = package("meanwhile", "1")
    index.change(target(path, GOOD))
    missed = published(index)
    index.change(target(package("new", "1"), GOOD))
    candidate = index.candidate()
    lacking = judge.look(candidate)
    if index.bin_of(path) in candidate.roles:
        assert isinstance(lacking, Approval)
        return
    assert lacking == Lacking({index.bin_of(path): index.roles[index.bin_of(path)].version})
    judge.sign(replace(candidate, roles={**candidate.roles, **missed.roles}))
    assert judge.store.file(path) is not None


def test_a_new_witness_asks_for_everything_and_then_knows_it(index: Index, judge: Judge, tmp_path: Path) -> None:
    newcomer = Judge.beside(index, tmp_path, W2)
    candidate = index.candidate()
    assert newcomer.look(candidate) == Lacking({ROOT: 1})
    candidate = replace(candidate, roots=(index.root,))
    lacking = newcomer.look(candidate)
    assert isinstance(lacking, Lacking)
    assert set(lacking.roles) == set(index.roles)
    newcomer.sign(replace(candidate, roles=index.files))
    assert newcomer.store.file(DEMO) == judge.store.file(DEMO)


def test_a_root_of_somebody_else_is_not_followed(index: Index, tmp_path: Path) -> None:
    judge = Judge.beside(index, tmp_path)
    with pytest.raises(WitnessRefused) as refused:
        judge.look(Index(threshold=1).candidate())
    assert refused.value.rule == "root-fingerprint"


def test_two_witnesses_that_saw_the_same_have_the_same_view(index: Index, judge: Judge, tmp_path: Path) -> None:
    newcomer = Judge.beside(index, tmp_path, W2)
    index.seal()
    published(index, judge)
    index.change(target(package("new", "1"), GOOD))
    candidate = index.candidate()
    everything = replace(candidate, roots=(index.root,), roles=index.files)
    one, two = judge.look(candidate), newcomer.look(everything)
    assert isinstance(one, Approval)
    assert isinstance(two, Approval)
    assert one.view == two.view
