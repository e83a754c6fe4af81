"""Certificates as people register them: what is read, and what is refused with which rule."""

import pysequoia
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.model.errors import VerificationFailed
from assay.provenance.openpgp import Certificate, merge_certificates, parse_certificate, parse_fingerprint
from assay.provenance.openpgp_packets import Tag, dearmor, read_packets
from provenance.openpgp_makers import Gpg, Sq, packets_of, repack


def refusal(data: bytes) -> VerificationFailed:
    with pytest.raises(VerificationFailed) as caught:
        parse_certificate(data)
    return caught.value


@pytest.fixture(scope="session")
def peggy(gpg: Gpg) -> Certificate:
    gpg.make_key("peggy", "ed25519", "sign", at="2024-01-01", expires="2030-01-01")
    return parse_certificate(gpg.export("peggy"))


def test_a_certificate_says_whose_it_is_and_until_when(gpg: Gpg, peggy: Certificate) -> None:
    assert [peggy.fingerprint] == gpg.fingerprints("peggy")
    assert peggy.user_ids == ("peggy <peggy@example.org>",)
    assert peggy.created.isoformat() == "2024-01-01T00:00:00+00:00"
    assert peggy.expires is not None
    assert peggy.expires.date().isoformat() == "2030-01-01"
    assert peggy.primary.algorithm == "Ed25519"
    assert peggy.revocation is None


def test_armored_and_binary_exports_are_the_same_certificate(gpg: Gpg, peggy: Certificate) -> None:
    assert parse_certificate(gpg.run("--export", "peggy@example.org")) == peggy
    assert parse_certificate(peggy.data) == peggy


def test_a_private_key_is_refused_and_its_owner_told(gpg: Gpg, sq: Sq, peggy: Certificate) -> None:
    for options in (("--armor",), ()):
        found = refusal(gpg.run(*options, "--export-secret-keys", peggy.fingerprint))
        assert found.rule == "openpgp-secret-key"
        assert "revoke" in (found.next_step or "")


def test_a_keyring_is_refused(gpg: Gpg, peggy: Certificate) -> None:
    gpg.make_key("quentin", "ed25519", "sign", at="2024-01-01")
    other = gpg.export("quentin")
    assert refusal(gpg.export("peggy") + other).rule == "openpgp-certificate"
    assert refusal(peggy.data + dearmor(other, "PGP PUBLIC KEY BLOCK")).rule == "openpgp-certificate"


def test_a_key_of_an_old_version_is_refused(peggy: Certificate) -> None:
    first, *others = packets_of(peggy.data)
    old = repack(Tag.PUBLIC_KEY, b"\x03" + first.body[1:]) + b"".join(packet.raw for packet in others)
    assert refusal(old).rule == "openpgp-key-version"


def test_a_certificate_whose_self_signature_is_broken_is_refused(peggy: Certificate) -> None:
    broken = bytearray(peggy.data)
    broken[-1] ^= 1
    assert refusal(bytes(broken)).rule == "openpgp-certificate"


@pytest.mark.parametrize("data", [b"", b"\x00", b"hello", b"\xc6\xff\xff\xff\xff\xff", b"\x9b\x00", b"\xc6\xe1"])
def test_garbage_is_refused(data: bytes) -> None:
    assert refusal(data).rule in ("openpgp-certificate", "openpgp-packet")


def test_too_large_a_certificate_is_refused_before_it_is_read() -> None:
    assert refusal(b"\xc6" * 256_001).rule == "openpgp-too-large"


def test_too_many_packets_are_refused() -> None:
    assert refusal(b"\xd5\x00" * 5_000).rule == "openpgp-packet"


def test_certificates_of_different_keys_are_not_merged(gpg: Gpg, peggy: Certificate) -> None:
    gpg.make_key("rupert", "ed25519", "sign", at="2024-01-01")
    with pytest.raises(VerificationFailed) as caught:
        merge_certificates(peggy, parse_certificate(gpg.export("rupert")))
    assert caught.value.rule == "openpgp-certificate"


def test_a_signature_that_says_a_thing_twice_is_refused(peggy: Certificate) -> None:
    *others, certification = packets_of(peggy.data)
    body = certification.body
    hashed = body[6 : 6 + int.from_bytes(body[4:6], "big")]
    created = next(hashed[at : at + 6] for at in range(len(hashed)) if hashed[at : at + 2] == b"\x05\x02")
    doubled = body[:4] + (len(hashed) + 6).to_bytes(2, "big") + created + body[6:]
    data = b"".join(packet.raw for packet in others) + repack(Tag.SIGNATURE, doubled)
    assert "twice" in refusal(data).what


@pytest.mark.parametrize(
    "text",
    ["72B4 84A0 C09D F604 42CE  B3A3 028E EF29 7298 27FC", "0x72b484a0c09df60442ceb3a3028eef29729827fc", "AB" * 32],
)
def test_fingerprints_are_read_as_people_write_them(text: str) -> None:
    assert len(parse_fingerprint(text)) in (40, 64)


@pytest.mark.parametrize("text", ["028EEF29729827FC", "", "zz" * 20, "A" * 41, "\uff11" * 40])
def test_key_ids_and_other_texts_are_no_fingerprints(text: str) -> None:
    with pytest.raises(VerificationFailed) as caught:
        parse_fingerprint(text)
    assert caught.value.rule == "openpgp-fingerprint"


# --- laws ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 63), st.binary(max_size=300)), max_size=8))
def test_packets_written_in_the_new_format_are_read_back(packets: list[tuple[int, bytes]]) -> None:
    data = b"".join(repack(tag, body) for tag, body in packets)
    assert [(packet.tag, packet.body) for packet in read_packets(data)] == packets
    assert b"".join(packet.raw for packet in read_packets(data)) == data


@given(st.binary(max_size=400))
def test_any_bytes_survive_armor(data: bytes) -> None:
    if data:
        armored = pysequoia.armor(data, pysequoia.ArmorKind.Signature).encode()
        assert dearmor(armored, "PGP SIGNATURE") == data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_a_mutated_certificate_is_refused_or_is_still_the_same_key(peggy: Certificate, data: st.DataObject) -> None:
    mutated = bytearray(peggy.data)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    del mutated[data.draw(st.integers(1, len(mutated))) :]
    try:
        found = parse_certificate(bytes(mutated))
    except VerificationFailed:
        return
    assert found.fingerprint == peggy.fingerprint
