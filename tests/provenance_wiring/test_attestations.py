"""PEP 740 from registration to installation: an organisation's own root, registered publishers, policy."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pypi_attestations import Provenance

from assay.formats.pages import render_page_json
from assay.index.provenance.changes import AddPublisher, EndPublisher
from assay.model.errors import InvalidUpload, RefusedByPolicy, VerificationFailed
from assay.policy.model import ExpectedAttester, Layer, Mode, Policy, Projects, Rule
from assay.provenance.sigstore_trust import SigstoreTrust
from assay.provenance.slsa import BuildRule
from index.ledger_index import DEMO, wheel_name
from provenance.own_root_world import ALICE, WORKFLOW, Organisation
from provenance_wiring.publishers import FORGE, PERSON, attest, members
from provenance_wiring.signing_index import WHEEL, Client, SigningIndex, wheel


@pytest.fixture(scope="module")
def company() -> Organisation:
    """An organisation with a Sigstore root of its own."""
    return Organisation()


@pytest.fixture
def registered(index: SigningIndex, company: Organisation) -> SigningIndex:
    """``demo`` expects attestations of one workflow of the company's forge."""
    index.change(AddPublisher(DEMO, members(FORGE), company.trust.root, optional=False))
    return index


def built_from(source: str, workflow: str = "ci.yml", ref: str = "refs/tags/v1") -> dict[str, object]:
    workflow_facts = {"repository": source, "path": workflow, "ref": ref}
    return {
        "buildDefinition": {
            "buildType": "https://example.org/build",
            "externalParameters": {"workflow": workflow_facts},
        },
        "runDetails": {"builder": {"id": "https://git.example.org/runner@v1"}},
    }


# --- admission ------------------------------------------------------------------------------------------------


def test_an_attestation_of_the_registered_publisher_is_published_and_served(
    registered: SigningIndex, company: Organisation, client: Client
) -> None:
    registered.upload(attestations=[attest(registered, company)])
    entry = registered.page().file(WHEEL)
    assert entry is not None
    assert entry.provenance is not None
    assert entry.provenance.by == ("GitLab pipeline ci.yml of org/project on https://git.example.org",)
    page = json.loads(render_page_json(registered.page()))
    assert page["files"][0]["provenance"] == f"../../packages/demo/1.0/{WHEEL}.provenance"
    beside = client.web.get(f"/packages/demo/1.0/{WHEEL}.provenance")
    integrity = client.web.get(f"/integrity/demo/1.0/{WHEEL}/provenance")
    assert beside.body == integrity.body
    assert integrity.headers["content-type"] == "application/vnd.pypi.integrity.v1+json"
    served = Provenance.model_validate_json(integrity.body)
    assert len(served.attestation_bundles[0].attestations) == 1
    evidence = client.install().evidence
    assert evidence is not None
    [verified] = evidence.attestations
    assert verified.publisher == FORGE
    assert verified.root == company.trust.sha256


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"repository": "https://git.example.org/evil/project"}, "attestation-repository"),
        ({"build_config": "https://git.example.org/org/project//evil.yml@refs/tags/v1"}, "attestation-workflow"),
        ({"issuer": "https://evil.example.org"}, "attestation-issuer"),
        ({"owner_id": "666"}, "attestation-owner"),
    ],
)
def test_another_publisher_is_refused_with_the_reason(
    registered: SigningIndex, company: Organisation, change: dict[str, str], rule: str
) -> None:
    with pytest.raises(InvalidUpload) as caught:
        registered.send(WHEEL, wheel(), attestations=[attest(registered, company, replace(WORKFLOW, **change))])  # type: ignore[arg-type]
    assert caught.value.rule == rule


def test_what_does_not_verify_refuses_the_upload_even_beside_what_does(
    registered: SigningIndex, company: Organisation
) -> None:
    good = attest(registered, company)
    other_file = attest(registered, company, filename=wheel_name("demo", "2.0"))
    other_bytes = attest(registered, company, data=b"other bytes")
    foreign = attest(registered, Organisation())
    document = json.loads(good)
    signature = document["envelope"]["signature"]
    document["envelope"]["signature"] = ("A" if signature[0] != "A" else "B") + signature[1:]
    flipped = json.dumps(document).encode()
    for bad, rule in (
        (other_file, "attestation-subject"),
        (other_bytes, "attestation-digest"),
        (foreign, "attestation-log"),
        (flipped, "attestation-signature"),
    ):
        with pytest.raises(InvalidUpload) as caught:
            registered.send(WHEEL, wheel(), attestations=[good, bad])
        assert caught.value.rule in (rule, "attestation-log", "attestation-not-verified")
    with pytest.raises(InvalidUpload) as malformed:
        registered.send(WHEEL, wheel(), attestations=[b"{}"])
    assert malformed.value.rule == "attestation-format"


def test_attestations_without_a_registered_publisher_are_refused_not_dropped(
    index: SigningIndex, company: Organisation
) -> None:
    with pytest.raises(InvalidUpload) as caught:
        index.send(WHEEL, wheel(), attestations=[attest(index, company)])
    assert caught.value.rule == "attestation-unexpected"
    assert "org/project" in str(caught.value)


def test_once_a_publisher_is_registered_unattested_uploads_are_refused(registered: SigningIndex) -> None:
    with pytest.raises(InvalidUpload) as caught:
        registered.send(WHEEL, wheel())
    assert caught.value.rule == "attestation-missing"
    assert "org/project" in str(caught.value)


