"""Rows A13 and A15 for claimed projects: all online keys, or a developer's key; ours and stock, new and returning."""

from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Targets

from assay.model.digests import sha256_of
from assay.trust.layout import CLAIMED, CLAIMED_NEW, TargetPath
from assay.trust.plan import NewTarget
from assay.trust.seal import SealedFile
from attacks.conftest import Cell
from support.claims import claim_of, claimed_index, put_claims, put_role
from support.simulator import (
    SIGNERS,
    THIEF,
    AssayClient,
    Simulator,
    StockClient,
    both,
    seal,
    target,
    verdict,
)

DEVELOPER, OTHER = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
OLD = "packages/mine/1.0/mine-1.0-py3-none-any.whl"
NEW = "packages/mine/9.9/mine-9.9-py3-none-any.whl"
FOREIGN = "packages/other/1.0/other-1.0-py3-none-any.whl"
GOOD, EVIL = sha256_of(b"good"), sha256_of(b"evil")
CLAIMS = {"mine": (DEVELOPER, {OLD: b"good"}), "other": (OTHER, {FOREIGN: b"good"})}


def returning(index: Simulator, folder: Path) -> list[AssayClient | StockClient]:
    clients: list[AssayClient | StockClient] = [
        AssayClient(index.root_bytes()),
        StockClient(index.root_bytes(), folder / "returning"),
    ]
    for client in clients:
        for path in (OLD, FOREIGN):
            assert verdict(client, index, path) == GOOD
    return clients


# --- what whoever holds every online key can try; the claim on ``mine`` stands in ``claimed`` -------------------


def evil_in_the_bins(index: Simulator) -> None:
    index.publish(target(OLD, b"evil"), target(NEW, b"evil"))


def evil_claim_online(index: Simulator) -> None:
    """``claimed-new`` hands the project to the thief, whose role has the name and the next version."""
    claim = claim_of("mine", THIEF)
    put_claims(index, CLAIMED_NEW, [claim])
    put_role(index, claim, {OLD: b"evil", NEW: b"evil"}, THIEF, version=2)
    index.seal_off()


def evil_role_signed_by_the_index(index: Simulator) -> None:
    put_role(index, claim_of("mine", SIGNERS["bin"]), {OLD: b"evil", NEW: b"evil"}, SIGNERS["bin"], version=2)
    index.seal_off()


def evil_claims_role(index: Simulator) -> None:
    """``claimed`` itself, signed with the online key."""
    claim = claim_of("mine", THIEF)
    put_claims(index, CLAIMED, [claim, claim_of("other", OTHER)], by=[SIGNERS["bin"]])
    put_role(index, claim, {OLD: b"evil", NEW: b"evil"}, THIEF, version=2)
    index.seal_off()


@pytest.mark.parametrize(
    "attack", [evil_in_the_bins, evil_claim_online, evil_role_signed_by_the_index, evil_claims_role]
)
def test_A13_all_online_keys_stolen_nothing_is_published_for_a_claimed_project(
    attack: Callable[[Simulator], None], tmp_path: Path, cell: Cell
) -> None:
    index = claimed_index(CLAIMED, CLAIMS)
    old = returning(index, tmp_path)
    attack(index)
    for client in [*old, *both(index, tmp_path)]:
        assert verdict(client, index, OLD) in (GOOD, "refused")
        assert verdict(client, index, NEW) in ("none", "refused")
    cell("A13", "claimed", "held")


def test_A13_a_claim_that_is_not_settled_is_lost_with_the_online_keys(tmp_path: Path) -> None:
    """What ``claimed-new`` cannot do: that is why the offline holders settle claims."""
    index = claimed_index(CLAIMED_NEW, CLAIMS)
    old = returning(index, tmp_path)
    evil_claim_online(index)
    for client in [*old, *both(index, tmp_path)]:
        assert verdict(client, index, NEW) == EVIL


def test_A13_with_a_witness_a_claim_is_safe_before_it_is_settled(tmp_path: Path) -> None:
    index = claimed_index(CLAIMED_NEW, CLAIMS, witnessed=True)
    old = returning(index, tmp_path)
    claim = claim_of("mine", THIEF)
    put_claims(index, CLAIMED_NEW, [claim], by=[SIGNERS["bin"]])
    put_role(index, claim, {OLD: b"evil", NEW: b"evil"}, THIEF, version=2)
    index.seal_off()  # even if the witness let this snapshot pass
    for client in [*old, *both(index, tmp_path)]:
        assert verdict(client, index, OLD) == "refused"
        assert verdict(client, index, NEW) == "refused"


