"""OpenPGP from registration to installation: what an uploader, a returning client and a new client see."""

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from assay.index.provenance.changes import AddCertificate, EndCertificate, RevokeCertificate
from assay.model.errors import AssayError, CallerError, InvalidUpload, RefusedByPolicy, VerificationFailed
from assay.provenance.openpgp import parse_certificate
from index.ledger_index import DEMO, wheel_name
from provenance.openpgp_makers import Gpg, Sq
from provenance_wiring.developer import DAY, Developer
from provenance_wiring.signing_index import START, WHEEL, Client, SigningIndex, wheel

ARMORED = "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"


@pytest.fixture
def dora(gpg: Gpg) -> Developer:
    return Developer(gpg, "dora")


@pytest.fixture
def signed(index: SigningIndex, dora: Developer) -> SigningIndex:
    """``demo`` expects dora's signatures, and 1.0 has one."""
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    index.upload("1.0", signature=dora.sign(wheel()))
    return index


def refused(index: SigningIndex, **upload: object) -> InvalidUpload:
    with pytest.raises(InvalidUpload) as caught:
        index.send(WHEEL, wheel(), **upload)  # type: ignore[arg-type]
    assert index.state().page(DEMO) is None or index.page().file(WHEEL) is None
    return caught.value


# --- admission ------------------------------------------------------------------------------------------------


def test_a_signature_of_a_registered_key_is_published_pinned_and_served(signed: SigningIndex, dora: Developer) -> None:
    entry = signed.page().file(WHEEL)
    assert entry is not None
    assert entry.signature is not None
    assert entry.signature.by == (dora.fingerprint,)
    with signed.served() as web:
        page = json.loads(web.get("/simple/demo/", Accept="application/vnd.pypi.simple.v1+json").body)
        assert page["files"][0]["gpg-sig"] is True
        assert b'data-gpg-sig="true"' in web.get("/simple/demo/", Accept="text/html").body
        answer = web.get(f"/packages/demo/1.0/{WHEEL}.asc")
        assert answer.headers["content-type"] == "application/pgp-signature"
        assert "immutable" not in answer.headers["cache-control"]
        assert json.loads(web.get("/pypi/demo/json").body)["urls"][0]["has_sig"] is True
    target = signed.state().target(f"packages/demo/1.0/{WHEEL}")  # type: ignore[arg-type]
    assert target is not None
    assert target.custom["signed_by"] == [dora.fingerprint]
    [event] = signed.events("signature-accepted")
    assert (event["certificate"], event["filename"]) == (dora.fingerprint, WHEEL)


def test_gpg_itself_verifies_what_the_index_serves(
    signed: SigningIndex, dora: Developer, gpg: Gpg, tmp_path: Path
) -> None:
    [entry] = signed.page().signers.certificates
    with signed.served() as web:
        certificate = web.get(f"/certificates/demo/{entry.sha256}.pgp")
        (tmp_path / "demo.whl").write_bytes(web.get(f"/packages/demo/1.0/{WHEEL}").body)
        (tmp_path / "demo.whl.asc").write_bytes(web.get(f"/packages/demo/1.0/{WHEEL}.asc").body)
    assert certificate.headers["content-type"] == "application/pgp-keys"
    assert parse_certificate(certificate.body).fingerprint == dora.fingerprint
    gpg.run("--verify", str(tmp_path / "demo.whl.asc"), str(tmp_path / "demo.whl"), at=DAY)


def test_a_signature_without_a_registered_certificate_is_refused(index: SigningIndex, dora: Developer) -> None:
    error = refused(index, signature=dora.sign(wheel()))
    assert error.rule == "openpgp-unknown-key"
    assert dora.fingerprint in str(error)


@pytest.mark.parametrize(
    ("rule", "at"),
    [("openpgp-bad-signature", DAY), ("openpgp-not-near-upload", "2024-05-02"), ("openpgp-future", "2024-05-24")],
)
def test_a_signature_that_does_not_verify_refuses_the_upload(
    index: SigningIndex, dora: Developer, rule: str, at: str
) -> None:
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    data = b"other bytes" if rule == "openpgp-bad-signature" else wheel()
    assert refused(index, signature=dora.sign(data, at)).rule == rule


def test_an_unreadable_signature_refuses_the_upload(index: SigningIndex, dora: Developer) -> None:
    index.change(AddCertificate(DEMO, dora.certificate, optional=True))
    assert refused(index, signature=ARMORED.encode()).rule.startswith("openpgp-")


