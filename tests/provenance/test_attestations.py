"""Real attestations verify offline with the bundled root; every way to bend one is refused by its own rule."""

import base64
import json
import socket
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.model.digests import Sha256
from assay.model.errors import OperatorError, RefusedByPolicy, VerificationFailed
from assay.provenance.attestation_format import parse_attestation, parse_attestations
from assay.provenance.attestations import FIRST_SEEN, PUBLISH_V1, FirstSeen, VerifiedAttestation, verify_attestation
from assay.provenance.publishers import (
    GitHubPublisher,
    GitLabPublisher,
    GooglePublisher,
    OidcPublisher,
    Publisher,
    describe_publisher,
)
from assay.provenance.sigstore_trust import SigstoreTrust, bundled_trust
from assay.provenance.slsa import BuildRule, mismatches, require_build
from provenance.attestation_data import GITHUB, GITLAB, NOW, SLSA, STAGING, Sample, edited, log_entry

PRODUCTION = bundled_trust("production")


def verify(
    sample: Sample,
    *,
    attestation: bytes | None = None,
    filename: str | None = None,
    sha256: Sha256 | None = None,
    publisher: Publisher | FirstSeen | None = None,
    trust: SigstoreTrust = PRODUCTION,
    now: datetime = NOW,
) -> VerifiedAttestation:
    return verify_attestation(
        parse_attestation(sample.attestation if attestation is None else attestation),
        filename=filename or sample.filename,
        sha256=sha256 or sample.sha256,
        publisher=publisher or sample.publisher,
        trust=trust,
        now=now,
    )


def refusal(sample: Sample, **options: Any) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        verify(sample, **options)
    return caught.value


