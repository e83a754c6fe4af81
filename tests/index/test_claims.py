"""Claims with the real ledger, signer and ceremonies: what developers can do, and what nobody else can."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from assay.index import states
from assay.index.claim_desk import ClaimDesk
from assay.index.claim_plan import plan_claims
from assay.index.handover import hand_over
from assay.index.ledger import accounts
from assay.index.sealing import plan_sealing
from assay.keys.offline_draft import OfflineDraft
from assay.keys.sealing import sign_seal
from assay.model.errors import CallerError, NotAllowed, NotFresh
from assay.model.names import ProjectName
from assay.model.permissions import Principal, ProjectRole
from assay.trust.claim_search import FoundClaim, all_delegating, find_claim
from assay.trust.claims import Claim, claims_in, plan_claim_role
from assay.trust.envelope import sign_envelope
from assay.trust.layout import CLAIMED, CLAIMED_NEW, Lifetimes, TargetPath
from index.ledger_index import DEMO, LedgerIndex, build_wheel, wheel_name

ANA, BEN = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
Files = dict[TargetPath, TargetFile]


def path_of(version: str) -> TargetPath:
    return TargetPath(f"packages/demo/{version}/{wheel_name('demo', version)}")


def wheel_target(version: str) -> TargetFile:
    return TargetFile.from_data(path_of(version), build_wheel("demo", version), ["sha256"])


@dataclass
class House:
    """An index on which ana owns ``demo``, which has version 1.0."""

    index: LedgerIndex
    ana: Principal

    def found(self) -> FoundClaim | None:
        state = self.index.state()
        return state.ask(find_claim(state.trusted, DEMO))

    def role(
        self,
        *versions: str,
        signers: tuple[CryptoSigner, ...] = (ANA,),
        claim: Claim | None = None,
        change: Callable[[Targets], object] = lambda _: None,
        files: Mapping[TargetPath, TargetFile] | None = None,
    ) -> str:
        """The next role that lists what is claimed already and ``versions``."""
        found = self.found()
        meta = self.index.state().snapshot
        listed = meta.meta.get("claim-demo.json") if meta else None
        kept: Files = {TargetPath(name): file for name, file in found.role.targets.items()} if found else {}
        kept |= {path_of(version): wheel_target(version) for version in versions}
        claim = claim or (found.claim if found else Claim(DEMO, (ANA.public_key,), 1))
        version = listed.version + 1 if listed else 1
        body = plan_claim_role(claim, version, kept if files is None else files, self.index.now + Lifetimes().claim)
        change(body)
        return sign_envelope(body, signers).decode()

    def submit(self, role: str, principal: Principal | None = None) -> tuple[str, str | None]:
        desk = ClaimDesk(self.index.ledger, lambda: self.index.now)
        seq = desk.submit(DEMO, role, principal or self.ana)
        self.index.sign()
        return self.index.outcome(seq)

    def upload(self, version: str, role: str | None) -> tuple[str, str | None]:
        fields = {"assay_claim": role} if role is not None else {}
        seq = self.index.admit(build_wheel("demo", version), wheel_name("demo", version), self.ana, **fields)
        self.index.sign()
        return self.index.outcome(seq)

    def ceremony(self, name: str, *revoke: str) -> None:
        """The offline holders settle what waits."""
        folder = self.index.folder / name
        settled = plan_claims(self.index.data, folder, [ProjectName(project) for project in revoke], self.index.now)
        draft = OfflineDraft(folder)
        draft.sign(str(self.index.data.keys.path("targets")), lambda _: "", settled.bodies)
        hand_over(draft, self.index.data, self.index.now)
        self.index.sign()

    def seal(self, name: str) -> None:
        folder = self.index.folder / name
        plan_sealing(self.index.data, folder, self.index.now)
        draft = OfflineDraft(folder)
        sealed = sign_seal(draft, self.index.now, Lifetimes())
        draft.sign(str(self.index.data.keys.path("targets")), lambda _: "", sealed.bodies)
        hand_over(draft, self.index.data, self.index.now)
        self.index.sign()

    def signed_by(self, version: str) -> str | None:
        found = self.index.state().target(path_of(version))
        return found.role if found else None


@pytest.fixture
def house(tmp_path: Path) -> House:
    index = LedgerIndex(tmp_path / "data")
    ana = index.user("ana")
    index.publish("demo", "1.0", ana)
    return House(index, ana)


@pytest.fixture
def claimed(house: House) -> House:
    assert house.submit(house.role("1.0")) == ("published", None)
    return house


def test_after_a_claim_only_the_developers_key_publishes(claimed: House) -> None:
    assert claimed.signed_by("1.0") == "claim-demo"
    state, reason = claimed.upload("2.0", None)
    assert state == "refused"
    assert "assay publish" in str(reason)
    assert claimed.signed_by("2.0") is None
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)
    assert claimed.signed_by("2.0") == "claim-demo"
    assert {file.filename for file in claimed.index.page().files} == {wheel_name("demo", v) for v in ("1.0", "2.0")}


def test_a_claim_can_stand_before_the_first_file(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path / "data")
    house = House(index, index.user("ana"))
    assert house.submit(house.role()) == ("published", None)
    assert house.upload("1.0", house.role("1.0")) == ("published", None)
    assert house.signed_by("1.0") == "claim-demo"


def drops(role: Targets) -> None:
    role.targets.pop(path_of("1.0"))


def changes(role: Targets) -> None:
    role.targets[path_of("1.0")].hashes["sha256"] = sha256(b"evil").hexdigest()


def adds_unknown(role: Targets) -> None:
    role.targets[path_of("3.0")] = wheel_target("3.0")


def adds_foreign(role: Targets) -> None:
    role.targets["packages/other/1/other-1.tar.gz"] = wheel_target("3.0")


def skips_a_version(role: Targets) -> None:
    role.version += 1


def repeats_a_version(role: Targets) -> None:
    role.version -= 1


def is_expired(role: Targets) -> None:
    role.expires -= 2 * Lifetimes().claim


def lives_for_ever(role: Targets) -> None:
    role.expires += 10 * Lifetimes().claim


def delegates(role: Targets) -> None:
    key = BEN.public_key
    other = DelegatedRole("other", [key.keyid], 1, False, paths=["packages/demo/*/*"])
    role.delegations = Delegations({key.keyid: key}, {"other": other})


def claims_another(role: Targets) -> None:
    role.unrecognized_fields["x-assay-claim"]["project"] = "other"


def says_nothing(role: Targets) -> None:
    role.unrecognized_fields.clear()


def needs_no_signature(role: Targets) -> None:
    role.unrecognized_fields["x-assay-claim"]["threshold"] = 0


def misses_the_upload(role: Targets) -> None:
    role.targets.pop(path_of("2.0"))


def other_bytes_than_uploaded(role: Targets) -> None:
    role.targets[path_of("2.0")] = wheel_target("1.0")


REFUSED = [
    drops,
    changes,
    adds_unknown,
    adds_foreign,
    skips_a_version,
    repeats_a_version,
    is_expired,
    lives_for_ever,
    delegates,
    claims_another,
    says_nothing,
    needs_no_signature,
    misses_the_upload,
    other_bytes_than_uploaded,
]


@pytest.mark.parametrize("change", REFUSED)
def test_a_role_that_the_signer_does_not_take(claimed: House, change: Callable[[Targets], object]) -> None:
    """A15: even with the developer's own key."""
    state, reason = claimed.upload("2.0", claimed.role("2.0", change=change))
    assert state == "refused"
    assert reason
    assert claimed.signed_by("2.0") is None
    assert claimed.signed_by("1.0") == "claim-demo"
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)


