"""Signed notes (C2SP signed-note): a text, and signature lines of named keys.

Two kinds of Ed25519 keys are understood: one that signs the text (0x01), and a witness's that signs the text and the
time (0x04, C2SP tlog-cosignature). Signatures of other keys are kept and ignored, as the specification demands; a
wrong signature of a known key makes the whole note worthless.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from assay.model.errors import VerificationFailed

MAX_NOTE_BYTES = 100_000
MAX_SIGNATURES = 64
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_MAX_TIME_S = (1 << 63) - 1
_NAME = re.compile(r"[^\s+]{1,200}\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE_MARK = "\u2014 "

Sign = Callable[[bytes], bytes]
"""Signs a message with Ed25519: the signature's 64 bytes."""


class KeyKind(IntEnum):
    """The first byte of a key's encoding."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key that may sign notes. ``public``: the 32 bytes of RFC 8032."""

    name: str
    kind: KeyKind
    public: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart; no proof of anything."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._encoded).digest()[:_KEY_ID_BYTES]

    @property
    def _encoded(self) -> bytes:
        return bytes([self.kind]) + self.public

    def __str__(self) -> str:
        """The key as a ``vkey``: name, key id and key, joined by plus signs."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._encoded).decode()}"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_SIGNATURE_MARK}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A note that nobody has verified. ``text`` ends with a newline."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def render(self) -> bytes:
        """The note's file."""
        return "\n".join([self.text, *map(str, self.signatures), ""]).encode()


@dataclass(frozen=True, slots=True)
class Vouching:
    """A verified signature: whose, and for a witness's, when (seconds since 1970). Only ``verify_note`` makes one."""

    key: VerifierKey
    time_s: int | None


def parse_vkey(text: str) -> VerifierKey:
    """Read a ``vkey``. Raises VerificationFailed for a key of an unknown kind, or whose parts contradict each other."""
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    data = _decode(encoded)
    kinds = [kind for kind in KeyKind if data[:1] == bytes([kind])]
    if len(data) == 33 and kinds:
        key = VerifierKey(_require_name(name), kinds[0], data[1:])
        if str(key) == text:
            return key
    raise VerificationFailed("not a verifier key", subject=text[:120], rule="malformed", expected="NAME+ID+KEY")


def parse_note(data: bytes) -> Note:
    """Read a note, believing nothing of it. Raises VerificationFailed."""
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("UTF-8", "other bytes") from None
    text, blank, lines = whole.rpartition("\n\n")
    if len(data) > MAX_NOTE_BYTES or _CONTROL.search(whole) or not blank or not lines.endswith("\n"):
        raise _malformed("a text, a blank line, and lines of signatures", f"{len(data)} bytes")
    listed = lines.removesuffix("\n").split("\n")
    if len(listed) > MAX_SIGNATURES:
        raise _malformed(f"at most {MAX_SIGNATURES} signatures", str(len(listed)))
    return Note(text + "\n", tuple(map(_parse_signature, listed)))


def _parse_signature(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    data = _decode(encoded)
    if not line.startswith(_SIGNATURE_MARK) or len(data) <= _KEY_ID_BYTES:
        raise _malformed("a signature line", repr(line[:80]))
    return NoteSignature(_require_name(name), data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> tuple[Vouching, ...]:
    """Whose of ``keys`` signed ``note``, each once. Raises VerificationFailed for a wrong signature of any of them."""
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[VerifierKey, Vouching] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            time_s, signature = _split_signature(key, line)
            _require_signature(key, signature, _message(note.text, time_s))
            found.setdefault(key, Vouching(key, time_s))
    return tuple(found.values())


def sign_note(text: str, key: VerifierKey, sign: Sign) -> NoteSignature:
    """The signature line of ``key``, whose private half is behind ``sign``."""
    return NoteSignature(key.name, key.key_id, sign(_message(text, None)))


def cosign_note(text: str, key: VerifierKey, sign: Sign, time_s: int) -> NoteSignature:
    """The cosignature line of the witness ``key`` at ``time_s``, seconds since 1970. C2SP tlog-cosignature, Ed25519."""
    if key.kind is not KeyKind.COSIGNATURE or not 0 <= time_s <= _MAX_TIME_S:
        raise ValueError("a cosignature needs a witness's key and a time")
    return NoteSignature(key.name, key.key_id, time_s.to_bytes(_TIME_BYTES, "big") + sign(_message(text, time_s)))


def with_signatures(note: Note, signatures: Sequence[NoteSignature]) -> Note:
    """``note`` with further signature lines, in the place of earlier ones of the same keys."""
    new = {(line.name, line.key_id): line for line in signatures}
    kept = [line for line in note.signatures if (line.name, line.key_id) not in new]
    return Note(note.text, (*kept, *new.values()))


def _split_signature(key: VerifierKey, line: NoteSignature) -> tuple[int | None, bytes]:
    if key.kind is not KeyKind.COSIGNATURE:
        return None, line.signature
    return int.from_bytes(line.signature[:_TIME_BYTES], "big"), line.signature[_TIME_BYTES:]


def _message(text: str, time_s: int | None) -> bytes:
    return (text if time_s is None else f"cosignature/v1\ntime {time_s}\n{text}").encode()


def _require_signature(key: VerifierKey, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    except InvalidSignature:
        raise VerificationFailed(
            "the signature of a known key is wrong", subject=key.name, rule="note-signature"
        ) from None


def _require_name(name: str) -> str:
    if not _NAME.match(name):
        raise _malformed("a key's name, without spaces and plus signs", repr(name[:80]))
    return name


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("base64", repr(text[:80])) from None
    if base64.b64encode(data).decode() != text:
        raise _malformed("base64 in its one spelling", repr(text[:80]))
    return data


def _malformed(expected: str, found: str) -> VerificationFailed:
    return VerificationFailed("malformed note", rule="malformed", expected=expected, found=found)
