"""Signed and attested projects: what stolen keys, tokens and accounts, uploaders and a broken web process can try."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from assay.formats.pages import PageFile, file_url
from assay.index.ledger.publications import propose
from assay.index.ledger.schema import files
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.provenance.approvals import Approvals
from assay.index.provenance.attach import Attach
from assay.index.provenance.changes import (
    AddCertificate,
    AddPublisher,
    EndCertificate,
    EndPublisher,
    RevokeCertificate,
    SignerChange,
)
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import parse_distribution
from assay.model.errors import AssayError, InvalidUpload, RefusedByPolicy, SignerRefused, VerificationFailed
from assay.policy.model import ExpectedAttester, Layer, Mode, Policy, Projects, Rule
from client.small_distributions import wheel_metadata
from index.ledger_index import DEMO, wheel_name
from provenance.openpgp_makers import Gpg, gpg_home
from provenance.own_root_world import ALICE, WORKFLOW, Organisation
from provenance_wiring.developer import DAY, Developer
from provenance_wiring.publishers import FORGE, PERSON, attest, members
from provenance_wiring.signing_index import WHEEL, Client, SigningIndex, wheel

pytestmark = pytest.mark.refuses("signed")

NEW = wheel_name("demo", "6.6")
EVIL = wheel("6.6")


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    with gpg_home() as made:
        yield made


@pytest.fixture
def dora(gpg: Gpg) -> Developer:
    return Developer(gpg, "dora")


@pytest.fixture
def mallory(gpg: Gpg) -> Developer:
    return Developer(gpg, "mallory")


@pytest.fixture(scope="module")
def company() -> Organisation:
    return Organisation()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SigningIndex]:
    made = SigningIndex(tmp_path / "index")
    yield made
    made.ledger.close()


@pytest.fixture
def machines(index: SigningIndex, tmp_path: Path) -> Iterator[list[Client]]:
    """A client that installs now, and one that never asked anything before the attack."""
    with index.served() as web:
        yield [Client(index, web, tmp_path / "returning"), Client(index, web, tmp_path / "newcomer")]


@pytest.fixture
def signed(index: SigningIndex, dora: Developer) -> SigningIndex:
    """``demo`` expects dora's signatures, and 1.0 has one."""
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    index.upload("1.0", signature=dora.sign(wheel()))
    return index


@pytest.fixture
def attested(index: SigningIndex, company: Organisation) -> SigningIndex:
    """``demo`` expects attestations of one workflow of the company's forge, and 1.0 has one."""
    index.change(AddPublisher(DEMO, members(FORGE), company.trust.root, optional=False))
    index.upload("1.0", attestations=[attest(index, company)])
    return index


def proposed(index: SigningIndex, version: str, **beside: Sha256) -> PublishFiles:
    """What a broken web process writes into the outbox: a file that admission never saw, uploaded long ago."""
    filename, data = wheel_name("demo", version), wheel(version)
    entry = PageFile(
        filename=filename,
        url=file_url(DEMO, version, filename),
        sha256=index.blobs.store_bytes(data),
        size=len(data),
        upload_time=index.now.replace(year=2001),
        core_metadata=sha256_of(wheel_metadata("demo", version)),
    )
    return PublishFiles(DEMO, "upload", (ProposedFile(parse_distribution(filename), entry, {}, **beside),))


def outcome(index: SigningIndex, proposal: PublishFiles | Attach | SignerChange) -> str | None:
    """Propose behind admission's back, in a ledger that forgot its files; the signer's refusal, or None."""
    with index.write() as connection:
        connection.execute(delete(files))
        seq = propose(connection, proposal)
    index.sign()
    state, reason = index.outcome(seq)
    assert state in ("published", "refused")
    return reason if state == "refused" else None


# --- A15: a developer's key, and the token with it ---


def test_A15_a_stolen_developer_key_is_revoked_and_nothing_it_signed_installs(
    signed: SigningIndex, dora: Developer, machines: list[Client]
) -> None:
    """Until the revocation the thief signs releases of this project, and of no other; then clients refuse them all."""
    signed.upload("6.6", signature=dora.sign(EVIL))
    machines[0].install(NEW)
    signed.change(RevokeCertificate(DEMO, dora.fingerprint, dora.revocation))
    for machine in machines:
        for filename in (WHEEL, NEW):
            with pytest.raises(VerificationFailed) as caught:
                machine.install(filename)
            assert caught.value.rule == "openpgp-revoked"


