"""What offline holders are made to sign: the index writes the drafts, and may be the attacker's.

A holder's machine works out what it signs from the plan that its holder reads; whatever lies in the draft beside that,
signed or not, is compared, and never signed.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Targets

from assay.index.claim_plan import plan_claims
from assay.index.handover import hand_over
from assay.index.sealing import plan_sealing
from assay.index.takedown import plan_takedown
from assay.keys.claiming import read_claims
from assay.keys.offline_draft import OfflineDraft
from assay.keys.sealing import FILES, encode_sealed, read_seal, sign_seal
from assay.keys.takedown import read_takedown
from assay.model.digests import sha256_of
from assay.model.errors import AssayError, CallerError, NotFresh, VerificationFailed
from assay.trust.claim_search import all_delegating
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, CLAIMED, TARGETS, Lifetimes
from assay.trust.seal import SealedFile
from index.ledger_index import LedgerIndex
from index.test_claims import House, claimed, house, path_of

__all__ = ["claimed", "house"]

THIEF = CryptoSigner.generate_ed25519()
LIVES = Lifetimes()


def evil_targets(index: LedgerIndex) -> Targets:
    """The next ``targets``, as the thief would like it: everything is his."""
    current = index.state().targets()
    role = DelegatedRole(BINS, [THIEF.public_key.keyid], 1, terminating=True, paths=["packages/*/*/*"])
    delegations = Delegations({THIEF.public_key.keyid: THIEF.public_key}, {BINS: role})
    return Targets(current.version + 1, None, index.now + LIVES.targets, {}, delegations)


def put_evil(draft: OfflineDraft, index: LedgerIndex) -> None:
    evil = evil_targets(index)
    path = draft.folder / "signed" / f"{evil.version}.targets.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(sign_envelope(evil, [THIEF]))


def sign(index: LedgerIndex, draft: OfflineDraft, bodies: Mapping[str, Targets]) -> None:
    draft.sign(str(index.data.keys.path("targets")), lambda _: "", bodies)


def takedown(index: LedgerIndex, folder: Path) -> OfflineDraft:
    plan_takedown(index.data, folder, [path_of("1.0")], index.now)
    return OfflineDraft(folder)


def settling(index: LedgerIndex, folder: Path) -> OfflineDraft:
    plan_claims(index.data, folder, [], index.now)
    return OfflineDraft(folder)


def test_A13_holders_do_not_sign_what_the_index_put_into_a_draft(claimed: House) -> None:
    index = claimed.index
    taking, settles = takedown(index, index.folder / "takedown"), settling(index, index.folder / "claims")
    for draft in (taking, settles):
        put_evil(draft, index)
    asked = (
        (taking, read_takedown(taking, index.now, LIVES).bodies),
        (settles, read_claims(settles, index.now, LIVES).bodies),
    )
    for draft, bodies in asked:
        with pytest.raises(VerificationFailed) as refused:
            sign(index, draft, bodies)
        assert (refused.value.rule, refused.value.subject) == ("draft-swapped", TARGETS)


def test_A13_a_draft_starts_from_roles_that_the_holders_signed(claimed: House) -> None:
    index = claimed.index
    draft = takedown(index, index.folder / "takedown")
    current = draft.folder / "current" / "targets.json"
    current.write_bytes(sign_envelope(evil_targets(index), [THIEF]))
    with pytest.raises(VerificationFailed, match="enough"):
        read_takedown(draft, index.now, LIVES)


@pytest.mark.parametrize("days", [-90, 5])
def test_a_draft_of_another_time_is_not_signed(claimed: House, days: int) -> None:
    """The date of what is signed comes from the draft: one of far ahead would live for ever."""
    index = claimed.index
    index.later(days=100)
    made = index.now + timedelta(days=days)
    plan_claims(index.data, index.folder / "claims", [], index.now)
    draft = OfflineDraft(index.folder / "claims")
    plan = draft.folder / "plan.json"
    plan.write_text(plan.read_text().replace(index.now.replace(microsecond=0).isoformat(), made.isoformat()))
    with pytest.raises(NotFresh) as refused:
        read_claims(draft, index.now, LIVES)
    assert refused.value.rule == "draft-age"


def sealed_draft(index: LedgerIndex) -> OfflineDraft:
    plan_sealing(index.data, index.folder / "seal", index.now)
    return OfflineDraft(index.folder / "seal")


def swap_key(index: LedgerIndex, draft: OfflineDraft) -> None:
    """The thief seals the same files himself, with a key that he keeps."""
    for path in (draft.folder / "signed").iterdir():
        path.unlink()
    sign_seal(draft, index.now, LIVES)
    for role, body in read_bodies(draft, index).items():
        draft.put(role, body, [THIEF])


def read_bodies(draft: OfflineDraft, index: LedgerIndex) -> Mapping[str, Targets]:
    for path in (draft.folder / "signed").iterdir():
        path.unlink()
    return sign_seal(draft, index.now, LIVES).bodies


def swap_targets(index: LedgerIndex, draft: OfflineDraft) -> None:
    put_evil(draft, index)


def swap_list(index: LedgerIndex, draft: OfflineDraft) -> None:
    listed = draft.folder / FILES
    listed.write_bytes(listed.read_bytes().replace(b'"length":', b'"length":1'))


def swap_bin(index: LedgerIndex, draft: OfflineDraft) -> None:
    (path,) = (draft.folder / "signed").glob("1.seal-1-*.json")
    path.write_bytes(path.read_bytes().replace(b'"length":', b'"length":1'))


@pytest.mark.parametrize("swap", [swap_key, swap_targets, swap_list, swap_bin])
def test_A14_a_further_holder_compares_the_seal_with_the_draft(house: House, swap: object) -> None:
    index = house.index
    draft = sealed_draft(index)
    sign(index, draft, sign_seal(draft, index.now, LIVES).bodies)
    sign(index, draft, read_seal(draft, index.now, LIVES).bodies)
    assert callable(swap)
    swap(index, draft)
    with pytest.raises(AssayError) as refused:
        sign(index, draft, read_seal(draft, index.now, LIVES).bodies)
    assert refused.value.rule in ("draft-swapped", "draft-unsigned")


def test_a_seal_is_made_once(house: House) -> None:
    draft = sealed_draft(house.index)
    sign_seal(draft, house.index.now, LIVES)
    with pytest.raises(CallerError, match="signed already"):
        sign_seal(draft, house.index.now, LIVES)


def test_a_sealing_renews_the_settled_claims(claimed: House) -> None:
    """Both are signed by the same people: who signs ``targets`` for 90 days need not think of ``claimed``."""
    claimed.ceremony("settle")
    index = claimed.index
    index.later(days=60)
    index.sign()
    claimed.upload("3.0", claimed.role("3.0"))
    claimed.seal("seal")
    state = index.state()
    tree = state.ask(all_delegating(state.trusted, CLAIMED))
    assert {role.expires for role in tree.values()} == {state.targets().expires}
    assert (claimed.signed_by("1.0"), claimed.signed_by("3.0")) == ("seal-1-0-0", "seal-1-0-0")
    claimed.upload("4.0", claimed.role("4.0"))
    found = claimed.found()
    assert found is not None
    assert (found.is_settled, claimed.signed_by("4.0")) == (True, "claim-demo")


@pytest.mark.parametrize("version", ["1.0", "6.6"])
def test_A13_the_index_has_nothing_sealed_that_a_claims_developers_did_not_sign(claimed: House, version: str) -> None:
    """Seals are searched before claims: without this, a sealing would publish for the project."""
    claimed.ceremony("settle")
    draft = sealed_draft(claimed.index)
    listed = draft.folder / FILES
    evil = encode_sealed(SealedFile(path_of(version), 4, sha256_of(b"evil")))
    kept = [line for line in listed.read_bytes().splitlines() if path_of(version).encode() not in line]
    listed.write_bytes(b"\n".join([*kept, json.dumps(evil).encode()]) + b"\n")
    with pytest.raises(VerificationFailed) as refused:
        sign_seal(draft, claimed.index.now, LIVES)
    assert (refused.value.rule, refused.value.subject) == ("seal-unsigned", path_of(version))


def test_a_sealed_draft_is_handed_over(house: House) -> None:
    draft = sealed_draft(house.index)
    sign(house.index, draft, sign_seal(draft, house.index.now, LIVES).bodies)
    assert draft.missing_signatures() == 0
    assert hand_over(draft, house.index.data, house.index.now) == 3
    assert CLAIMED not in house.index.state().targets().to_dict()["delegations"]["roles"]