def test_another_key_signs_nothing(claimed: House) -> None:
    assert claimed.upload("2.0", claimed.role("2.0", signers=(BEN,)))[0] == "refused"
    theirs = Claim(DEMO, (BEN.public_key,), 1)
    assert claimed.submit(claimed.role(claim=theirs, signers=(BEN,)))[0] == "refused"


def test_a_first_claim_signs_every_file_or_none_would_be_found(house: House) -> None:
    state, reason = house.submit(house.role())
    assert state == "refused"
    assert "every file" in str(reason)
    assert house.signed_by("1.0") is not None


def test_only_an_owner_claims(house: House) -> None:
    ben = house.index.user("ben")
    with pytest.raises(NotAllowed, match="no role"):
        house.submit(house.role("1.0"), ben)
    with house.index.write() as connection:
        accounts.grant_role(connection, DEMO, "ben", ProjectRole.MAINTAINER, "ana", house.index.now)
    with pytest.raises(NotAllowed, match="only an owner"):
        house.submit(house.role("1.0"), ben)


def test_keys_change_with_the_old_and_the_new_signatures(claimed: House) -> None:
    both = Claim(DEMO, (ANA.public_key, BEN.public_key), 2)
    assert claimed.submit(claimed.role(claim=both, signers=(ANA,)))[0] == "refused"
    assert claimed.submit(claimed.role(claim=both, signers=(ANA, BEN))) == ("published", None)
    assert claimed.upload("2.0", claimed.role("2.0", signers=(BEN,)))[0] == "refused"
    assert claimed.upload("2.0", claimed.role("2.0", signers=(BEN, ANA))) == ("published", None)