def test_A15_a_revocation_is_not_undone_by_an_older_export_or_an_end(
    signed: SigningIndex, dora: Developer, mallory: Developer, machines: list[Client]
) -> None:
    before = dora.certificate
    signed.change(RevokeCertificate(DEMO, dora.fingerprint, dora.revocation))
    signed.change(AddCertificate(DEMO, before, optional=True))
    signed.change(EndCertificate(DEMO, dora.fingerprint, distrust=False))
    for machine in machines:
        with pytest.raises(VerificationFailed) as caught:
            machine.install()
        assert caught.value.rule == "openpgp-revoked"
    signed.change(AddCertificate(DEMO, mallory.certificate, optional=False))
    with pytest.raises(InvalidUpload) as refusal:
        signed.send(NEW, EVIL, signature=dora.sign(EVIL))
    assert refusal.value.rule == "openpgp-revoked"


# --- B3, B4: an account or a token ---


def test_B3_an_account_taken_over_publishes_nothing_without_the_registered_workflow(
    attested: SigningIndex, company: Organisation
) -> None:
    mallory = replace(ALICE, subjects=("mallory@example.org",))
    stranger = attest(attested, company, mallory, filename=NEW, data=EVIL)
    fork = replace(WORKFLOW, repository="https://git.example.org/mallory/project", repository_id="8")
    forked = attest(attested, company, fork, filename=NEW, data=EVIL)
    taken_over = attest(attested, company, replace(WORKFLOW, owner_id="4"), filename=NEW, data=EVIL)
    other = replace(WORKFLOW, build_config=f"{WORKFLOW.repository}//evil.yml@refs/tags/v1")
    for attestation, rule in (
        (None, "attestation-missing"),
        (stranger, "attestation-issuer"),
        (forked, "attestation-repository"),
        (taken_over, "attestation-owner"),
        (attest(attested, company, other, filename=NEW, data=EVIL), "attestation-workflow"),
        (attest(attested, company), "attestation-subject"),
        (attest(attested, company, filename=NEW), "attestation-digest"),
    ):
        with pytest.raises(InvalidUpload) as caught:
            attested.send(NEW, EVIL, attestations=[attestation] if attestation else None)
        assert caught.value.rule == rule


def test_B4_a_leaked_token_alone_publishes_nothing_for_a_project_that_signs(
    signed: SigningIndex, dora: Developer, mallory: Developer
) -> None:
    for signature, rule in (
        (None, "signature-missing"),
        (mallory.sign(EVIL), "openpgp-unknown-key"),
        (dora.sign(wheel()), "openpgp-bad-signature"),
        (dora.sign(EVIL, at="2024-05-02"), "openpgp-not-near-upload"),
    ):
        with pytest.raises(InvalidUpload) as caught:
            signed.send(NEW, EVIL, signature=signature)
        assert caught.value.rule == rule


# --- B16: a broken web process ---


def test_B16_a_file_without_its_evidence_is_not_signed_whatever_admission_forgot(
    signed: SigningIndex, mallory: Developer
) -> None:
    assert "must be signed" in str(outcome(signed, proposed(signed, "6.6")))
    by_mallory = signed.blobs.store_bytes(mallory.sign(EVIL))
    assert "nobody registered" in str(outcome(signed, proposed(signed, "6.6", signature=by_mallory)))
    assert signed.page().file(NEW) is None


def test_B16_who_signs_is_not_changed_through_the_ledger(
    signed: SigningIndex, dora: Developer, mallory: Developer, machines: list[Client]
) -> None:
    """Also not by what the operator once asked for, and the ledger still remembers."""
    asked = AddCertificate(DEMO, mallory.certificate, optional=False)
    signed.change(asked)
    signed.change(EndCertificate(DEMO, mallory.fingerprint, distrust=True))
    before = signed.page().signers
    for change in (
        asked,
        AddCertificate(DEMO, dora.certificate, optional=True),
        EndCertificate(DEMO, dora.fingerprint, distrust=False),
        RevokeCertificate(DEMO, dora.fingerprint, dora.revocation),
        AddPublisher(DEMO, members(FORGE), None, optional=True),
    ):
        with pytest.raises(SignerRefused) as refusal:
            Approvals(signed.data.inbox).require(change)
        assert refusal.value.rule == "signers-not-approved"
        assert refusal.value.what in str(outcome(signed, change))
    assert signed.page().signers == before
    for machine in machines:
        machine.install()


def test_B16_evidence_of_a_published_file_cannot_be_proposed_away(
    signed: SigningIndex, dora: Developer, machines: list[Client]
) -> None:
    """The project signs no more; its old files keep their signatures and the moment that they came."""
    signed.change(EndCertificate(DEMO, dora.fingerprint, distrust=False))
    before = signed.page().file(WHEEL)
    outcome(signed, proposed(signed, "1.0"))
    assert signed.page().file(WHEEL) == before
    for machine in machines:
        evidence = machine.install().evidence
        assert evidence is not None
        assert evidence.signature is not None


