"""Notes and checkpoints: who signed counts, and nothing in them can be changed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.model.errors import VerificationFailed
from assay.trust.log.checkpoint import LogHead, LogIdentity, cosign_checkpoint, open_checkpoint, sign_checkpoint
from assay.trust.log.note import (
    KeyKind,
    Note,
    VerifierKey,
    parse_note,
    parse_vkey,
    sign_note,
    verify_note,
    with_signatures,
)
from assay.trust.log.tree import MAX_SIZE, Hash
from log.worlds import IDENTITY, LOG_KEY, log_of, private_key, witness

NOW_S = 1_795_000_000


def cosigned(*seeds: int, data: bytes | None = None) -> bytes:
    """A checkpoint with the cosignatures of witnesses."""
    start = data if data is not None else log_of(12).checkpoint()
    lines = [cosign_checkpoint(start, IDENTITY, witness(seed), private_key(seed).sign, NOW_S) for seed in seeds]
    return with_signatures(parse_note(start), lines).render()


def witnessed(threshold: int, *seeds: int) -> LogIdentity:
    return replace(IDENTITY, witnesses=tuple(map(witness, seeds)), threshold=threshold)


def test_a_note_signed_elsewhere_is_verified() -> None:
    """The example of C2SP signed-note and of Go's sumdb/note, as published with its key."""
    key = parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = (
        "\u2014 PeterNeumann "
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    note = parse_note(f"{text}\n{line}".encode())
    assert note.text == text
    assert [each.key for each in verify_note(note, [key])] == [key]


def test_the_specification_s_cosigned_checkpoint_is_read() -> None:
    """The example of C2SP tlog-cosignature; it gives no keys, so only its form can be checked."""
    data = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nP"
        "Zqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    note = parse_note(data)
    assert [line.name for line in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(note.signatures[1].signature[:8], "big") == 1679315147
    assert note.render() == data


def test_a_checkpoint_says_what_the_log_signed() -> None:
    log = log_of(12)
    opened = open_checkpoint(log.checkpoint(), IDENTITY)
    assert opened.head == log.head
    assert opened.data.decode().startswith("example.com/log\n12\n")


@given(st.data())
def test_a_flipped_bit_anywhere_breaks_a_cosigned_checkpoint(data: st.DataObject) -> None:
    whole = cosigned(2, 3)
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(VerificationFailed):
        open_checkpoint(bytes(changed), witnessed(2, 2, 3))


def test_enough_witnesses_must_have_signed() -> None:
    assert len(open_checkpoint(cosigned(2), witnessed(1, 2, 3)).witnesses) == 1
    assert open_checkpoint(cosigned(2, 3), witnessed(2, 2, 3)).witnesses[0].time_s == NOW_S
    for data in (cosigned(2), cosigned(2, 2), cosigned(2, 4), log_of(12).checkpoint()):
        with pytest.raises(VerificationFailed) as refusal:
            open_checkpoint(data, witnessed(2, 2, 3))
        assert refusal.value.rule == "log-witnesses"


def test_a_witness_s_key_cannot_speak_for_the_log() -> None:
    imposter = LogIdentity(IDENTITY.origin, VerifierKey(IDENTITY.origin, KeyKind.ED25519, witness(2).public))
    data = sign_checkpoint(imposter, log_of(12).head, private_key(2).sign)
    with pytest.raises(VerificationFailed, match="log's key did not sign"):
        open_checkpoint(data, IDENTITY)


def test_another_log_of_the_same_key_is_not_this_log() -> None:
    other = LogIdentity("example.com/other", IDENTITY.key)
    with pytest.raises(VerificationFailed) as refusal:
        open_checkpoint(sign_checkpoint(other, log_of(12).head, LOG_KEY.sign), IDENTITY)
    assert refusal.value.rule == "log-origin"


def test_a_wrong_signature_of_a_known_key_spoils_a_note_that_another_key_signed() -> None:
    data = cosigned(2)
    forged = cosigned(3).replace(b"witness.example/w3", b"witness.example/w2")
    note = parse_note(data)
    line = replace(parse_note(forged).signatures[1], key_id=witness(2).key_id)
    with pytest.raises(VerificationFailed, match="wrong"):
        open_checkpoint(with_signatures(note, [line]).render(), witnessed(0, 2))


def test_signatures_of_unknown_keys_are_carried_and_ignored() -> None:
    assert open_checkpoint(cosigned(2, 3, 4), IDENTITY).head == log_of(12).head


def test_a_witness_does_not_sign_what_the_log_did_not_sign() -> None:
    data = sign_checkpoint(LogIdentity("example.com/log", witness(5)), LogHead(1, Hash(bytes(32))), private_key(5).sign)
    with pytest.raises(VerificationFailed):
        cosigned(2, data=data)


@pytest.mark.parametrize(
    "text",
    [
        "example.com/log\n12\n",
        "example.com/log\n012\n" + "A" * 43 + "=\n",
        "example.com/log\n-1\n" + "A" * 43 + "=\n",
        f"example.com/log\n{MAX_SIZE + 1}\n" + "A" * 43 + "=\n",
        "example.com/log\n12\n" + "A" * 42 + "B=\n",
        "example.com/log\n12\nAAAA\n",
        "example.com/log\n12\n" + "A" * 43 + "=\n\nextension\n",
    ],
)
def test_a_malformed_head_is_refused_although_it_is_signed(text: str) -> None:
    data = Note(text, (sign_note(text, IDENTITY.key, LOG_KEY.sign),)).render()
    with pytest.raises(VerificationFailed, match="malformed"):
        open_checkpoint(data, IDENTITY)


def test_extension_lines_are_signed_and_read_over() -> None:
    text = "example.com/log\n12\n" + "A" * 43 + "=\nextension\n"
    data = Note(text, (sign_note(text, IDENTITY.key, LOG_KEY.sign),)).render()
    assert open_checkpoint(data, IDENTITY).head == LogHead(12, Hash(bytes(32)))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with pytest.raises(VerificationFailed):
        open_checkpoint(data, IDENTITY)


def test_a_verifier_key_has_one_spelling() -> None:
    text = str(IDENTITY.key)
    assert parse_vkey(text) == IDENTITY.key
    for wrong in (text + "=", text.replace("+", "+0", 1), text[:-4] + "AAA=", "a b" + text, text.split("+")[0]):
        with pytest.raises(VerificationFailed):
            parse_vkey(wrong)
