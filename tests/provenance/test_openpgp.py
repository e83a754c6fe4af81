"""Signatures by gpg, sq and Sequoia: good ones verify, and each kind of bad one is refused by its own rule."""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pysequoia
import pytest

from assay.model.digests import sha256_of
from assay.model.errors import OperatorError, VerificationFailed
from assay.provenance.openpgp import (
    Certificate,
    RetiredKeys,
    VerifiedSignature,
    merge_certificates,
    parse_certificate,
    revoke_certificate,
    verify_signature,
)
from assay.provenance.openpgp_packets import Tag, dearmor
from provenance.openpgp_makers import Gpg, Sq, day, packets_of, repack

FILE = b"the bytes of a wheel\n" * 100
KEY_DAY, SIGN_DAY, NOW = "2024-01-01", "2024-03-01", "2024-03-02"
TOLERANCE = timedelta(days=1)


def verify(
    signature: bytes,
    *certificates: Certificate,
    data: bytes | Path = FILE,
    uploaded_at: str = SIGN_DAY,
    now: str = NOW,
    retired_keys: RetiredKeys = RetiredKeys.REFUSE,
) -> VerifiedSignature:
    return verify_signature(
        signature,
        data,
        certificates,
        uploaded_at=day(uploaded_at),
        now=day(now),
        tolerance=TOLERANCE,
        retired_keys=retired_keys,
    )