def test_two_uploads_and_a_race_in_one_publication(claimed: House) -> None:
    index = claimed.index

    def admit(version: str, role: str) -> int:
        data, name = build_wheel("demo", version), wheel_name("demo", version)
        return index.admit(data, name, claimed.ana, assay_claim=role)

    second = claimed.role("2.0")
    first = admit("2.0", second)
    files = {path_of(version): wheel_target(version) for version in ("1.0", "2.0", "3.0")}

    def next_one(body: Targets) -> None:
        body.version += 1

    follows = admit("3.0", claimed.role(files=files, change=next_one))
    races = admit("4.0", claimed.role("4.0"))
    index.sign()
    assert [index.outcome(seq)[0] for seq in (first, follows, races)] == ["published", "published", "refused"]
    assert "next version" in str(index.outcome(races)[1])
    assert [claimed.signed_by(version) for version in ("1.0", "2.0", "3.0", "4.0")] == ["claim-demo"] * 3 + [None]


def test_a_plain_upload_and_a_first_claim_in_one_publication_lose_no_file(house: House) -> None:
    index = house.index
    plain = index.admit(build_wheel("demo", "2.0"), wheel_name("demo", "2.0"), house.ana)
    claim = ClaimDesk(index.ledger, lambda: index.now).submit(DEMO, house.role("1.0"), house.ana)
    index.sign()
    assert index.outcome(plain)[0] == "published"
    assert index.outcome(claim)[0] == "refused"
    assert house.submit(house.role("1.0", "2.0")) == ("published", None)


def test_settled_by_the_offline_holders_in_one_publication(claimed: House) -> None:
    claimed.ceremony("settle")
    found = claimed.found()
    assert found is not None
    assert found.top == CLAIMED
    state = claimed.index.state()
    online = state.ask(all_delegating(state.trusted, CLAIMED_NEW))
    assert not [project for role in online.values() for project in claims_in(role)]
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)
    assert claimed.signed_by("2.0") == "claim-demo"


def test_a_settled_claims_keys_change_at_the_next_ceremony(claimed: House) -> None:
    claimed.ceremony("settle")
    bens = Claim(DEMO, (BEN.public_key,), 1)
    assert claimed.submit(claimed.role(claim=bens, signers=(ANA, BEN))) == ("published", None)
    assert claimed.upload("2.0", claimed.role("2.0", claim=bens, signers=(BEN,)))[0] == "refused"
    assert claimed.upload("2.0", claimed.role("2.0", claim=bens, signers=(ANA, BEN))) == ("published", None)
    claimed.ceremony("change")
    found = claimed.found()
    assert found is not None
    assert found.claim == bens
    assert claimed.upload("3.0", claimed.role("3.0", signers=(BEN,))) == ("published", None)