def test_A15_a_stolen_developer_key_alone_publishes_nothing(tmp_path: Path) -> None:
    """Without the online keys nobody lists the thief's role in a snapshot."""
    index = claimed_index(CLAIMED, CLAIMS)
    old = returning(index, tmp_path)
    roles, files = dict(index.roles), dict(index.files)
    put_role(index, claim_of("mine", DEVELOPER), {OLD: b"evil", NEW: b"evil"}, DEVELOPER, version=2)
    index.roles, index.files = roles, files | {"2.claim-mine.json": index.files["2.claim-mine.json"]}
    for client in [*old, *both(index, tmp_path)]:
        assert verdict(client, index, OLD) == GOOD
        assert verdict(client, index, NEW) == "none"


@pytest.mark.parametrize("top", [CLAIMED, CLAIMED_NEW])
def test_A15_a_stolen_developer_key_with_all_online_keys_reaches_one_projects_unsealed_future(
    top: str, tmp_path: Path, cell: Cell
) -> None:
    sealed_file = "packages/mine/0.9/mine-0.9-py3-none-any.whl"
    index = claimed_index(top, CLAIMS)
    seal(index, 1, [SealedFile(TargetPath(sealed_file), 4, GOOD)])
    old = returning(index, tmp_path)
    evil = {OLD: b"good", sealed_file: b"evil", NEW: b"evil", FOREIGN: b"evil"}
    put_role(index, claim_of("mine", DEVELOPER), evil, DEVELOPER, version=2)
    index.seal_off()
    for client in [*old, *both(index, tmp_path)]:
        assert verdict(client, index, NEW) == EVIL
        assert verdict(client, index, sealed_file) == GOOD
        assert verdict(client, index, FOREIGN) == GOOD
    cell("A15", "claimed", "unsealed only")


def test_A15_after_the_key_is_replaced_the_stolen_one_is_worth_nothing(tmp_path: Path) -> None:
    index = claimed_index(CLAIMED, CLAIMS)
    old = returning(index, tmp_path)
    fresh = CryptoSigner.generate_ed25519()
    claim = claim_of("mine", fresh)
    put_claims(index, CLAIMED, [claim, claim_of("other", OTHER)])
    put_role(index, claim, {OLD: b"good"}, fresh, version=2)
    index.seal_off()
    clients = [*old, *both(index, tmp_path)]
    for client in clients:
        assert verdict(client, index, OLD) == GOOD
    put_role(index, claim_of("mine", DEVELOPER), {OLD: b"evil", NEW: b"evil"}, DEVELOPER, version=3)
    index.seal_off()
    for client in clients:
        assert verdict(client, index, OLD) == "refused"
        assert verdict(client, index, NEW) == "refused"


def test_A18_a_claim_reached_through_a_second_delegator_is_refused(tmp_path: Path) -> None:
    """The thief has the online keys and lures a client to his copy of the role by another project's name."""
    from assay.model.errors import VerificationFailed
    from assay.trust.update import Answer, Fetch, Request, drive, lookup, refresh
    from assay.trust.verify import TrustedMetadata

    index = claimed_index(CLAIMED, CLAIMS)
    put_role(index, claim_of("mine", THIEF), {OLD: b"evil"}, THIEF, version=2)
    lure = claim_of("mine", THIEF).delegation()
    lure.paths = ["packages/lure/*/*"]
    tree = index.roles[CLAIMED_NEW]
    assert isinstance(tree, Targets)
    assert tree.delegations is not None
    tree.version += 1
    tree.delegations.keys[THIEF.public_key.keyid] = THIEF.public_key
    tree.delegations.roles = {"claim-mine": lure}
    index.put(CLAIMED_NEW, tree, SIGNERS["bin"])
    index.seal_off()
    trusted = TrustedMetadata(index.root_bytes(), now=index.now)

    def answer(request: Request) -> Answer:
        return (
            index.files.get(f"{request.version}.{request.role}.json")
            if isinstance(request, Fetch) and (request.version)
            else index.files.get("timestamp.json")
            if isinstance(request, Fetch)
            else None
        )

    drive(refresh(trusted), answer)
    assert drive(lookup(trusted, TargetPath("packages/lure/1/lure-1.tar.gz")), answer) is None
    with pytest.raises(VerificationFailed, match="second delegator"):
        drive(lookup(trusted, TargetPath(OLD)), answer)


def test_what_is_not_claimed_is_found_as_ever(tmp_path: Path) -> None:
    index = claimed_index(CLAIMED, CLAIMS)
    plain = "packages/plain/1.0/plain-1.0-py3-none-any.whl"
    content: NewTarget = target(plain, b"good")
    index.publish(content)
    for client in both(index, tmp_path):
        assert verdict(client, index, plain) == GOOD
        assert verdict(client, index, "packages/mine/2.0/mine-2.0.tar.gz") == "none"