# --- what verifies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [GITHUB, SLSA, GITLAB], ids=["github", "slsa", "gitlab"])
def test_real_attestations_verify_offline_with_the_bundled_root(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    found = verify(sample)
    assert found.publisher == sample.publisher
    assert found.sha256 == sample.sha256
    assert found.trust == "sigstore production"
    assert not found.first_seen


def test_evidence_says_who_what_and_when(monkeypatch: pytest.MonkeyPatch) -> None:
    found = verify(GITHUB)
    assert found.identity.issuer == "https://token.actions.githubusercontent.com"
    assert found.identity.repository == "https://github.com/trailofbits/pypi-attestations"
    assert found.identity.ref == "refs/tags/v0.0.19"
    assert found.logged_at.date().isoformat() == "2024-12-04"
    assert found.log_index.isdigit()
    assert describe_publisher(found.publisher) == "GitHub workflow release.yml of trailofbits/pypi-attestations"


def test_the_staging_root_verifies_what_it_signed_and_nothing_else() -> None:
    assert verify(STAGING, trust=bundled_trust("staging")).publisher == STAGING.publisher
    assert refusal(STAGING).rule == "attestation-log"
    assert refusal(GITHUB, trust=bundled_trust("staging")).rule == "attestation-log"


def test_verification_takes_milliseconds() -> None:
    verify(GITHUB)
    started = time.perf_counter()
    for _ in range(10):
        verify(GITHUB)
    assert (time.perf_counter() - started) / 10 < 0.05


def test_an_identity_seen_first_is_named_narrowly_enough_to_be_remembered() -> None:
    for sample in (GITHUB, SLSA, GITLAB):
        found = verify(sample, publisher=FIRST_SEEN)
        assert found.first_seen
        again = verify(sample, publisher=found.publisher)
        assert again.publisher == found.publisher
        assert not again.first_seen
    remembered = verify(GITHUB, publisher=FIRST_SEEN).publisher
    assert remembered == GitHubPublisher(
        "trailofbits/pypi-attestations", "release.yml", owner_id="2314423", repository_id="772247423"
    )
    staging = verify(STAGING, publisher=FIRST_SEEN, trust=bundled_trust("staging"))
    assert staging.publisher == STAGING.publisher


def test_repositories_are_the_same_in_any_case() -> None:
    assert verify(GITHUB, publisher=GitHubPublisher("TrailOfBits/PyPI-Attestations", "release.yml"))


# --- the wrong file --------------------------------------------------------------------------------------------


def test_another_file_is_refused() -> None:
    found = refusal(GITHUB, filename="pypi_attestations-0.0.20.tar.gz")
    assert found.rule == "attestation-subject"
    assert found.found == "pypi_attestations-0.0.19.tar.gz"
    assert refusal(GITHUB, filename="pypi_attestations-0.0.19-py3-none-any.whl").rule == "attestation-subject"
    assert refusal(GITHUB, filename="pypi_attestations-0.0.19.zip").rule == "attestation-subject"


def test_another_spelling_of_the_same_file_is_accepted() -> None:
    assert verify(GITHUB, filename="PyPI-Attestations-0.0.19.tar.gz")


def test_other_bytes_are_refused() -> None:
    assert refusal(GITHUB, sha256=GITLAB.sha256).rule == "attestation-digest"


# --- the wrong signer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("publisher", "rule"),
    [
        (GitHubPublisher("trailofbits/pypi-attestation", "release.yml"), "attestation-repository"),
        (GitHubPublisher("evil/pypi-attestations", "release.yml"), "attestation-repository"),
        (GitHubPublisher("trailofbits/pypi-attestat\u0130ons", "release.yml"), "attestation-repository"),
        (GitHubPublisher("trailofbits/pypi-attestations/", "release.yml"), "attestation-repository"),
        (GitHubPublisher("trailofbits/pypi-attestations", "other.yml"), "attestation-workflow"),
        (GitHubPublisher("trailofbits/pypi-attestations", "release.yml", owner_id="1"), "attestation-owner"),
        (GitHubPublisher("trailofbits/pypi-attestations", "release.yml", repository_id="1"), "attestation-owner"),
        (GitHubPublisher("trailofbits/pypi-attestations", "release.yml", server="https://ghe.example"),
         "attestation-repository"),
        (GitLabPublisher("trailofbits/pypi-attestations"), "attestation-issuer"),
        (GooglePublisher("release@example.iam.gserviceaccount.com"), "attestation-issuer"),
        (OidcPublisher("https://token.actions.githubusercontent.com", "someone@example.org"), "attestation-identity"),
        (OidcPublisher("https://oidc.example", "someone@example.org"), "attestation-issuer"),
    ],
)  # fmt: skip
def test_another_publisher_is_refused(publisher: Publisher, rule: str) -> None:
    assert refusal(GITHUB, publisher=publisher).rule == rule


def test_a_workflow_of_another_pipeline_file_is_refused() -> None:
    wrong = GitLabPublisher("facutuesca/gitlab-oidc-project", ".gitlab/other.yml")
    found = refusal(GITLAB, publisher=wrong)
    assert found.rule == "attestation-workflow"
    assert "/.gitlab/other.yml" in (found.expected or "")


# --- bent attestations -----------------------------------------------------------------------------------------


def with_flipped_bit(text: str, at: int = -1) -> str:
    data = bytearray(base64.b64decode(text))
    data[at] ^= 1
    return base64.b64encode(bytes(data)).decode()


def test_a_flipped_bit_of_the_signature_is_refused() -> None:
    def flip(document: dict[str, Any]) -> None:
        document["envelope"]["signature"] = with_flipped_bit(document["envelope"]["signature"])

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, flip)).rule == "attestation-signature"


def test_a_rewritten_statement_is_refused() -> None:
    def rewrite(document: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(document["envelope"]["statement"]))
        statement["subject"] = [{"name": GITLAB.filename, "digest": {"sha256": GITLAB.sha256}}]
        document["envelope"]["statement"] = base64.b64encode(json.dumps(statement).encode()).decode()

    bent = edited(GITHUB.attestation, rewrite)
    found = refusal(GITLAB, attestation=bent, publisher=GITHUB.publisher)
    assert found.rule == "attestation-signature"


def test_a_signature_of_another_attestation_is_refused() -> None:
    other = json.loads(SLSA.attestation)

    def swap(document: dict[str, Any]) -> None:
        document["envelope"] = other["envelope"]

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, swap)).rule == "attestation-signature"