def refusal(signature: bytes, *certificates: Certificate, **options: object) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        verify(signature, *certificates, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.fixture(scope="session")
def alice(gpg: Gpg) -> Certificate:
    """A primary key that only certifies, and a subkey that signs."""
    fingerprint = gpg.make_key("alice", "ed25519", "cert", at=KEY_DAY)
    gpg.run("--quick-add-key", fingerprint, "ed25519", "sign", "never", at=KEY_DAY)
    return parse_certificate(gpg.export("alice"))


@pytest.fixture(scope="session")
def good(gpg: Gpg, alice: Certificate) -> bytes:
    return gpg.sign("alice", FILE, at=SIGN_DAY)


# --- what verifies ---------------------------------------------------------------------------------------------


def test_a_signature_by_gpg_says_who_when_and_over_what(alice: Certificate, good: bytes) -> None:
    found = verify(good, alice)
    assert found.certificate == alice.fingerprint
    assert found.key == alice.keys[1].fingerprint
    assert found.user_ids == ("alice <alice@example.org>",)
    assert found.signed_at == day(SIGN_DAY)
    assert found.sha256 == sha256_of(FILE)


def test_a_file_on_disk_is_verified_as_its_bytes_are(alice: Certificate, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(FILE)
    assert verify(good, alice, data=path).sha256 == sha256_of(FILE)
    path.write_bytes(FILE + b"!")
    assert refusal(good, alice, data=path).rule == "openpgp-bad-signature"


@pytest.mark.parametrize("algorithm", ["rsa2048", "ed25519", "nistp384"])
def test_a_primary_key_that_signs_verifies(gpg: Gpg, algorithm: str) -> None:
    name = f"single-{algorithm}"
    gpg.make_key(name, algorithm, "sign", at=KEY_DAY)
    certificate = parse_certificate(gpg.export(name))
    assert verify(gpg.sign(name, FILE, at=SIGN_DAY), certificate).key == certificate.fingerprint


def test_a_signature_by_sq_verifies(sq: Sq) -> None:
    sq.make_key("bob", at=KEY_DAY)
    certificate = parse_certificate(sq.export("bob"))
    assert verify(sq.sign("bob", FILE, at=SIGN_DAY), certificate).certificate == certificate.fingerprint


@pytest.mark.parametrize("suite", ["Cv25519", "Cv448", "P256", "RSA2k", "MLDSA65_Ed25519"])
def test_version_6_keys_work(suite: str) -> None:
    secret = pysequoia.Tsk.generate(
        user_id="carol <carol@example.org>",
        profile=pysequoia.Profile.RFC9580,
        cipher_suite=getattr(pysequoia.CipherSuite, suite),
    )
    certificate = parse_certificate(str(secret.extract_certificate()).encode())
    signature = pysequoia.sign(secret.signer(), FILE, mode=pysequoia.SignatureMode.DETACHED)
    now = datetime.now(UTC)
    found = verify_signature(signature, FILE, [certificate], uploaded_at=now, now=now, tolerance=TOLERANCE)
    assert certificate.version == 6
    assert len(found.certificate) == 64
    assert found.key in {key.fingerprint for key in certificate.keys[1:]}


def test_the_right_one_of_several_certificates_is_found(sq: Sq, alice: Certificate, good: bytes) -> None:
    sq.make_key("dan", at=KEY_DAY)
    assert verify(good, parse_certificate(sq.export("dan")), alice).certificate == alice.fingerprint


def test_armor_with_comments_carriage_returns_and_a_wrong_checksum_is_read(alice: Certificate, good: bytes) -> None:
    lines = good.decode().splitlines()
    lines.insert(1, "Comment: made for the tests")
    lines[-2] = "=AAAA"
    assert verify("\r\n".join([*lines, ""]).encode(), alice).certificate == alice.fingerprint


# --- the signature itself --------------------------------------------------------------------------------------


def test_changed_bytes_are_refused(alice: Certificate, good: bytes) -> None:
    found = refusal(good, alice, data=FILE.replace(b"wheel", b"whe3l", 1))
    assert found.rule == "openpgp-bad-signature"
    assert "backtrace" not in str(found)


def test_a_flipped_bit_of_the_signature_is_refused(alice: Certificate, good: bytes) -> None:
    binary = bytearray(dearmor(good, "PGP SIGNATURE"))
    binary[-1] ^= 1
    assert refusal(armored(bytes(binary)), alice).rule == "openpgp-bad-signature"


def test_a_key_that_nobody_registered_is_refused(gpg: Gpg, alice: Certificate) -> None:
    gpg.make_key("mallory", "ed25519", "sign", at=KEY_DAY)
    found = refusal(gpg.sign("mallory", FILE, at=SIGN_DAY), alice)
    assert found.rule == "openpgp-unknown-key"
    assert found.found == gpg.fingerprints("mallory")[0]
    assert refusal(gpg.sign("mallory", FILE, at=SIGN_DAY)).rule == "openpgp-unknown-key"


def test_two_signatures_in_one_file_are_refused_even_if_one_is_good(gpg: Gpg, alice: Certificate, good: bytes) -> None:
    gpg.make_key("eve", "ed25519", "sign", at=KEY_DAY)
    both = gpg.sign("alice", FILE, "-u", "eve@example.org", at=SIGN_DAY)
    assert refusal(both, alice).rule == "openpgp-several-signatures"
    assert refusal(good + gpg.sign("eve", FILE, at=SIGN_DAY), alice).rule == "openpgp-several-signatures"


@pytest.mark.parametrize(
    ("mode", "options", "rule"),
    [
        ("--clearsign", (), "openpgp-cleartext"),
        ("--sign", (), "openpgp-inline"),
        ("--sign", ("--compress-algo", "none"), "openpgp-inline"),
        ("--detach-sign", ("--textmode",), "openpgp-signature-type"),
        ("--detach-sign", ("--digest-algo", "SHA1"), "openpgp-weak-hash"),
        ("--detach-sign", ("--digest-algo", "SHA224"), "openpgp-weak-hash"),
        ("--detach-sign", ("--default-sig-expire", "1d"), "openpgp-signature-expired"),
    ],
)
def test_other_kinds_of_signature_are_refused(
    gpg: Gpg, alice: Certificate, mode: str, options: tuple[str, ...], rule: str
) -> None:
    assert refusal(gpg.sign("alice", FILE, *options, at=SIGN_DAY, mode=mode), alice, now="2024-03-02").rule == rule


def test_a_message_under_the_name_of_a_signature_is_refused(alice: Certificate, good: bytes) -> None:
    literal = repack(Tag.LITERAL, b"b\x00\x00\x00\x00\x00" + FILE)
    assert refusal(armored(literal + dearmor(good, "PGP SIGNATURE")), alice).rule == "openpgp-inline"


def test_a_certificate_instead_of_a_signature_is_refused(gpg: Gpg, alice: Certificate) -> None:
    assert refusal(gpg.export("alice"), alice).rule == "openpgp-not-a-signature"
    renamed = gpg.export("alice").replace(b"PUBLIC KEY BLOCK", b"SIGNATURE")
    assert refusal(renamed, alice).rule == "openpgp-not-a-signature"


def test_a_signature_of_an_old_version_is_refused(alice: Certificate, good: bytes) -> None:
    body = packets_of(dearmor(good, "PGP SIGNATURE"))[0].body
    assert refusal(armored(repack(2, b"\x03" + body[1:])), alice).rule == "openpgp-signature-version"


def test_a_signature_that_hides_its_key_is_refused(alice: Certificate, good: bytes) -> None:
    body = packets_of(dearmor(good, "PGP SIGNATURE"))[0].body
    issuer = bytes([22, 33, 4])
    assert issuer in body
    assert refusal(armored(repack(2, body.replace(issuer, bytes([22, 20, 4])))), alice).rule == "openpgp-no-issuer"


def test_a_signature_from_the_future_is_refused(gpg: Gpg, alice: Certificate) -> None:
    signature = gpg.sign("alice", FILE, at="2024-05-01")
    assert refusal(signature, alice, uploaded_at="2024-05-01", now="2024-04-01").rule == "openpgp-future"


@pytest.mark.parametrize("uploaded_at", ["2024-02-28", "2024-03-03"])
def test_a_signature_far_from_the_upload_is_refused(alice: Certificate, good: bytes, uploaded_at: str) -> None:
    assert refusal(good, alice, uploaded_at=uploaded_at, now="2024-06-01").rule == "openpgp-not-near-upload"


def test_too_large_a_signature_is_refused_before_it_is_read(alice: Certificate) -> None:
    assert refusal(b"x" * 100_001, alice).rule == "openpgp-too-large"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no armor at all",
        b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
        b"-----BEGIN PGP SIGNATURE-----\nnot base64 !!\n\nAAAA\n-----END PGP SIGNATURE-----\n",
        b"-----BEGIN PGP SIGNATURE-----\n\nAAA\n-----END PGP SIGNATURE-----\n",
    ],
)
def test_what_is_not_armor_is_refused(alice: Certificate, text: bytes) -> None:
    assert refusal(text, alice).rule == "openpgp-armor"


