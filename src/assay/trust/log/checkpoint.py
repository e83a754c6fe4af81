"""Checkpoints (C2SP tlog-checkpoint): the log's size and root in a signed note, and whose word they need.

Invariant: only ``open_checkpoint`` makes a ``VerifiedCheckpoint``, from the log's own signature and enough witnesses'.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass

from assay.model.errors import VerificationFailed
from assay.trust.log.note import (
    Note,
    NoteSignature,
    Sign,
    VerifierKey,
    Vouching,
    cosign_note,
    parse_note,
    sign_note,
    verify_note,
)
from assay.trust.log.tree import HASH_BYTES, MAX_SIZE, Hash

CHECKPOINT = "checkpoint"
"""Its path below the log's URL."""

_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class LogHead:
    """How long a log is, and the root of its tree."""

    size: int
    root: Hash


@dataclass(frozen=True, slots=True)
class LogIdentity:
    """Which log, and whose word on it counts: the log's ``key``, and ``threshold`` of the ``witnesses``."""

    origin: str
    key: VerifierKey
    witnesses: tuple[VerifierKey, ...] = ()
    threshold: int = 0


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A head that enough of the right keys signed; ``data`` is the note's file. Only ``open_checkpoint`` makes one."""

    head: LogHead
    witnesses: tuple[Vouching, ...]
    data: bytes


def render_head(origin: str, head: LogHead) -> str:
    """The text that is signed: origin, size, root."""
    return f"{origin}\n{head.size}\n{base64.b64encode(head.root).decode()}\n"


def parse_head(text: str) -> tuple[str, LogHead]:
    """Origin and head of a checkpoint's text; extension lines are read over. Raises VerificationFailed."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines) or not _SIZE.match(lines[1]):
        raise _malformed(text)
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError:
        raise _malformed(text) from None
    size = int(lines[1])
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != lines[2] or size > MAX_SIZE:
        raise _malformed(text)
    return lines[0], LogHead(size, Hash(root))


def sign_checkpoint(identity: LogIdentity, head: LogHead, sign: Sign) -> bytes:
    """The file of the log's own checkpoint. Ed25519 signs alike every time: equal heads are equal files."""
    text = render_head(identity.origin, head)
    return Note(text, (sign_note(text, identity.key, sign),)).render()


def cosign_checkpoint(
    data: bytes, identity: LogIdentity, witness: VerifierKey, sign: Sign, time_s: int
) -> NoteSignature:
    """A witness's signature line for the checkpoint ``data``, which the log itself must have signed.

    The caller has verified that the head follows the last one it signed; see docs/log.md.
    """
    open_checkpoint(data, LogIdentity(identity.origin, identity.key))
    return cosign_note(parse_note(data).text, witness, sign, time_s)


def open_checkpoint(data: bytes, identity: LogIdentity) -> VerifiedCheckpoint:
    """The head that ``data`` speaks of. Raises VerificationFailed unless everybody whose word it needs signed it."""
    note = parse_note(data)
    vouching = verify_note(note, (identity.key, *identity.witnesses))
    origin, head = parse_head(note.text)
    if origin != identity.origin:
        raise VerificationFailed(
            "the checkpoint of another log", rule="log-origin", expected=identity.origin, found=origin[:200]
        )
    if not any(each.key == identity.key for each in vouching):
        raise VerificationFailed("the log's key did not sign this checkpoint", rule="note-signature", subject=origin)
    witnesses = tuple(each for each in vouching if each.key in identity.witnesses)
    _require_witnesses(identity, witnesses)
    return VerifiedCheckpoint(head, witnesses, data)


def _require_witnesses(identity: LogIdentity, found: Sequence[Vouching]) -> None:
    if len({each.key.public for each in found}) < identity.threshold:
        raise VerificationFailed(
            "too few witnesses signed this checkpoint",
            subject=identity.origin,
            rule="log-witnesses",
            expected=f"{identity.threshold} of {', '.join(key.name for key in identity.witnesses)}",
            found=", ".join(each.key.name for each in found) or "none",
        )


def _malformed(text: str) -> VerificationFailed:
    return VerificationFailed(
        "malformed checkpoint", rule="malformed", expected="origin, size and root, a line each", found=repr(text[:120])
    )
