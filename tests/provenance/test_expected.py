"""Evidence against expectation: who counts when, whose refusal is told, and what a first sight is worth."""

from dataclasses import replace
from datetime import timedelta

import pytest

from assay.model.errors import VerificationFailed
from assay.model.signers import Term
from assay.provenance.attestation_format import parse_attestation
from assay.provenance.expected import (
    ExpectedCertificate,
    ExpectedPublisher,
    is_same_project,
    verify_expected_attestations,
    verify_expected_signature,
    verify_first_seen,
)
from assay.provenance.openpgp import RetiredKeys, parse_certificate
from assay.provenance.publishers import GitHubPublisher, GitLabPublisher, GooglePublisher, OidcPublisher, Publisher
from provenance.attestation_data import GITHUB
from provenance.openpgp_makers import Gpg, day
from provenance.own_root_world import ALICE, NOW, WORKFLOW, Organisation

FORGE = GitLabPublisher("org/project", "ci.yml", owner_id="3", repository_id="7", server="https://git.example.org")
PERSON = OidcPublisher("https://login.example.org", "alice@example.org")
SOON = NOW + timedelta(minutes=1)
TERM = Term(NOW - timedelta(days=1))


@pytest.fixture(scope="module")
def company() -> Organisation:
    return Organisation()


def refusal_of(company: Organisation, expected: list[ExpectedPublisher], **changes: object) -> str:
    with pytest.raises(VerificationFailed) as caught:
        verify(company, expected, **changes)
    return caught.value.rule


def verify(company: Organisation, expected: list[ExpectedPublisher], **changes: object) -> Publisher:
    attestation = parse_attestation(company.attest(changes.pop("identity", WORKFLOW)))  # type: ignore[arg-type]
    settings: dict[str, object] = {"came": SOON, "now": SOON} | changes
    [verified] = verify_expected_attestations(
        [attestation],
        expected,
        filename=GITHUB.filename,
        sha256=GITHUB.sha256,
        **settings,  # type: ignore[arg-type]
    )
    return verified.publisher


def test_one_of_several_publishers_suffices(company: Organisation) -> None:
    expected = [ExpectedPublisher(publisher, company.trust, TERM) for publisher in (PERSON, FORGE)]
    assert verify(company, expected) == FORGE
    assert verify(company, expected, identity=ALICE) == PERSON


def test_nobody_expected_nobody_believed(company: Organisation) -> None:
    assert refusal_of(company, []) == "attestation-unexpected"


@pytest.mark.parametrize(
    ("term", "rule"),
    [
        (replace(TERM, until=NOW), "signer-withdrawn"),
        (Term(SOON + timedelta(hours=1)), "signer-withdrawn"),
        (replace(TERM, until=SOON + timedelta(days=9), distrusted=True), "signer-distrusted"),
    ],
)
def test_only_what_came_in_its_term_counts(company: Organisation, term: Term, rule: str) -> None:
    assert refusal_of(company, [ExpectedPublisher(FORGE, company.trust, term)]) == rule


def test_a_term_that_ended_since_counts_unless_policy_says_not(company: Organisation) -> None:
    expected = [ExpectedPublisher(FORGE, company.trust, replace(TERM, until=SOON + timedelta(hours=1)))]
    later = SOON + timedelta(days=30)
    assert verify(company, expected, now=later) == FORGE
    assert refusal_of(company, expected, now=later, retired_keys=RetiredKeys.REFUSE) == "signer-withdrawn"


def test_the_refusal_that_came_closest_is_told(company: Organisation) -> None:
    near = replace(FORGE, workflow_filepath="other.yml")
    expected = [ExpectedPublisher(publisher, company.trust, TERM) for publisher in (PERSON, near)]
    assert refusal_of(company, expected) == "attestation-workflow"


def test_a_guess_is_no_candidate_once_somebody_chose(company: Organisation) -> None:
    guess = ExpectedPublisher(FORGE, company.trust, replace(TERM, until=NOW), first_seen=True)
    chosen = ExpectedPublisher(replace(FORGE, workflow_filepath="other.yml"), company.trust, TERM)
    assert refusal_of(company, [guess, chosen]) == "attestation-workflow"


def test_first_seen_is_who_it_is_and_binds_the_repository_not_the_workflow(company: Organisation) -> None:
    attestation = parse_attestation(company.attest(WORKFLOW))
    [seen] = verify_first_seen([attestation], company.trust, filename=GITHUB.filename, sha256=GITHUB.sha256, now=SOON)
    assert seen.publisher == FORGE
    assert seen.first_seen
    renamed = replace(FORGE, workflow_filepath="release.yml", repository="neworg/project")
    assert verify(company, [ExpectedPublisher(renamed, company.trust, TERM, first_seen=True)]) == seen.publisher
    other = replace(FORGE, repository_id="8")
    assert refusal_of(company, [ExpectedPublisher(other, company.trust, TERM, first_seen=True)]) == "attestation-owner"