def test_text_around_the_armor_is_refused(alice: Certificate, good: bytes) -> None:
    assert refusal(b"read me first\n" + good, alice).rule == "openpgp-armor"
    assert refusal(good + b"and this\n", alice).rule == "openpgp-armor"
    assert refusal(dearmor(good, "PGP SIGNATURE"), alice).rule == "openpgp-armor"


# --- the key ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "family", "rule"),
    [("rsa1024", "", "openpgp-short-key"), ("secp256k1", "/ecdsa", "openpgp-key-algorithm")],
)
def test_weak_keys_are_refused(gpg: Gpg, algorithm: str, family: str, rule: str) -> None:
    primary, subkey = f"weak-{algorithm}", f"weak-sub-{algorithm}"
    gpg.make_key(primary, algorithm, "sign", at=KEY_DAY)
    with pytest.raises(VerificationFailed) as caught:
        parse_certificate(gpg.export(primary))
    assert caught.value.rule == rule
    fingerprint = gpg.make_key(subkey, "ed25519", "cert", at=KEY_DAY)
    gpg.run("--quick-add-key", fingerprint, algorithm + family, "sign", "never", at=KEY_DAY)
    certificate = parse_certificate(gpg.export(subkey))
    assert refusal(gpg.sign(subkey, FILE, at=SIGN_DAY), certificate).rule == rule


def test_a_certificate_held_together_by_sha1_is_refused(gpg: Gpg) -> None:
    gpg.make_key("sha1", "ed25519", "sign", "--cert-digest-algo", "SHA1", at=KEY_DAY)
    with pytest.raises(VerificationFailed) as caught:
        parse_certificate(gpg.export("sha1"))
    assert caught.value.rule == "openpgp-weak-hash"


def test_a_subkey_bound_by_sha1_is_refused(alice: Certificate, good: bytes) -> None:
    *others, binding = packets_of(alice.data)
    sha1 = repack(Tag.SIGNATURE, binding.body[:3] + b"\x02" + binding.body[4:])  # gpg does not make these any more
    certificate = parse_certificate(b"".join(packet.raw for packet in others) + sha1)
    assert refusal(good, certificate).rule == "openpgp-weak-hash"


def test_a_key_that_is_not_for_signing_is_refused(gpg: Gpg, alice: Certificate, good: bytes) -> None:
    primary = alice.primary
    assert primary.unfit is not None
    assert primary.unfit.rule == "openpgp-not-for-signing"
    body = packets_of(dearmor(good, "PGP SIGNATURE"))[0].body
    subkey = bytes.fromhex(alice.keys[1].fingerprint)
    assert subkey in body
    pretending = armored(repack(2, body.replace(subkey, bytes.fromhex(primary.fingerprint))))
    assert refusal(pretending, alice).rule == "openpgp-not-for-signing"