def test_a_log_entry_of_another_attestation_is_refused() -> None:
    other = log_entry(json.loads(GITHUB.attestation))  # its time lies within the other certificate's ten minutes

    def swap(document: dict[str, Any]) -> None:
        document["verification_material"]["transparency_entries"] = [other]

    assert refusal(SLSA, attestation=edited(SLSA.attestation, swap)).rule == "attestation-log"


def test_a_log_entry_of_another_kind_is_refused() -> None:
    bent = edited(GITHUB.attestation, lambda document: log_entry(document)["kindVersion"].update(version="0.0.2"))
    found = refusal(GITHUB, attestation=bent)
    assert found.rule == "attestation-not-verified"
    assert "0.0.1" in (found.found or "")


@pytest.mark.parametrize("missing", ["inclusionPromise", "integratedTime"])
def test_a_missing_log_promise_is_refused(missing: str) -> None:
    bent = edited(GITHUB.attestation, lambda document: log_entry(document).pop(missing))
    assert refusal(GITHUB, attestation=bent).rule == "attestation-log-promise"


def test_a_missing_proof_of_inclusion_is_refused() -> None:
    bent = edited(GITHUB.attestation, lambda document: log_entry(document).pop("inclusionProof"))
    assert refusal(GITHUB, attestation=bent).rule == "attestation-log-proof"
    bent = edited(GITHUB.attestation, lambda document: log_entry(document)["inclusionProof"].pop("checkpoint"))
    assert refusal(GITHUB, attestation=bent).rule == "attestation-log-proof"


def test_a_forged_log_promise_is_refused() -> None:
    def flip(document: dict[str, Any]) -> None:
        promise = log_entry(document)["inclusionPromise"]
        promise["signedEntryTimestamp"] = with_flipped_bit(promise["signedEntryTimestamp"])

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, flip)).rule == "attestation-log"


def test_a_moved_log_time_is_refused() -> None:
    def move(document: dict[str, Any]) -> None:
        log_entry(document)["integratedTime"] = str(int(log_entry(document)["integratedTime"]) + 60)

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, move)).rule == "attestation-log"


def test_a_forged_proof_of_inclusion_is_refused() -> None:
    def flip(document: dict[str, Any]) -> None:
        hashes = log_entry(document)["inclusionProof"]["hashes"]
        hashes[0] = with_flipped_bit(hashes[0])

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, flip)).rule == "attestation-log"


def test_a_log_that_the_root_does_not_name_is_refused() -> None:
    def rename(document: dict[str, Any]) -> None:
        log_entry(document)["logId"]["keyId"] = base64.b64encode(bytes(32)).decode()

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, rename)).rule == "attestation-log"


def test_a_changed_certificate_is_refused() -> None:
    def flip(document: dict[str, Any]) -> None:
        material = document["verification_material"]
        material["certificate"] = with_flipped_bit(material["certificate"])

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, flip)).rule == "attestation-certificate"


def test_garbage_instead_of_a_certificate_is_refused() -> None:
    def replace_it(document: dict[str, Any]) -> None:
        document["verification_material"]["certificate"] = base64.b64encode(b"no certificate").decode()

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, replace_it)).rule == "attestation-certificate"


def test_an_attestation_from_the_future_is_refused() -> None:
    assert refusal(GITHUB, now=datetime(2024, 1, 1, tzinfo=UTC)).rule == "attestation-future"


@pytest.mark.parametrize(
    ("group", "rule"),
    [
        ("tlogs", "attestation-log"),
        ("ctlogs", "attestation-certificate-log"),
        ("certificateAuthorities", "attestation-certificate"),
    ],
)
def test_keys_that_the_root_had_retired_before_do_not_count(group: str, rule: str) -> None:
    root = json.loads(PRODUCTION.root)
    for member in root[group]:
        member.get("publicKey", member)["validFor"]["end"] = "2024-06-01T00:00:00Z"
    retired = SigstoreTrust("retired", json.dumps(root).encode())
    assert refusal(GITHUB, trust=retired).rule == rule