def test_B16_a_broken_web_process_cannot_attach_what_does_not_verify(
    attested: SigningIndex, company: Organisation, mallory: Developer, machines: list[Client]
) -> None:
    served = machines[0].web.get(f"/integrity/demo/1.0/{WHEEL}/provenance").body
    bundle = json.loads(served)
    bundle["attestation_bundles"][0]["attestations"] = [json.loads(attest(attested, company, data=b"other bytes"))]
    store = attested.blobs.store_bytes
    for proposal in (
        Attach(DEMO, WHEEL, None, store(json.dumps(bundle).encode())),
        Attach(DEMO, WHEEL, None, store(b"not JSON")),
        Attach(DEMO, WHEEL, None, sha256_of(b"not in the blob store")),
        Attach(DEMO, WHEEL, store(mallory.sign(wheel())), None),
    ):
        assert outcome(attested, proposal) is not None
    for machine in machines:
        machine.install()


# --- B18: evidence that two readers read differently ---


def test_B18_a_signature_that_two_readers_read_differently_is_refused(
    index: SigningIndex, dora: Developer, mallory: Developer, gpg: Gpg
) -> None:
    """gpg takes one of several signatures in a file, Sequoia the first; an inline message carries another file."""
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    index.change(AddCertificate(DEMO, mallory.certificate, optional=True))
    good, other = dora.sign(wheel()), mallory.sign(b"other bytes")
    inline = gpg.sign("dora", b"text", at=DAY, mode="--sign").replace(b"PGP MESSAGE", b"PGP SIGNATURE")
    for signature, rule in (
        (good + other, "openpgp-several-signatures"),
        (other + good, "openpgp-several-signatures"),
        (inline, "openpgp-packet"),
        (good.replace(b"\n\n", b"\nComment: x\n\n", 1) + b"trailing\n", "openpgp-armor"),
    ):
        with pytest.raises(InvalidUpload) as caught:
            index.send(WHEEL, wheel(), signature=signature)
        assert caught.value.rule == rule


def test_B18_an_attestation_that_two_readers_read_differently_is_refused(
    attested: SigningIndex, company: Organisation
) -> None:
    good = attest(attested, company, filename=NEW, data=EVIL)
    twice = good.replace(b'"version":1', b'"version":2,"version":1', 1)
    wrapped = json.loads(good)
    wrapped["extra"] = "for another reader"
    entries = json.loads(good)
    entries["verification_material"]["transparency_entries"] *= 2
    for bad, rule in (
        (twice, "attestation-format"),
        (json.dumps(wrapped).encode(), "attestation-format"),
        (json.dumps(entries).encode(), "attestation-several-log-entries"),
    ):
        with pytest.raises(InvalidUpload) as caught:
            attested.send(NEW, EVIL, attestations=[bad])
        assert caught.value.rule == rule


# --- whoever holds the index's online keys, against a policy that names keys or publishers ---


def rule(kind: str, value: object) -> Policy:
    return Policy((Layer("project", "here", (Rule(kind, Projects(("demo",)), value, Mode.ENFORCE, "here:1"),)),))


def test_a_policy_that_names_a_key_needs_no_word_of_the_index(
    signed: SigningIndex, dora: Developer, mallory: Developer, machines: list[Client]
) -> None:
    """The index ends dora's certificate and registers another: what it vouches for is refused all the same."""
    policy = rule("signed_by", (dora.fingerprint,))
    signed.change(EndCertificate(DEMO, dora.fingerprint, distrust=False))
    signed.later(minutes=1)
    unsigned = signed.upload("2.0")
    signed.change(AddCertificate(DEMO, mallory.certificate, optional=False))
    signed.upload("6.6", signature=mallory.sign(EVIL))
    for machine in machines:
        machine.install(policy=policy)
        for filename, refusal in ((unsigned, "signature-missing"), (NEW, "policy-signer")):
            with pytest.raises(RefusedByPolicy) as caught:
                machine.install(filename, policy)
            assert caught.value.rule == refusal


def test_a_policy_that_names_a_publisher_needs_no_word_of_the_index(
    attested: SigningIndex, machines: list[Client], company: Organisation
) -> None:
    """The index registers a look-alike root, which attests whatever it is asked to as the same publisher."""
    policy = rule("published_by", (ExpectedAttester(Projects(), FORGE, company.trust),))
    look_alike = Organisation()
    attested.change(EndPublisher(DEMO, members(FORGE), distrust=False))
    attested.later(minutes=1)
    attested.change(AddPublisher(DEMO, members(PERSON), look_alike.trust.root, optional=False))
    attested.upload("6.6", attestations=[attest(attested, look_alike, ALICE, filename=NEW, data=EVIL)])
    for machine in machines:
        machine.install(policy=policy)
        machine.install(NEW)
        with pytest.raises(AssayError):
            machine.install(NEW, policy)