@pytest.mark.parametrize("settled", [True, False])
def test_a_revoked_claim_loses_no_file_and_the_project_can_be_claimed_again(claimed: House, settled: bool) -> None:
    if settled:
        claimed.ceremony("settle")
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)
    claimed.ceremony("revoke", "demo")
    assert claimed.found() is None
    assert [str(claimed.signed_by(version))[:4] for version in ("1.0", "2.0")] == ["bin-", "bin-"]
    assert claimed.upload("3.0", None) == ("published", None)
    bens = Claim(DEMO, (BEN.public_key,), 1)
    versions = ("1.0", "2.0", "3.0")
    assert claimed.submit(claimed.role(*versions, claim=bens, signers=(BEN,))) == ("published", None)
    assert [claimed.signed_by(version) for version in versions] == ["claim-demo"] * 3
    assert claimed.upload("4.0", claimed.role("4.0", signers=(ANA,)))[0] == "refused"


def test_a_seal_takes_the_claimed_files_and_the_role_may_forget_them(claimed: House) -> None:
    claimed.seal("seal")
    assert str(claimed.signed_by("1.0")).startswith("seal-1")
    assert claimed.upload("2.0", claimed.role(files={path_of("2.0"): wheel_target("2.0")})) == ("published", None)
    assert claimed.signed_by("2.0") == "claim-demo"
    assert str(claimed.signed_by("1.0")).startswith("seal-1")
    claimed.seal("again")
    assert str(claimed.signed_by("2.0")).startswith("seal-2")
    with pytest.raises(CallerError, match="nothing was published"):
        claimed.seal("empty")


def test_what_the_index_signs_for_claims_is_renewed_and_a_new_signer_goes_on(claimed: House) -> None:
    index = claimed.index
    before = index.state().trusted.role_meta(CLAIMED_NEW).version
    for _ in range(9):
        index.later(days=1)
        index.sign()
    assert index.state().trusted.role_meta(CLAIMED_NEW).version > before
    assert claimed.signed_by("1.0") == "claim-demo"
    index.publisher = index.new_publisher()
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)


def test_an_expired_role_stops_unsealed_files_only_until_it_is_signed_again(claimed: House) -> None:
    index = claimed.index

    def for_a_day(role: Targets) -> None:
        role.expires = index.now + timedelta(days=1)

    assert claimed.submit(claimed.role(change=for_a_day)) == ("published", None)
    index.later(days=2)
    index.sign()
    with pytest.raises(NotFresh, match="expired"):
        claimed.signed_by("1.0")
    claimed.seal("seal")
    assert str(claimed.signed_by("1.0")).startswith("seal-1")
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)
    assert claimed.signed_by("2.0") == "claim-demo"


def test_a_removed_file_may_leave_the_role(claimed: House) -> None:
    index = claimed.index
    assert claimed.upload("2.0", claimed.role("2.0")) == ("published", None)
    with index.write() as connection:
        states.remove_files(connection, DEMO, wheel_name("demo", "1.0"), "leaked a key", "test", index.now)
    index.sign()
    assert [file.filename for file in index.page().files] == [wheel_name("demo", "2.0")]
    assert claimed.submit(claimed.role(files={path_of("2.0"): wheel_target("2.0")})) == ("published", None)
    assert claimed.signed_by("1.0") is None
    assert claimed.signed_by("2.0") == "claim-demo"


def test_B16_web_cannot_drop_a_claim(claimed: House) -> None:
    """Code in web can propose what it likes; there is no proposal that ends a claim."""
    assert claimed.submit("")[0] == "refused"
    assert claimed.signed_by("1.0") == "claim-demo"