def test_once_a_certificate_is_registered_unsigned_uploads_are_refused(index: SigningIndex, dora: Developer) -> None:
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    error = refused(index)
    assert error.rule == "signature-missing"
    assert dora.fingerprint in str(error)


def test_with_an_optional_certificate_unsigned_uploads_pass(
    index: SigningIndex, dora: Developer, client: Client
) -> None:
    index.change(AddCertificate(DEMO, dora.certificate, optional=True))
    index.upload("1.0")
    assert client.install().evidence is not None
    assert client.install().evidence.signature is None  # type: ignore[union-attr]


def test_a_signature_can_be_added_afterwards_by_uploading_the_same_file_again(
    index: SigningIndex, dora: Developer, client: Client
) -> None:
    index.upload("1.0")
    assert client.install().evidence is None
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    seq = index.send(WHEEL, wheel(), signature=dora.sign(wheel()))
    index.settle(seq)
    found = client.install().evidence
    assert found is not None
    assert found.signature is not None
    assert found.signature.certificate == dora.fingerprint
    again = index.send(WHEEL, wheel(), signature=dora.sign(wheel()))
    assert again != seq or index.outcome(again)[0] == "published"


def test_the_same_signature_again_changes_nothing(index: SigningIndex, dora: Developer) -> None:
    index.change(AddCertificate(DEMO, dora.certificate, optional=False))
    signature = dora.sign(wheel())
    first = index.send(WHEEL, wheel(), signature=signature)
    index.settle(first)
    assert index.send(WHEEL, wheel(), signature=signature) == first


# --- installation ---------------------------------------------------------------------------------------------


def test_the_client_verifies_the_signature_again(signed: SigningIndex, dora: Developer, client: Client) -> None:
    evidence = client.install().evidence
    assert evidence is not None
    assert evidence.signature is not None
    assert evidence.signature.user_ids == ("dora <dora@example.org>",)


def test_a_signature_that_is_withheld_or_replaced_is_refused(
    signed: SigningIndex, dora: Developer, client: Client
) -> None:
    entry = signed.page().file(WHEEL)
    assert entry is not None
    assert entry.signature is not None
    blob = signed.blobs.path(entry.signature.sha256)
    kept = blob.read_bytes()
    blob.unlink()
    with pytest.raises(AssayError):
        client.install()
    blob.write_bytes(dora.sign(wheel(), at="2024-05-22"))
    with pytest.raises(VerificationFailed) as caught:
        client.install()
    assert caught.value.rule == "pinned-hash"
    blob.unlink()
    blob.write_bytes(kept)
    client.install()


def test_a_revocation_reaches_clients_that_installed_before(
    signed: SigningIndex, dora: Developer, client: Client, newcomer: Client
) -> None:
    client.install()
    signed.later(hours=1)
    signed.change(RevokeCertificate(DEMO, dora.fingerprint, dora.revocation))
    for machine in (client, newcomer):
        with pytest.raises(VerificationFailed) as caught:
            machine.install()
        assert caught.value.rule == "openpgp-revoked"


def test_a_revocation_cannot_be_undone_by_registering_an_older_export(
    signed: SigningIndex, dora: Developer, client: Client
) -> None:
    old = dora.certificate
    signed.change(RevokeCertificate(DEMO, dora.fingerprint, dora.revocation))
    signed.change(AddCertificate(DEMO, old, optional=False))
    with pytest.raises(VerificationFailed) as caught:
        client.install()
    assert caught.value.rule == "openpgp-revoked"


def test_what_was_signed_before_a_key_expired_keeps_installing(index: SigningIndex, gpg: Gpg, client: Client) -> None:
    brief = Developer(gpg, "brief", expires="2024-06-10")
    index.change(AddCertificate(DEMO, brief.certificate, optional=False))
    index.upload("1.0", signature=brief.sign(wheel()))
    index.later(days=20)
    index.sign()
    client.install()
    with pytest.raises(VerificationFailed) as caught:
        client.install(policy='retired_keys = "refuse"')
    assert caught.value.rule == "openpgp-expired"
    late = gpg.sign("brief", wheel("1.1"), at="2024-05-30")
    with pytest.raises(InvalidUpload) as refusal:
        index.send(wheel_name("demo", "1.1"), wheel("1.1"), signature=late)
    assert refusal.value.rule == "openpgp-expired"