def test_a_compromised_key_is_refused_whenever_it_signed(gpg: Gpg) -> None:
    fingerprint = gpg.make_key("frank", "ed25519", "sign", at=KEY_DAY)
    signature = gpg.sign("frank", FILE, at=SIGN_DAY)
    before = parse_certificate(gpg.export("frank"))
    assert verify(signature, before).certificate == before.fingerprint
    revocation = revocation_of(gpg, fingerprint)
    gpg.run("--import", stdin=revocation)
    revoked = parse_certificate(gpg.export("frank"))
    assert revoke_certificate(before, revocation).revocation == revoked.revocation
    assert revoked.revocation is not None
    assert revoked.revocation.hard
    for leniency in RetiredKeys:
        assert refusal(signature, revoked, retired_keys=leniency).rule == "openpgp-revoked"
    assert refusal(signature, merge_certificates(before, revoked)).rule == "openpgp-revoked"


def test_only_its_own_revocation_revokes_a_certificate(gpg: Gpg, alice: Certificate) -> None:
    other = gpg.make_key("oscar", "ed25519", "sign", at=KEY_DAY)
    for wrong in (revocation_of(gpg, other), gpg.export("oscar")):
        with pytest.raises(VerificationFailed) as caught:
            revoke_certificate(alice, wrong)
        assert caught.value.rule == "openpgp-revocation"


def test_a_retired_key_counts_only_for_what_was_uploaded_before_and_only_by_policy(sq: Sq) -> None:
    sq.make_key("grace", at=KEY_DAY)
    signature = sq.sign("grace", FILE, at=SIGN_DAY)
    certificate = revoke_certificate(
        parse_certificate(sq.export("grace")), sq.revoke("grace", "retired", at="2024-06-01")
    )
    assert certificate.revocation is not None
    assert not certificate.revocation.hard
    assert refusal(signature, certificate, now="2024-07-01").rule == "openpgp-revoked"
    lenient = RetiredKeys.ACCEPT_EARLIER
    assert verify(signature, certificate, now="2024-07-01", retired_keys=lenient).certificate == certificate.fingerprint
    late = sq.sign("grace", FILE, at="2024-06-15")
    found = refusal(late, certificate, uploaded_at="2024-06-15", now="2024-07-01", retired_keys=lenient)
    assert found.rule == "openpgp-revoked"


def test_a_revoked_subkey_is_refused(sq: Sq) -> None:
    sq.make_key("heidi", at=KEY_DAY)
    certificate = parse_certificate(sq.export("heidi"))
    signature = sq.sign("heidi", FILE, at=SIGN_DAY)
    signer = verify(signature, certificate).key
    update = parse_certificate(sq.revoke("heidi", "superseded", at="2024-06-01", subkey=signer))
    merged = merge_certificates(certificate, update)
    assert merged.revocation is None
    found = refusal(signature, merged, now="2024-07-01")
    assert found.rule == "openpgp-revoked"
    assert found.subject == f"key {signer}"


def test_an_expired_key_is_refused_then_and_now(gpg: Gpg) -> None:
    fingerprint = gpg.make_key("ivan", "ed25519", "sign", at=KEY_DAY, expires="2024-09-01")
    signature = gpg.sign("ivan", FILE, at=SIGN_DAY)
    certificate = parse_certificate(gpg.export("ivan"))
    assert certificate.expires is not None
    assert verify(signature, certificate).certificate == fingerprint
    assert refusal(signature, certificate, now="2024-10-01").rule == "openpgp-expired"
    lenient = RetiredKeys.ACCEPT_EARLIER
    assert verify(signature, certificate, now="2024-10-01", retired_keys=lenient).certificate == fingerprint
    gpg.run("--quick-set-expire", fingerprint, "2024-02-01", at="2024-01-15")
    shortened = parse_certificate(gpg.export("ivan"))
    found = refusal(signature, shortened, retired_keys=lenient)
    assert found.rule == "openpgp-expired"
    assert "when it signed" in found.what


def test_an_expired_subkey_is_refused(gpg: Gpg) -> None:
    fingerprint = gpg.make_key("judy", "ed25519", "cert", at=KEY_DAY)
    gpg.run("--quick-add-key", fingerprint, "ed25519", "sign", "2024-09-01", at=KEY_DAY)
    signature = gpg.sign("judy", FILE, at=SIGN_DAY)
    certificate = parse_certificate(gpg.export("judy"))
    assert certificate.expires is None
    assert refusal(signature, certificate, now="2024-10-01").subject == f"key {certificate.keys[1].fingerprint}"