def test_a_missing_certificate_timestamp_is_refused() -> None:
    def hide(document: dict[str, Any]) -> None:
        certificate = base64.b64decode(document["verification_material"]["certificate"])
        timestamps, another = bytes.fromhex("060a2b06010401d679020402"), bytes.fromhex("060a2b06010401d679020409")
        assert timestamps in certificate
        hidden = base64.b64encode(certificate.replace(timestamps, another)).decode()
        document["verification_material"]["certificate"] = hidden

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, hide)).rule == "attestation-certificate-log"


def test_a_value_put_together_by_hand_gains_nothing() -> None:
    mixed = replace(parse_attestation(GITLAB.attestation), document=parse_attestation(GITHUB.attestation).document)
    with pytest.raises(VerificationFailed) as caught:
        verify_attestation(
            mixed,
            filename=GITLAB.filename,
            sha256=GITLAB.sha256,
            publisher=GITLAB.publisher,
            trust=PRODUCTION,
            now=NOW,
        )
    assert caught.value.rule == "attestation-subject"


def test_nothing_is_accepted_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    another = SigstoreTrust("not loaded before", PRODUCTION.root + b"\n")
    with pytest.raises(OperatorError) as caught:
        verify(GITHUB, trust=another)
    assert caught.value.rule == "provenance-not-installed"


@pytest.mark.parametrize(
    "root", [b"", b"{}", b"[]", b'{"mediaType": "x"}', PRODUCTION.root.replace(b'"tlogs"', b'"tlog"')]
)
def test_a_malformed_root_is_refused(root: bytes) -> None:
    assert refusal(GITHUB, trust=SigstoreTrust("broken", root)).rule == "sigstore-root"


# --- the format ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "attestation-format"),
        (b"[]", "attestation-format"),
        (b"\xff", "attestation-format"),
        (b"[" * 100_000, "attestation-format"),
        (b'{"version": 1, "version": 1}', "attestation-format"),
        (b'{"version": NaN}', "attestation-format"),
        (b'{"version": 2, "verification_material": {}, "envelope": {}}', "attestation-format"),
        (b'{"version": true, "verification_material": {}, "envelope": {}}', "attestation-format"),
        (b" " * 300_000, "attestation-format"),
    ],
)
def test_what_is_no_attestation_is_refused(data: bytes, rule: str) -> None:
    assert refusal(GITHUB, attestation=data).rule == rule


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("extra",), 1, "attestation-format"),
        (("version",), "1", "attestation-format"),
        (("envelope", "statement"), "!!!", "attestation-format"),
        (("envelope", "statement"), "e30=", "attestation-statement"),
        (("envelope", "statement"), 7, "attestation-format"),
        (("verification_material", "certificate"), None, "attestation-format"),
        (("verification_material", "transparency_entries"), [], "attestation-format"),
        (("verification_material", "transparency_entries"), [{}], "attestation-format"),
    ],
)
def test_bent_members_are_refused(path: tuple[str, ...], value: object, rule: str) -> None:
    def bend(document: dict[str, Any]) -> None:
        for name in path[:-1]:
            document = document[name]
        document[path[-1]] = value

    assert refusal(GITHUB, attestation=edited(GITHUB.attestation, bend)).rule == rule


def test_several_log_entries_are_refused() -> None:
    def double(document: dict[str, Any]) -> None:
        document["verification_material"]["transparency_entries"] *= 2

    found = refusal(GITHUB, attestation=edited(GITHUB.attestation, double))
    assert found.rule == "attestation-several-log-entries"