@pytest.mark.parametrize(
    ("ref", "wanted", "good"),
    [
        ("refs/tags/v1", "refs/tags/*", True),
        ("refs/tags/project@1.0", "refs/tags/*", True),
        ("refs/heads/main", "refs/heads/main", True),
        ("refs/heads/main-evil", "refs/heads/main", False),
        ("refs/heads/evil", "refs/tags/*", False),
        ("refs/tags-evil/v1", "refs/tags/*", False),
    ],
)
def test_a_publisher_may_be_bound_to_tags_or_to_a_branch(
    company: Organisation, ref: str, wanted: str, good: bool
) -> None:
    run = replace(WORKFLOW, ref=ref, build_config=f"{WORKFLOW.repository}//ci.yml@{ref}")
    expected = [ExpectedPublisher(replace(FORGE, ref=wanted), company.trust, TERM)]
    if good:
        assert verify(company, expected, identity=run) == expected[0].publisher
    else:
        assert refusal_of(company, expected, identity=run) == "attestation-ref"


@pytest.mark.parametrize(
    ("workflow", "ref"),
    [
        ("ci.yml@refs/tags/v1", "refs/tags/v1"),
        ("evil.yml", "refs/tags/v1"),
        ("ci.yml", "refs/tags/v2"),
        ("../ci.yml", "refs/tags/v1"),
        ("CI.yml", "refs/tags/v1"),
        ("cі.yml", "refs/tags/v1"),  # noqa: RUF001  (a Cyrillic letter)
    ],
)
def test_a_workflow_that_only_looks_like_the_expected_one_is_refused(
    company: Organisation, workflow: str, ref: str
) -> None:
    run = replace(WORKFLOW, build_config=f"{WORKFLOW.repository}//{workflow}@{ref}")
    assert refusal_of(company, [ExpectedPublisher(FORGE, company.trust, TERM)], identity=run) == "attestation-workflow"


def test_a_ref_with_an_at_sign_is_read_whole(company: Organisation) -> None:
    ref = "refs/tags/project@1.0"
    run = replace(WORKFLOW, ref=ref, build_config=f"{WORKFLOW.repository}//ci.yml@{ref}")
    attestation = parse_attestation(company.attest(run))
    [seen] = verify_first_seen([attestation], company.trust, filename=GITHUB.filename, sha256=GITHUB.sha256, now=SOON)
    assert seen.publisher == FORGE


HUB = GitHubPublisher("org/project", "release.yml", owner_id="1", repository_id="2")


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (HUB, replace(HUB, workflow="other.yml"), True),
        (HUB, replace(HUB, repository="renamed/project"), True),
        (HUB, replace(HUB, owner_id="9"), False),
        (HUB, replace(HUB, owner_id=None, repository_id=None, repository="Org/Project"), True),
        (HUB, replace(HUB, owner_id=None, repository="org/other"), False),
        (GitHubPublisher("kind/x", "a.yml"), GitHubPublisher("\N{KELVIN SIGN}ind/x", "a.yml"), False),
        (HUB, replace(HUB, server="https://hub.example.org"), False),
        (HUB, GitLabPublisher("org/project"), False),
        (GooglePublisher("a@example.org"), GooglePublisher("a@example.org"), True),
        (GooglePublisher("a@example.org"), GooglePublisher("b@example.org"), False),
        (PERSON, OidcPublisher("https://evil.example.org", PERSON.subject), False),
    ],
)
def test_same_project(left: Publisher, right: Publisher, same: bool) -> None:
    assert is_same_project(left, right) is same
    assert is_same_project(right, left) is same


def test_signatures_follow_the_terms_of_their_certificates(gpg: Gpg) -> None:
    fingerprint = gpg.make_key("terms", "ed25519", "sign", at="2024-01-01")
    certificate = parse_certificate(gpg.export("terms"))
    signature = gpg.sign("terms", b"bytes", at="2024-02-01")
    came, now = day("2024-02-02"), day("2024-03-01")

    def verify_in(term: Term, retired_keys: RetiredKeys = RetiredKeys.ACCEPT_EARLIER) -> str:
        expected = [ExpectedCertificate(certificate, term)]
        return verify_expected_signature(
            signature, b"bytes", expected, came=came, now=now, retired_keys=retired_keys
        ).certificate

    since = day("2024-01-02")
    assert verify_in(Term(since)) == fingerprint
    assert verify_in(Term(since, until=day("2024-02-10"))) == fingerprint
    for term, rule in (
        (Term(since, until=day("2024-02-01")), "signer-withdrawn"),
        (Term(day("2024-02-15")), "signer-withdrawn"),
        (Term(since, until=day("2024-02-10"), distrusted=True), "signer-distrusted"),
    ):
        with pytest.raises(VerificationFailed) as caught:
            verify_in(term)
        assert caught.value.rule == rule
    with pytest.raises(VerificationFailed) as refused:
        verify_in(Term(since, until=day("2024-02-10")), RetiredKeys.REFUSE)
    assert refused.value.rule == "signer-withdrawn"
    with pytest.raises(VerificationFailed) as nobody:
        verify_expected_signature(signature, b"bytes", [], came=came, now=now)
    assert nobody.value.rule == "openpgp-unknown-key"
