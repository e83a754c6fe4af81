"""A strict reader of OpenPGP armor and packets (RFC 9580 sections 4 to 6): framing only, no meaning, no cryptography.

Invariants: every input is bounded by its caller before it comes here, and the number of packets is bounded here. There
is one reading: no text around an armored block, no second block, no partial or indeterminate lengths. What is read is
what the verifier is given, byte for byte.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from assay.model.errors import Reading, VerificationFailed

MAX_PACKETS: Final = 4_000

ArmorLabel = Literal["PGP SIGNATURE", "PGP PUBLIC KEY BLOCK"]

_BLOCK = re.compile(
    rb"\A\s*-----BEGIN (?P<label>[A-Z ]{1,40})-----[ \t]*\r?\n(?P<body>.*?)-----END (?P=label)-----\s*\Z", re.DOTALL
)
_BEGIN = re.compile(rb"^-----BEGIN ([A-Z ,0-9/]{1,40})-----", re.MULTILINE)
_HEADER = re.compile(rb"\A[A-Za-z]{1,20}: [^\r\n]{0,200}\Z")
_BASE64_LINE = re.compile(rb"\A[A-Za-z0-9+/]{1,100}={0,2}\Z")
_CHECKSUM_LINE = re.compile(rb"\A=[A-Za-z0-9+/]{4}\Z")


class Tag(IntEnum):
    """Packet types (RFC 9580 section 5) that the house names."""

    SIGNATURE = 2
    ONE_PASS_SIGNATURE = 4
    SECRET_KEY = 5
    PUBLIC_KEY = 6
    SECRET_SUBKEY = 7
    COMPRESSED = 8
    MARKER = 10
    LITERAL = 11
    TRUST = 12
    USER_ID = 13
    PUBLIC_SUBKEY = 14
    USER_ATTRIBUTE = 17
    PADDING = 21


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: its type, its body, and ``raw``, the body with its header as it was read."""

    tag: int
    body: bytes
    raw: bytes


def armor_labels(text: bytes) -> tuple[str, ...]:
    """The labels of all armored blocks that begin in ``text``, in order: to say what a file is instead."""
    return tuple(match.decode("ascii") for match in _BEGIN.findall(text))


def dearmor(text: bytes, label: ArmorLabel) -> bytes:
    """The bytes inside exactly one armored block named ``label`` (RFC 9580 section 6.2).

    The CRC24 line may stand there and is not compared: section 6.1 forbids to refuse for it. Raises VerificationFailed
    (``openpgp-armor``) for anything else than one well-formed block.
    """
    match = _BLOCK.match(text)
    if match is None or match["label"].decode("ascii") != label or len(armor_labels(text)) != 1:
        raise _bad_armor(f"not exactly one block '{label}' with nothing around it")
    lines = [line.rstrip(b" \t\r") for line in match["body"].split(b"\n")]
    while lines and _HEADER.match(lines[0]):
        lines.pop(0)
    if not lines or lines.pop(0) != b"":
        raise _bad_armor("no empty line between the armor's headers and its content")
    while lines and lines[-1] == b"":
        lines.pop()
    if lines and _CHECKSUM_LINE.match(lines[-1]):
        lines.pop()
    if not lines or not all(_BASE64_LINE.match(line) for line in lines):
        raise _bad_armor("a line of the armor is not base64")
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error as error:
        raise _bad_armor(f"the armor is not base64: {error}") from error


def _bad_armor(what: str) -> VerificationFailed:
    return VerificationFailed(
        what,
        rule="openpgp-armor",
        reading=Reading.EITHER,
        next_step="make it again, with gpg --armor --detach-sign or gpg --armor --export",
    )


def read_packets(data: bytes) -> tuple[Packet, ...]:
    """All packets of ``data``, old and new format (RFC 9580 section 4.2).

    Raises VerificationFailed (``openpgp-packet``) for partial or indeterminate lengths, trailing bytes, or more than
    ``MAX_PACKETS`` packets.
    """
    packets: list[Packet] = []
    at = 0
    while at < len(data):
        if len(packets) >= MAX_PACKETS:
            raise bad_packet(f"more than {MAX_PACKETS} packets")
        tag, start, length = _read_header(data, at)
        end = start + length
        if end > len(data):
            raise bad_packet("a packet is longer than the file")
        packets.append(Packet(tag, data[start:end], data[at:end]))
        at = end
    return tuple(packets)


def _read_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Type, start of the body, length of the body of the packet at ``at``."""
    first = data[at]
    if not first & 0x80:
        raise bad_packet("no packet begins where one should")
    if first & 0x40:
        length, start = read_length(data, at + 1)
        return first & 0x3F, start, length
    size = {0: 1, 1: 2, 2: 4}.get(first & 0x03)
    if size is None:
        raise bad_packet("a packet of indeterminate length")
    start = at + 1 + size
    if start > len(data):
        raise bad_packet("a packet's length is cut off")
    return (first >> 2) & 0x0F, start, int.from_bytes(data[at + 1 : start], "big")


def read_length(data: bytes, at: int, *, subpacket: bool = False) -> tuple[int, int]:
    """A new-format length at ``at``, and where it ends.

    A first octet of 224 to 254 is a partial length in packets, and begins a two-octet one in subpackets.
    """
    if at >= len(data):
        raise bad_packet("a length is cut off")
    first = data[at]
    if first < 192:
        return first, at + 1
    if first == 255:
        if at + 5 > len(data):
            raise bad_packet("a length is cut off")
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    if first >= 224 and not subpacket:
        raise bad_packet("a packet of partial length")
    if at + 2 > len(data):
        raise bad_packet("a length is cut off")
    return ((first - 192) << 8) + data[at + 1] + 192, at + 2


def bad_packet(what: str) -> VerificationFailed:
    """The refusal of anything that is not read in one way only."""
    return VerificationFailed(what, rule="openpgp-packet", reading=Reading.EITHER)
