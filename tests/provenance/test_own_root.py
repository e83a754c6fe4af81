"""An organisation's own root: what it issues verifies here and with stock sigstore, and nothing else does."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pypi_attestations
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, Signature
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

from assay.model.errors import CallerError, KeyUnavailable, OperatorError, VerificationFailed
from assay.provenance.attestation_format import parse_attestation
from assay.provenance.attestations import FIRST_SEEN, FirstSeen, VerifiedAttestation, render_bundle, verify_attestation
from assay.provenance.identities import SignerIdentity
from assay.provenance.own_root.attest import render_statement
from assay.provenance.own_root.certificates import make_authority
from assay.provenance.own_root.log import EMPTY_LOG, append_leaf
from assay.provenance.publishers import GitLabPublisher, OidcPublisher, Publisher
from assay.provenance.sigstore_trust import SigstoreTrust, bundled_trust
from assay.provenance.slsa import SLSA_V1
from provenance.attestation_data import GITHUB, edited, log_entry, read
from provenance.own_root_world import ALICE, NOW, SINCE, WORKFLOW, Organisation, make_issuer

PUBLISHER = OidcPublisher("https://login.example.org", "alice@example.org")


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return Organisation()


def verify(
    attestation: bytes,
    trust: SigstoreTrust,
    publisher: Publisher | FirstSeen = PUBLISHER,
    *,
    now: datetime = NOW + timedelta(days=400),
) -> VerifiedAttestation:
    return verify_attestation(
        parse_attestation(attestation),
        filename=GITHUB.filename,
        sha256=GITHUB.sha256,
        publisher=publisher,
        trust=trust,
        now=now,
    )


def refusal(
    attestation: bytes, trust: SigstoreTrust, publisher: Publisher = PUBLISHER, **options: datetime
) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        verify(attestation, trust, publisher, **options)
    return caught.value


def test_an_own_attestation_verifies_long_after_its_certificate_expired(organisation: Organisation) -> None:
    found = verify(organisation.attest(), organisation.trust)
    assert found.identity == ALICE
    assert found.trust == "Example"
    assert found.logged_at == NOW.replace(microsecond=0)


def test_the_log_proves_every_entry_it_takes(organisation: Organisation) -> None:
    for _ in range(9):
        verify(organisation.attest(), organisation.trust)


def test_a_workflow_identity_is_matched_like_the_public_instances(organisation: Organisation) -> None:
    publisher = GitLabPublisher("org/project", "ci.yml", owner_id="3", server="https://git.example.org")
    attestation = organisation.attest(WORKFLOW)
    assert verify(attestation, organisation.trust, publisher).identity == WORKFLOW
    assert refusal(attestation, organisation.trust, replace(publisher, owner_id="4")).rule == "attestation-owner"
    remembered = verify(attestation, organisation.trust, FIRST_SEEN).publisher
    assert remembered == replace(publisher, repository_id="7")


def test_stock_sigstore_verifies_it(organisation: Organisation, tmp_path: Path) -> None:
    root = tmp_path / "trusted_root.json"
    root.write_bytes(organisation.trust.root)
    bundle = Bundle.from_json(render_bundle(parse_attestation(organisation.attest())))
    policy = Identity(identity="alice@example.org", issuer="https://login.example.org")
    kind, payload = Verifier(trusted_root=TrustedRoot.from_file(str(root))).verify_dsse(bundle, policy)
    assert kind == "application/vnd.in-toto+json"
    assert payload == render_statement(GITHUB.filename, GITHUB.sha256)


def test_stock_sigstores_command_line_verifies_it(organisation: Organisation, tmp_path: Path) -> None:
    no_services: dict[str, object] = {key: [] for key in ("caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls")}
    any_of_them = {key: {"selector": "ANY"} for key in ("rekorTlogConfig", "tsaConfig")}
    signing = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(organisation.trust.root),
        "signingConfig": {"mediaType": signing, **no_services, **any_of_them},
    }
    (tmp_path / "trust.json").write_text(json.dumps(config))
    (tmp_path / GITHUB.filename).write_bytes(read(GITHUB.filename))
    (tmp_path / "it.sigstore.json").write_bytes(render_bundle(parse_attestation(organisation.attest())))
    done = subprocess.run(
        [sys.executable, "-m", "sigstore", "--trust-config", "trust.json", "verify", "identity", "--offline",
         "--bundle", "it.sigstore.json", "--cert-identity", "alice@example.org",
         "--cert-oidc-issuer", "https://login.example.org", GITHUB.filename],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"OK: {GITHUB.filename}" in done.stderr + done.stdout


def test_pypi_attestations_reads_it(organisation: Organisation) -> None:
    theirs = pypi_attestations.Attestation.model_validate_json(organisation.attest(WORKFLOW))
    assert theirs.certificate_claims["1.3.6.1.4.1.57264.1.12"] == WORKFLOW.repository


def test_each_root_verifies_only_its_own(organisation: Organisation) -> None:
    other = Organisation()
    assert refusal(organisation.attest(), other.trust).rule == "attestation-log"
    assert refusal(organisation.attest(), bundled_trust()).rule == "attestation-log"
    assert refusal(GITHUB.attestation, organisation.trust, GITHUB.publisher).rule == "attestation-log"


@pytest.mark.parametrize(
    ("part", "rule"),
    [
        ("certificate_log", "attestation-certificate-log"),
        ("log", "attestation-log"),
        ("issuing", "attestation-certificate"),
    ],
)
def test_a_stolen_place_without_its_key_is_refused(organisation: Organisation, part: str, rule: str) -> None:
    forger, issuer = CryptoSigner.generate_ecdsa(), organisation.issuer
    forged = {
        "certificate_log": replace(issuer, certificate_log=forger),
        "log": replace(issuer, log=forger),
        "issuing": replace(issuer, issuing=forger),
    }
    assert refusal(organisation.attest(issuer=forged[part]), organisation.trust).rule == rule


def test_a_look_alike_authority_is_refused(organisation: Organisation) -> None:
    look_alike = make_issuer()
    forged = replace(organisation.issuer, authority=look_alike.authority, issuing=look_alike.issuing)
    assert refusal(organisation.attest(issuer=forged), organisation.trust).rule == "attestation-certificate"


def test_what_the_log_promised_too_late_is_refused(organisation: Organisation) -> None:
    early = Organisation(organisation.issuer).attest(now=NOW)
    late = Organisation(organisation.issuer).attest(now=NOW + timedelta(minutes=20))

    def entry_of_the_later(document: dict[str, object]) -> None:
        log_entry(document)["integratedTime"] = log_entry(json.loads(late))["integratedTime"]

    assert refusal(edited(early, entry_of_the_later), organisation.trust).rule in (
        "attestation-certificate",
        "attestation-log",
    )


def test_before_the_root_begins_nothing_counts(organisation: Organisation) -> None:
    attestation = organisation.attest(now=SINCE - timedelta(days=1))
    assert refusal(attestation, organisation.trust).rule == "attestation-log"


def test_an_attestation_from_the_future_is_refused(organisation: Organisation) -> None:
    found = refusal(organisation.attest(), organisation.trust, now=NOW - timedelta(minutes=10))
    assert found.rule == "attestation-future"


REPOSITORY = "https://git.example.org/org/project"


def build_statement(
    *,
    repository: str = REPOSITORY,
    path: str = "ci.yml",
    ref: str = "refs/tags/v1",
    commit: str = "0" * 40,
    builder: str = "https://example.org/runner",
) -> bytes:
    predicate: dict[str, object] = {
        "buildDefinition": {
            "buildType": "https://example.org/ci/v1",
            "externalParameters": {"workflow": {"repository": repository, "path": path, "ref": ref}},
            "resolvedDependencies": [{"uri": f"git+{repository}@{ref}", "digest": {"gitCommit": commit}}],
        },
        "runDetails": {"builder": {"id": builder}},
    }
    return render_statement(GITHUB.filename, GITHUB.sha256, SLSA_V1, predicate)


BUILT = replace(
    WORKFLOW,
    runner="git-hosted",
    build_signer=f"{REPOSITORY}//ci.yml@refs/tags/v1",
    run=f"{REPOSITORY}/-/jobs/1",
)


@pytest.mark.parametrize(
    "builder",
    ["https://example.org/runner", f"{REPOSITORY}//ci.yml@refs/tags/v1", "https://git.example.org/git-hosted"],
)
def test_a_build_provenance_that_agrees_with_its_signer_is_shown(organisation: Organisation, builder: str) -> None:
    publisher = GitLabPublisher("org/project", "ci.yml", server="https://git.example.org")
    build = verify(
        organisation.attest(BUILT, statement=build_statement(builder=builder)), organisation.trust, publisher
    ).build
    assert build is not None
    assert build.builder == builder
    assert build.run == BUILT.run


@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "https://git.example.org/famous/project"},
        {"path": "release.yml"},
        {"ref": "refs/heads/main"},
        {"commit": "1" * 40},
        {"builder": "https://git.example.org/famous/builder//build.yml@refs/tags/v1"},
        {"builder": "https://git.example.org/self-hosted"},
    ],
)
def test_a_build_provenance_that_contradicts_its_signer_is_refused(
    organisation: Organisation, changes: dict[str, str]
) -> None:
    publisher = GitLabPublisher("org/project", "ci.yml", server="https://git.example.org")
    boasting = organisation.attest(BUILT, statement=build_statement(**changes))
    assert refusal(boasting, organisation.trust, publisher).rule == "attestation-build"


def test_identities_that_no_certificate_can_carry_are_refused(organisation: Organisation) -> None:
    for subjects in ((), ("a@b", "c@d"), ("nobody",)):
        with pytest.raises(CallerError) as caught:
            organisation.attest(SignerIdentity("https://login.example.org", subjects))
        assert caught.value.rule == "own-root-identity"


def test_only_p256_keys_serve_a_root() -> None:
    good, bad = CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ed25519()
    with pytest.raises(OperatorError) as caught:
        make_authority("Example", bad, good.public_key, now=NOW, lifetime=timedelta(1), serials=(1, 2))
    assert caught.value.rule == "own-root-key"


class FaultyToken(CryptoSigner):
    """A token that signs something else than it was asked to."""

    def sign(self, payload: bytes) -> Signature:
        return super().sign(payload + b"!")


def test_a_signature_that_does_not_verify_never_goes_out(organisation: Organisation) -> None:
    good = CryptoSigner.generate_ecdsa()
    faulty = FaultyToken(good._private_key, good.public_key)
    with pytest.raises(KeyUnavailable) as caught:
        organisation.attest(issuer=replace(organisation.issuer, log=faulty))
    assert caught.value.rule == "bad-signature"


def test_certificates_are_what_other_programs_read(organisation: Organisation) -> None:
    authority = organisation.issuer.authority
    authority.issuing.verify_directly_issued_by(authority.root)
    authority.root.verify_directly_issued_by(authority.root)
    leaf = x509.load_der_x509_certificate(parse_attestation(organisation.attest()).certificate)
    leaf.verify_directly_issued_by(authority.issuing)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=10)
    assert leaf.not_valid_before_utc == NOW.replace(microsecond=0, tzinfo=UTC)


def merkle_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 section 2.1, written down."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:half]) + merkle_root(leaves[half:])).digest()


@given(st.lists(st.binary(max_size=8), max_size=40))
def test_the_log_is_the_tree_of_rfc_6962(leaves: list[bytes]) -> None:
    state = EMPTY_LOG
    for at, leaf in enumerate(leaves):
        state, proof = append_leaf(state, leaf)
        root = hashlib.sha256(b"\x00" + leaf).digest()
        for left in proof:
            root = hashlib.sha256(b"\x01" + left + root).digest()
        assert root == state.root == merkle_root(leaves[: at + 1])
    assert state.size == len(leaves)
    assert state.root == merkle_root(leaves)