def test_a_certificate_that_ended_keeps_its_files_and_signs_no_more(
    signed: SigningIndex, dora: Developer, client: Client
) -> None:
    signed.later(days=1)
    signed.change(EndCertificate(DEMO, dora.fingerprint, distrust=False))
    signed.later(hours=1)
    client.install()
    with pytest.raises(VerificationFailed) as caught:
        client.install(policy='retired_keys = "refuse"')
    assert caught.value.rule == "signer-withdrawn"
    filename, data = wheel_name("demo", "1.1"), wheel("1.1")
    with pytest.raises(InvalidUpload) as refusal:
        signed.send(filename, data, signature=dora.sign(data, at="2024-05-24"))
    assert refusal.value.rule == "signer-withdrawn"
    with pytest.raises(CallerError):
        signed.change(AddCertificate(DEMO, dora.certificate, optional=False))


def test_a_distrusted_certificate_voids_what_it_signed_until_another_signs_again(
    signed: SigningIndex, dora: Developer, gpg: Gpg, client: Client
) -> None:
    client.install()
    signed.change(EndCertificate(DEMO, dora.fingerprint, distrust=True))
    with pytest.raises(VerificationFailed) as caught:
        client.install()
    assert caught.value.rule == "signer-distrusted"
    eric = Developer(gpg, "eric")
    signed.change(AddCertificate(DEMO, eric.certificate, optional=False))
    signed.settle(signed.send(WHEEL, wheel(), signature=eric.sign(wheel())))
    evidence = client.install().evidence
    assert evidence is not None
    assert evidence.signature is not None
    assert evidence.signature.certificate == eric.fingerprint


def test_an_extended_expiry_is_merged_and_earlier_signatures_stay(
    index: SigningIndex, gpg: Gpg, client: Client
) -> None:
    renewer = Developer(gpg, "renewer", expires="2024-06-10")
    index.change(AddCertificate(DEMO, renewer.certificate, optional=False))
    index.upload("1.0", signature=renewer.sign(wheel()))
    gpg.run("--quick-set-expire", renewer.fingerprint, "2027-06-10", at="2024-05-25")
    index.later(days=20)
    index.change(AddCertificate(DEMO, renewer.certificate, optional=False))
    client.install(policy='retired_keys = "refuse"')
    assert len(index.page().signers.certificates) == 1


# --- policy ---------------------------------------------------------------------------------------------------


def signed_by(projects: str, fingerprint: str) -> str:
    return f'[[rules]]\nprojects = ["{projects}"]\nsigned_by = ["{fingerprint}"]\n'


def test_policy_names_the_key(signed: SigningIndex, dora: Developer, gpg: Gpg, client: Client) -> None:
    eric = Developer(gpg, "eric")
    client.install(policy=signed_by("dem*", dora.fingerprint))
    with pytest.raises(RefusedByPolicy) as caught:
        client.install(policy=signed_by("demo", eric.fingerprint))
    assert caught.value.rule == "policy-signer"


def test_policy_asks_for_a_signature_where_there_is_none(index: SigningIndex, client: Client) -> None:
    index.upload("1.0")
    client.install(policy='[[rules]]\nprojects = ["other"]\nsignature = true')
    with pytest.raises(RefusedByPolicy) as caught:
        client.install(policy='[[rules]]\nprojects = ["demo"]\nsignature = true')
    assert caught.value.rule == "signature-missing"


def test_a_key_made_by_sequoia_works_as_one_made_by_gpg(index: SigningIndex, sq: Sq, client: Client) -> None:
    sq.make_key("sam", at="2024-05-01T00:00:00")
    index.change(AddCertificate(DEMO, sq.export("sam"), optional=False))
    index.upload("1.0", signature=sq.sign("sam", wheel(), at="2024-05-23T00:00:00"))
    evidence = client.install().evidence
    assert evidence is not None
    assert evidence.signature is not None
    assert evidence.signature.signed_at == START - timedelta(hours=10)


def test_a_secret_key_is_refused_at_registration(index: SigningIndex, dora: Developer, gpg: Gpg) -> None:
    secret = gpg.run("--armor", "--export-secret-keys", "dora@example.org")
    with pytest.raises(VerificationFailed) as caught:
        index.change(AddCertificate(DEMO, secret, optional=False))
    assert caught.value.rule == "openpgp-secret-key"


def test_the_signers_own_log_tells_of_the_change(signed: SigningIndex, dora: Developer) -> None:
    [event] = signed.events("add-certificate-proposed")
    assert event["actor"] == "operator"
    bundles = subprocess.run(
        ["grep", "-rlc", "signers-changed", str(signed.data.published / "log")], capture_output=True, check=False
    )
    assert bundles.stdout
