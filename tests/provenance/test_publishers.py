"""Publishers as policy writes them, and provenance objects as the Integrity API serves them."""

import json
from pathlib import Path

import pypi_attestations
import pytest

from assay.model.errors import CallerError, VerificationFailed
from assay.provenance.attestation_format import parse_attestation
from assay.provenance.attestations import PUBLISH_V1, VerifiedAttestation, verify_attestation
from assay.provenance.integrity import ClaimedPublisher, parse_provenance, render_provenance
from assay.provenance.publishers import (
    GitHubPublisher,
    GitLabPublisher,
    GooglePublisher,
    OidcPublisher,
    Publisher,
    describe_publisher,
    parse_publisher,
    render_publisher,
)
from assay.provenance.sigstore_trust import bundled_trust
from assay.provenance.slsa import SLSA_V1
from provenance.attestation_data import GITHUB, GITLAB, NOW, SLSA, Sample, read

PUBLISHERS = [
    GitHubPublisher("org/project", "release.yml"),
    GitHubPublisher("org/project", "release.yml", "release", "1", "2"),
    GitHubPublisher("org/project", "release.yml", server="https://ghe.example", issuer="https://ghe.example/token"),
    GitLabPublisher("org/team/project"),
    GitLabPublisher("org/project", "ci/release.yml", "release", "1", "2", "https://git.example"),
    GooglePublisher("release@example.iam.gserviceaccount.com"),
    OidcPublisher("https://oidc.example", "alice@example.org"),
]


def verified(sample: Sample) -> VerifiedAttestation:
    return verify_attestation(
        parse_attestation(sample.attestation),
        filename=sample.filename,
        sha256=sample.sha256,
        publisher=sample.publisher,
        trust=bundled_trust(),
        now=NOW,
    )


@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_publishers_are_read_back_as_they_were_written(publisher: Publisher) -> None:
    assert parse_publisher(dict(render_publisher(publisher))) == publisher
    assert len(describe_publisher(publisher).split()) > 2


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"kind": 1},
        {"kind": "Unknown"},
        {"kind": "GitHub", "repository": "org/project"},
        {"kind": "GitHub", "repository": "org/project", "workflow": "release.yml", "branch": "main"},
        {"kind": "GitHub", "repository": 1, "workflow": "release.yml"},
        {"kind": "GitHub", "repository": "", "workflow": "release.yml"},
        {"kind": "OIDC", "issuer": "https://oidc.example", "subject": "a\nb"},
    ],
)
def test_malformed_publishers_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(CallerError) as caught:
        parse_publisher(values)
    assert caught.value.rule == "publisher"


def test_a_real_provenance_object_is_read_and_its_publisher_stays_a_claim() -> None:
    found = parse_provenance(read("pypi_attestations-0.0.19.tar.gz.provenance"))
    (bundle,) = found.bundles
    assert bundle.publisher == ClaimedPublisher(
        "GitHub", (("repository", "trailofbits/pypi-attestations"), ("workflow", "release.yml"))
    )
    (attestation,) = found.attestations
    assert attestation == parse_attestation(GITHUB.attestation)


def test_what_was_verified_is_served_as_other_clients_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))  # the other client keeps its root there
    served = render_provenance([verified(GITHUB), verified(SLSA)])
    theirs = pypi_attestations.Provenance.model_validate_json(served)
    (bundle,) = theirs.attestation_bundles
    assert bundle.publisher == pypi_attestations.GitHubPublisher(
        repository="trailofbits/pypi-attestations", workflow="release.yml"
    )
    dist = pypi_attestations.Distribution(name=GITHUB.filename, digest=GITHUB.sha256)
    kinds = [attestation.verify(bundle.publisher, dist, offline=True)[0] for attestation in bundle.attestations]
    assert kinds == [PUBLISH_V1, SLSA_V1]
    assert len(parse_provenance(served).attestations) == 2
    assert render_provenance([verified(GITHUB), verified(SLSA)]) == served


def test_evidence_about_several_files_or_none_is_not_served() -> None:
    for evidence in ([], [verified(GITHUB), verified(GITLAB)]):
        with pytest.raises(VerificationFailed) as caught:
            render_provenance(evidence)
        assert caught.value.rule == "provenance-format"


@pytest.mark.parametrize(
    "edit",
    [
        {"version": 2},
        {"version": None},
        {"attestation_bundles": []},
        {"attestation_bundles": {}},
        {"attestation_bundles": [{"publisher": {"kind": "GitHub"}, "attestations": []}]},
        {"attestation_bundles": [{"publisher": {}, "attestations": [{}]}]},
        {"attestation_bundles": [{"publisher": {"kind": "GitHub"}, "attestations": [{}]}]},
        {"extra": 1},
    ],
)
def test_malformed_provenance_objects_are_refused(edit: dict[str, object]) -> None:
    document = json.loads(read("pypi_attestations-0.0.19.tar.gz.provenance")) | edit
    with pytest.raises(VerificationFailed) as caught:
        parse_provenance(json.dumps(document).encode())
    assert caught.value.rule in ("provenance-format", "attestation-format")
