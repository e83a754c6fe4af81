"""The tree of claims: every project is found where the roles say, and what a client fetches stays small."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import Delegations, Targets
from tuf.ngclient import UpdaterConfig

from assay.keys.files import Scheme, generate_private_key
from assay.model.digests import sha256_of
from assay.model.errors import VerificationFailed
from assay.model.names import ProjectName
from assay.trust.claims import (
    CLAIM_FIELD,
    MAX_DELEGATIONS,
    MAX_DEPTH,
    Claim,
    claim_role,
    claims_in,
    plan_claim_role,
    plan_delegations,
    require_claim_signed,
    revocations_in,
    stated_claim,
    with_revocations,
)
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import CLAIMED, CLAIMED_NEW, SPEC_VERSION, TARGETS
from assay.trust.seal import MAX_SEALS
from assay.trust.update import MAX_VISITED_ROLES
from support.claims import claim_of, claimed_index, delegate_to_claims, put_claims, put_role
from support.simulator import LIFETIMES, NOW, SIGNERS, AssayClient, Simulator, StockClient, both, verdict

HOLDER, DEVELOPER, OTHER = (CryptoSigner.generate_ed25519() for _ in range(3))
NAMES = st.from_regex(r"\A[a-c]([a-c0-1-]{0,4}[a-c0-1])?\Z").map(ProjectName)


def tree_of(names: set[ProjectName], top: str = CLAIMED_NEW, holder: CryptoSigner = HOLDER) -> dict[str, Delegations]:
    claims = {name: claim_of(name, DEVELOPER) for name in names}
    return plan_delegations(top, claims, [holder.public_key], 1)


def way_to(tree: dict[str, Delegations], project: ProjectName, top: str = CLAIMED_NEW) -> list[str]:
    """The roles that a client's search visits for a file of ``project``, pre-order, until it ends."""
    visited, pending = [], [top]
    while pending:
        role = pending.pop()
        visited.append(role)
        if role == claim_role(project):
            return visited
        children = [name for name, _ in tree[role].get_roles_for_target(f"packages/{project}/1/x")]
        pending += reversed(children)
    return visited


@settings(max_examples=40, deadline=None)
@given(st.sets(NAMES, min_size=1, max_size=900))
def test_every_claim_is_found_and_stands_once(names: set[ProjectName]) -> None:
    tree = tree_of(names)
    standing = [name for role in tree.values() for name in role.roles or {} if name.startswith("claim-")]
    assert sorted(standing) == sorted(map(claim_role, names))
    for project in sorted(names)[:50]:
        way = way_to(tree, project)
        assert way[-1] == claim_role(project)
        assert len(way) <= MAX_DEPTH + 2


def test_many_claims_stay_small_for_a_client() -> None:
    names = {ProjectName(f"{start}{number}") for start in ("python-", "py", "new", "a", "z-") for number in range(1200)}
    tree = tree_of(names)
    assert max(len(role.roles or {}) for role in tree.values()) <= MAX_DELEGATIONS
    assert "claimed-new" in tree
    assert all(way_to(tree, project)[-1] == claim_role(project) for project in sorted(names)[::200])


def test_no_two_roles_have_one_name() -> None:
    """``claimed-new`` is a role of its own; the part of ``claimed`` for names that begin with "new" is another."""
    names = {ProjectName(f"new{number}") for number in range(600)} | {ProjectName(f"other{n}") for n in range(600)}
    claims = {name: claim_of(name, DEVELOPER) for name in names}
    settled = plan_delegations(CLAIMED, claims, [HOLDER.public_key], 1)
    assert CLAIMED_NEW not in settled
    assert not set(settled) & set(plan_delegations(CLAIMED_NEW, claims, [HOLDER.public_key], 1))


def test_spread_claims_are_found_by_stock_clients(tmp_path: Path) -> None:
    projects = {f"p{number:04}": (DEVELOPER, {f"packages/p{number:04}/1/x": b"good"}) for number in range(300)}
    index = claimed_index(CLAIMED, projects)
    assert any(role.startswith("claimed_") for role in index.roles)
    for client in both(index, tmp_path):
        assert verdict(client, index, "packages/p0299/1/x") == sha256_of(b"good")
        assert verdict(client, index, "packages/p0000/1/x") == sha256_of(b"good")
        assert verdict(client, index, "packages/unclaimed/1/x") == "none"


def test_a_lookup_through_every_level_stays_below_what_stock_clients_visit() -> None:
    """Six large seals of three roles each, both trees of claims, the bins, and the claim's own role or a bin."""
    assert 1 + 1 + MAX_SEALS * 3 + 2 * (1 + MAX_DEPTH) + 2 <= UpdaterConfig().max_delegations == MAX_VISITED_ROLES


def test_of_100000_claimed_projects_stock_clients_find_each(tmp_path: Path) -> None:
    """Names as people choose them: few beginnings, long families. Only the roles on the way are really there."""
    families = [f"{a}{b}" for a in ("py", "django-", "a", "z", "aws-cdk-", "new", "x-") for b in "abcdefghij"]
    names = sorted({f"{family}{number:x}" for family in families for number in range(7, 10**7, 6997)})[:100_000]
    assert len(names) == 100_000
    index = Simulator()
    tree = tree_of({ProjectName(name) for name in names}, CLAIMED, SIGNERS[TARGETS])
    wanted = [ProjectName(name) for name in (names[0], names[50_000], names[-1])]
    for role in {role for project in wanted for role in way_to(tree, project, CLAIMED)[:-1]}:
        index.put(role, Targets(1, SPEC_VERSION, NOW + LIFETIMES.claimed, {}, tree[role]), SIGNERS[TARGETS])
    for project in wanted:
        put_role(index, claim_of(project, DEVELOPER), {f"packages/{project}/1/x": b"good"}, DEVELOPER)
    delegate_to_claims(index, CLAIMED)
    index.seal_off({**dict.fromkeys(tree, 1), **{claim_role(ProjectName(name)): 1 for name in names}})
    assert len(index.files["2.snapshot.json"]) > UpdaterConfig().snapshot_max_length
    for client in both(index, tmp_path):
        for project in wanted:
            assert verdict(client, index, f"packages/{project}/1/x") == sha256_of(b"good")
        assert verdict(client, index, f"packages/{wanted[0]}/2/y") == "none"
        assert verdict(client, index, "packages/unclaimed/1/x") == "none"