def test_an_extended_key_still_vouches_for_the_past_when_its_certificates_are_merged(gpg: Gpg) -> None:
    fingerprint = gpg.make_key("kim", "ed25519", "sign", at=KEY_DAY, expires="2024-09-01")
    signature = gpg.sign("kim", FILE, at=SIGN_DAY)
    known = parse_certificate(gpg.export("kim"))
    gpg.run("--quick-set-expire", fingerprint, "2030-01-01", at="2024-08-01")
    update = parse_certificate(gpg.export("kim"))
    merged = merge_certificates(known, update)
    assert refusal(signature, known, now="2024-10-01").rule == "openpgp-expired"
    assert verify(signature, merged, now="2024-10-01").certificate == fingerprint


def test_a_key_younger_than_its_signature_is_refused(gpg: Gpg) -> None:
    gpg.make_key("leo", "ed25519", "sign", at="2024-03-05")
    certificate = parse_certificate(gpg.export("leo"))
    signature = gpg.sign("leo", FILE, "--ignore-time-conflict", at=SIGN_DAY)
    assert refusal(signature, certificate, now="2024-03-06").rule == "openpgp-signature-before-key"


# --- bindings --------------------------------------------------------------------------------------------------


def test_a_subkey_without_a_binding_is_refused(alice: Certificate, good: bytes) -> None:
    packets = packets_of(alice.data)
    bare = parse_certificate(b"".join(packet.raw for packet in packets[:-1]))
    assert packets[-1].tag == Tag.SIGNATURE
    assert refusal(good, bare).rule == "openpgp-not-bound"


def test_a_subkey_stolen_into_another_certificate_is_refused(gpg: Gpg, alice: Certificate, good: bytes) -> None:
    gpg.make_key("niaj", "ed25519", "sign", at=KEY_DAY)
    thief = parse_certificate(gpg.export("niaj"))
    stolen = parse_certificate(thief.data + b"".join(packet.raw for packet in packets_of(alice.data)[-2:]))
    assert refusal(good, stolen).rule == "openpgp-not-bound"
    assert verify(good, stolen, alice).certificate == alice.fingerprint


def test_a_subkey_that_never_agreed_is_refused(alice: Certificate, good: bytes) -> None:
    packets = packets_of(alice.data)
    body = packets[-1].body
    start = 6 + int.from_bytes(body[4:6], "big")  # gpg keeps the back-signature in the unhashed area
    length = int.from_bytes(body[start : start + 2], "big")
    unhashed, rest = body[start + 2 : start + 2 + length], body[start + 2 + length :]
    issuer_only = unhashed[: 1 + unhashed[0]]
    assert issuer_only[1] == 16
    binding = repack(2, body[:start] + len(issuer_only).to_bytes(2, "big") + issuer_only + rest)
    certificate = parse_certificate(b"".join(packet.raw for packet in packets[:-1]) + binding)
    assert refusal(good, certificate).rule == "openpgp-no-back-signature"


def test_a_forged_binding_is_refused(alice: Certificate, good: bytes) -> None:
    forged = bytearray(alice.data)
    forged[-1] ^= 1
    found = refusal(good, parse_certificate(bytes(forged)))
    assert found.rule == "openpgp-bad-signature"


def test_nothing_is_accepted_without_the_library(
    alice: Certificate, good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    with pytest.raises(OperatorError) as caught:
        verify(good, alice)
    assert caught.value.rule == "provenance-not-installed"


def test_the_verdict_is_the_only_way_to_evidence(alice: Certificate, good: bytes) -> None:
    found = verify(good, alice)
    with pytest.raises(TypeError, match="only verify_signature"):
        VerifiedSignature(
            found.certificate, found.key, (), found.signed_at, found.uploaded_at, found.verified_at, found.sha256,
            _evidence=None,
        )  # fmt: skip
    assert replace(found, user_ids=()).key == found.key


def revocation_of(gpg: Gpg, fingerprint: str) -> bytes:
    """The revocation that gpg made along with the key, its safety colon and explanation taken away."""
    text = (gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
    return text[text.index("-----BEGIN") :].encode()


def armored(binary: bytes) -> bytes:
    return pysequoia.armor(binary, pysequoia.ArmorKind.Signature).encode()