def test_files_from_before_the_registration_keep_installing(
    index: SigningIndex, company: Organisation, client: Client
) -> None:
    index.upload("1.0")
    index.later(hours=1)
    index.change(AddPublisher(DEMO, members(FORGE), company.trust.root, optional=False))
    client.install()


# --- installation ---------------------------------------------------------------------------------------------


def test_provenance_that_is_withheld_or_replaced_is_refused(
    registered: SigningIndex, company: Organisation, client: Client
) -> None:
    registered.upload(attestations=[attest(registered, company)])
    entry = registered.page().file(WHEEL)
    assert entry is not None
    assert entry.provenance is not None
    blob = registered.blobs.path(entry.provenance.sha256)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes() + b"\n")
    with pytest.raises(VerificationFailed) as caught:
        client.install()
    assert caught.value.rule == "pinned-hash"


def test_a_publisher_that_ended_keeps_its_files_one_that_is_distrusted_does_not(
    registered: SigningIndex, company: Organisation, client: Client
) -> None:
    registered.upload(attestations=[attest(registered, company)])
    registered.later(days=1)
    registered.change(EndPublisher(DEMO, members(FORGE), distrust=False))
    registered.change(AddPublisher(DEMO, members(PERSON), company.trust.root, optional=False))
    client.install()
    filename, data = wheel_name("demo", "1.1"), wheel("1.1")
    late = attest(registered, company, filename=filename, data=data)
    with pytest.raises(InvalidUpload) as caught:
        registered.send(filename, data, attestations=[late])
    assert caught.value.rule == "signer-withdrawn"
    by_alice = attest(registered, company, ALICE, filename=filename, data=data)
    registered.upload("1.1", attestations=[by_alice])
    client.install(filename)
    registered.change(EndPublisher(DEMO, members(FORGE), distrust=True))
    with pytest.raises(VerificationFailed) as refusal:
        client.install()
    assert refusal.value.rule == "signer-distrusted"
    client.install(filename)


def test_the_trust_root_reaches_clients_pinned_by_the_page(
    registered: SigningIndex, company: Organisation, client: Client, tmp_path: Path
) -> None:
    registered.upload(attestations=[attest(registered, company)])
    root = company.trust.sha256
    served = client.web.get(f"/trust-roots/demo/{root}.json")
    assert served.body == company.trust.root
    published = registered.data.published / f"trust-roots/demo/{root}.json"
    published.write_bytes(Organisation().trust.root)
    with pytest.raises(VerificationFailed) as caught:
        client.install()
    assert caught.value.rule == "pinned-hash"


# --- policy ---------------------------------------------------------------------------------------------------


def rule(kind: str, value: object) -> Policy:
    return Policy((Layer("project", "here", (Rule(kind, Projects(("de*",)), value, Mode.ENFORCE, "here:1"),)),))


def test_policy_names_the_publisher_and_its_root(
    registered: SigningIndex, company: Organisation, client: Client
) -> None:
    registered.upload(attestations=[attest(registered, company)])
    right = rule("published_by", (ExpectedAttester(Projects(), FORGE, company.trust),))
    client.install(policy=right)
    for wrong in (
        rule("published_by", (ExpectedAttester(Projects(), PERSON, company.trust),)),
        rule(
            "published_by",
            (ExpectedAttester(Projects(), FORGE, SigstoreTrust("another", Organisation().trust.root)),),
        ),
    ):
        with pytest.raises((RefusedByPolicy, VerificationFailed)) as caught:
            client.install(policy=wrong)
        assert caught.value.rule in ("policy-attester", "attestation-log")


def test_policy_asks_for_attestations_where_there_are_none(index: SigningIndex, client: Client) -> None:
    index.upload("1.0")
    with pytest.raises(RefusedByPolicy) as caught:
        client.install(policy='[[rules]]\nprojects = ["de*"]\nattestation = true')
    assert caught.value.rule == "attestation-missing"


def test_policy_matches_the_build(registered: SigningIndex, company: Organisation, client: Client) -> None:
    source = "https://git.example.org/org/project"
    registered.upload(attestations=[attest(registered, company, slsa=built_from(source))])
    for wanted in (
        BuildRule(source=source),
        BuildRule(workflow="ci.yml", ref="refs/tags/*"),
        BuildRule(builder="https://git.example.org/runner"),
    ):
        evidence = client.install(policy=rule("built_by", wanted)).evidence
        assert evidence is not None
        assert evidence.attestations[0].build is not None
    for wanted in (
        BuildRule(source="https://git.example.org/org/other"),
        BuildRule(workflow="nightly.yml"),
        BuildRule(ref="refs/heads/*"),
        BuildRule(builder="https://git.example.org/laptop"),
    ):
        with pytest.raises(RefusedByPolicy) as caught:
            client.install(policy=rule("built_by", wanted))
        assert caught.value.rule == "build-provenance"


def test_policy_asks_for_a_build_where_only_the_publishing_is_attested(
    registered: SigningIndex, company: Organisation, client: Client
) -> None:
    registered.upload(attestations=[attest(registered, company)])
    wanted = BuildRule(source="https://git.example.org/org/project")
    with pytest.raises(RefusedByPolicy) as caught:
        client.install(policy=rule("built_by", wanted))
    assert caught.value.rule == "build-provenance"