def test_a_claim_moves_from_online_to_offline_without_a_second_delegator(tmp_path: Path) -> None:
    path = "packages/mine/1/x"
    index = claimed_index(CLAIMED_NEW, {"mine": (DEVELOPER, {path: b"good"})})
    clients: list[AssayClient | StockClient] = [
        AssayClient(index.root_bytes()),
        StockClient(index.root_bytes(), tmp_path / "returning"),
    ]
    for client in clients:
        assert verdict(client, index, path) == sha256_of(b"good")
    put_claims(index, CLAIMED_NEW, [])
    put_claims(index, CLAIMED, [claim_of("mine", DEVELOPER)])
    settle(index)
    for client in (*clients, *both(index, tmp_path)):
        assert verdict(client, index, path) == sha256_of(b"good")


def settle(index: Simulator) -> None:
    delegate_to_claims(index, CLAIMED, CLAIMED_NEW)
    index.seal_off()


# --- the developers' role -------------------------------------------------------------------------------------


def signed(claim: Claim, *signers: CryptoSigner) -> bytes:
    return sign_envelope(plan_claim_role(claim, 1, {}, NOW), signers)


def test_a_role_says_whose_it_is_and_needs_old_and_new_signatures() -> None:
    old, new = claim_of("mine", DEVELOPER), claim_of("mine", OTHER)
    by_both = parse_envelope(signed(new, DEVELOPER, OTHER), Targets, "claim-mine")
    assert require_claim_signed(by_both, ProjectName("mine"), old) == new
    for lacking in (signed(new, DEVELOPER), signed(new, OTHER)):
        with pytest.raises(VerificationFailed, match="not signed by enough"):
            require_claim_signed(parse_envelope(lacking, Targets, "claim-mine"), ProjectName("mine"), old)
    with pytest.raises(VerificationFailed, match="another project"):
        require_claim_signed(by_both, ProjectName("yours"), None)


@pytest.mark.parametrize(
    "statement",
    [
        None,
        {},
        {"project": "mine", "keys": {}, "threshold": 1},
        {"project": "mine", "keys": [], "threshold": 1},
        {"project": "Mine", "keys": {}, "threshold": 1},
        {"project": "../x", "keys": {}, "threshold": 1},
        {"project": "mine", "keys": {"a": {"keytype": "ed25519"}}, "threshold": 1},
        {"project": "mine", "keys": {DEVELOPER.public_key.keyid: DEVELOPER.public_key.to_dict()}, "threshold": 2},
        {"project": "mine", "keys": {DEVELOPER.public_key.keyid: DEVELOPER.public_key.to_dict()}, "threshold": "1"},
    ],
)
def test_a_statement_that_is_none_is_refused(statement: object) -> None:
    role = plan_claim_role(claim_of("mine", DEVELOPER), 1, {}, NOW)
    role.unrecognized_fields[CLAIM_FIELD] = statement
    with pytest.raises(VerificationFailed):
        stated_claim(role)


def test_a_delegation_that_covers_more_than_its_project_is_no_claim() -> None:
    delegation = claim_of("mine", DEVELOPER).delegation()
    delegation.paths = ["packages/*/*/*"]
    keys: dict[str, Key] = {DEVELOPER.public_key.keyid: DEVELOPER.public_key}
    role = Targets(1, SPEC_VERSION, NOW, {}, Delegations(keys, {"claim-mine": delegation}))
    with pytest.raises(VerificationFailed, match="covers its own project"):
        claims_in(role)


def test_revocations_come_back_as_they_were_written() -> None:
    role = with_revocations(Targets(1, SPEC_VERSION, NOW, {}), {ProjectName("mine"): 7})
    assert revocations_in(role) == {"mine": 7}
    assert revocations_in(Targets(1, SPEC_VERSION, NOW, {})) == {}
    role.unrecognized_fields["x-assay-revoked"] = ["mine"]
    with pytest.raises(VerificationFailed):
        revocations_in(role)


def test_a_key_under_another_keys_id_is_refused() -> None:
    """Both would stand in one delegator, where an id has one key: the thief's would take the victim's place."""
    key = DEVELOPER.public_key
    assert isinstance(key, SSlibKey)
    impostor = SSlibKey(key.keyid, key.keytype, key.scheme, OTHER.public_key.to_dict()["keyval"])
    with pytest.raises(VerificationFailed, match="hash of the key"):
        Claim(ProjectName("yours"), (impostor,), 1)
    marked = SSlibKey(key.keyid, key.keytype, key.scheme, key.keyval, {"x": "y"})
    with pytest.raises(VerificationFailed, match="hash of the key"):
        Claim(ProjectName("yours"), (marked,), 1)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_every_kind_of_key_that_assay_makes_can_claim(scheme: Scheme) -> None:
    key = SSlibKey.from_crypto(generate_private_key(scheme).public_key(), scheme=scheme.value)
    claim = Claim(ProjectName("mine"), (key,), 1)
    assert stated_claim(plan_claim_role(claim, 1, {}, NOW)) == claim