def statement_with(**members: object) -> bytes:
    def rewrite(document: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(document["envelope"]["statement"])) | members
        document["envelope"]["statement"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return edited(GITHUB.attestation, rewrite)


@pytest.mark.parametrize(
    ("members", "rule"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "attestation-statement"),
        ({"subject": []}, "attestation-statement"),
        ({"subject": [{"name": "a", "digest": {"sha256": "0"}}] * 2}, "attestation-statement"),
        ({"subject": [{"name": GITHUB.filename, "digest": {"sha512": "0"}}]}, "attestation-statement"),
        ({"predicateType": "https://example.org/anything"}, "attestation-predicate"),
        ({"predicate": {"content": 1}}, "attestation-predicate"),
        ({"predicateType": "https://slsa.dev/provenance/v1", "predicate": None}, "attestation-predicate"),
        ({"predicateType": "https://slsa.dev/provenance/v1", "predicate": {}}, "attestation-predicate"),
        ({"surprise": 1}, "attestation-statement"),
    ],
)
def test_other_statements_are_refused(members: dict[str, object], rule: str) -> None:
    assert refusal(GITHUB, attestation=statement_with(**members)).rule in (rule, "attestation-statement")


def test_an_upload_field_is_read_whole() -> None:
    field = b"[" + GITHUB.attestation + b"," + SLSA.attestation + b"]"
    assert [parsed.statement.predicate_type for parsed in parse_attestations(field)] == [
        PUBLISH_V1,
        "https://slsa.dev/provenance/v1",
    ]
    for wrong in (b"[]", GITHUB.attestation, b"[" + b",".join([GITHUB.attestation] * 9) + b"]", b"[1]"):
        with pytest.raises(VerificationFailed) as caught:
            parse_attestations(wrong)
        assert caught.value.rule == "attestation-format"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_mutation_of_an_attestation_is_believed_for_another_file(data: st.DataObject) -> None:
    mutated = bytearray(GITHUB.attestation)
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = verify(GITHUB, attestation=bytes(mutated))
    except VerificationFailed:
        return
    assert found.identity == verify(GITHUB).identity
    assert found.sha256 == GITHUB.sha256


def test_the_verdict_is_the_only_way_to_evidence() -> None:
    with pytest.raises(TypeError, match="only verify_attestation"):
        replace(verify(GITHUB), _evidence=None)


# --- builds ----------------------------------------------------------------------------------------------------

SOURCE = "https://github.com/trailofbits/pypi-attestations"


def test_a_build_says_source_workflow_and_builder() -> None:
    build = verify(SLSA).build
    assert build is not None
    assert build.source == SOURCE
    assert build.workflow == ".github/workflows/release.yml"
    assert build.ref == "refs/tags/v0.0.19"
    assert build.commit == "08802efe1f8e5fec4ad842d6b8ce97656092ee72"
    assert build.builder == f"{SOURCE}/.github/workflows/release.yml@refs/tags/v0.0.19"
    assert verify(GITHUB).build is None


@pytest.mark.parametrize(
    ("rule", "differs"),
    [
        (BuildRule(), None),
        (BuildRule(source=SOURCE.upper().replace("HTTPS", "https"), workflow=".github/workflows/release.yml"), None),
        (BuildRule(builder=f"{SOURCE}/.github/workflows/release.yml", ref="refs/tags/*"), None),
        (BuildRule(builder=f"{SOURCE}/.github/workflows/release.yml@refs/tags/v0.0.19"), None),
        (BuildRule(builder=f"{SOURCE}/.github/workflows/release.yml@refs/tags/v9"), "builder"),
        (BuildRule(source="https://github.com/evil/pypi-attestations"), "source repository"),
        (BuildRule(workflow=".github/workflows/other.yml"), "workflow"),
        (BuildRule(ref="refs/heads/main"), "ref"),
    ],
)
def test_policy_matches_builds(rule: BuildRule, differs: str | None) -> None:
    build = verify(SLSA).build
    assert build is not None
    assert [found.what for found in mismatches(build, rule)] == ([differs] if differs else [])
    if differs:
        with pytest.raises(RefusedByPolicy, match=differs):
            require_build(build, rule, filename=SLSA.filename)
    else:
        require_build(build, rule, filename=SLSA.filename)


def test_a_file_without_build_provenance_is_refused_where_policy_asks_for_it() -> None:
    with pytest.raises(RefusedByPolicy) as caught:
        require_build(verify(GITHUB).build, BuildRule(source=SOURCE), filename=GITHUB.filename)
    assert caught.value.rule == "build-provenance"
