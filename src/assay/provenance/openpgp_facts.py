"""Facts of OpenPGP signature and key packets (RFC 9580 sections 5.2 and 5.5) that the verifier does not expose.

Invariants: facts are claims, read before any cryptography; they can only refuse, never accept. Where a field may stand
twice in a signature's hashed area, the signature is refused, so that no two readers see different facts. Nothing here
is a signature check: ``digest_prefix_matches`` compares 16 bits, which tells a misplaced binding from a forged one.
"""

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, NewType

from assay.provenance.openpgp_packets import bad_packet, read_length

Fingerprint = NewType("Fingerprint", str)
"""A key's fingerprint as upper-case hex: 40 digits for version 4, 64 for version 6."""

HASH_NAMES: Final = {1: "MD5", 2: "SHA-1", 3: "RIPEMD-160", 8: "SHA-256", 9: "SHA-384", 10: "SHA-512",
                     11: "SHA-224", 12: "SHA3-256", 14: "SHA3-512"}  # fmt: skip
STRONG_HASHES: Final = {8: "sha256", 9: "sha384", 10: "sha512", 12: "sha3_256", 14: "sha3_512"}
"""Hash algorithms that are accepted, by their hashlib names (RFC 9580 section 9.5)."""

_CURVES: Final = {
    "2a8648ce3d030107": "NIST P-256",
    "2b81040022": "NIST P-384",
    "2b81040023": "NIST P-521",
    "2b06010401da470f01": "Ed25519",
    "2b8104000a": "secp256k1",
    "2b2403030208010107": "brainpoolP256r1",
    "2b240303020801010b": "brainpoolP384r1",
    "2b240303020801010d": "brainpoolP512r1",
}
_RSA, _RSA_ALONE, _DSA, _ECDSA, _EDDSA_LEGACY = (1, 2, 3), 1, 17, 19, 22
_FIXED_NAMES: Final = {27: "Ed25519", 28: "Ed448", 30: "ML-DSA-65+Ed25519", 31: "ML-DSA-87+Ed448"}
_OTHER_NAMES: Final = {16: "Elgamal", _DSA: "DSA", 18: "ECDH", 25: "X25519", 26: "X448"}
_ACCEPTED_CURVES: Final = {"NIST P-256", "NIST P-384", "NIST P-521", "Ed25519"}


class Kind(IntEnum):
    """Signature types (RFC 9580 section 5.2.1) that the house names."""

    BINARY = 0x00
    TEXT = 0x01
    SUBKEY_BINDING = 0x18
    PRIMARY_KEY_BINDING = 0x19
    DIRECT_KEY = 0x1F
    KEY_REVOCATION = 0x20
    SUBKEY_REVOCATION = 0x28


CERTIFICATIONS: Final = frozenset({0x10, 0x11, 0x12, 0x13})

MAX_KEY_BYTES: Final = 0xFFFF
"""A version 4 key is hashed with a length of two octets; no real key comes near."""

MAY_SIGN: Final = 0x02
"""The key flag of keys that may sign data (RFC 9580 section 5.2.3.29)."""


class _Sub(IntEnum):
    CREATED = 2
    EXPIRES = 3
    KEY_EXPIRES = 9
    ISSUER_KEY_ID = 16
    KEY_FLAGS = 27
    REVOCATION_REASON = 29
    EMBEDDED_SIGNATURE = 32
    ISSUER = 33


_ONCE: Final = frozenset({_Sub.CREATED, _Sub.EXPIRES, _Sub.KEY_EXPIRES, _Sub.KEY_FLAGS, _Sub.ISSUER})


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """What a signature packet claims. Times in UTC; lifetimes in seconds, None or 0 for ever.

    ``issuer``: from the hashed area only. ``embedded``: bodies of embedded signatures. ``hashed``: the part of the
    packet that its own hash covers; ``prefix``: the first two bytes of that hash; ``salt``: version 6 only.
    """

    version: int
    kind: int
    hash_algorithm: int
    created: datetime | None
    expires_after: int | None
    key_expires_after: int | None
    key_flags: int | None
    issuer: Fingerprint | None
    revocation_reason: int | None
    embedded: tuple[bytes, ...]
    hashed: bytes
    prefix: bytes
    salt: bytes

    @property
    def hash_name(self) -> str:
        """The hash algorithm's name for people."""
        return HASH_NAMES.get(self.hash_algorithm, f"hash algorithm {self.hash_algorithm}")


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a public key packet says. ``rsa_bits`` is None for other algorithms; ``body`` is the packet's body."""

    version: int
    created: datetime
    algorithm: str
    accepted: bool
    rsa_bits: int | None
    fingerprint: Fingerprint
    body: bytes

    @property
    def hashed_form(self) -> bytes:
        """The key as signatures and fingerprints hash it (RFC 9580 section 5.2.4)."""
        return _hashed_form(self.version, self.body)


class _Reader:
    """Takes fields off the front of ``data``; refuses to read past its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise bad_packet("a packet's content is cut off")
        taken, self.at = self.data[self.at : end], end
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")


def signature_version(body: bytes) -> int:
    """The version of a signature packet, to be looked at before ``parse_signature_facts``."""
    return _Reader(body).number(1)


def parse_signature_facts(body: bytes) -> SignatureFacts:
    """Read the body of a signature packet of version 4 or 6.

    Raises VerificationFailed (``openpgp-packet``) for other versions, cut-off fields, or a hashed field given twice.
    """
    reader = _Reader(body)
    version, kind, _public_key_algorithm, hash_algorithm = reader.take(4)
    if version not in (4, 6):
        raise bad_packet(f"a signature of version {version}")
    count_size = 2 if version == 4 else 4
    hashed_area = reader.take(reader.number(count_size))
    hashed = body[: reader.at]
    unhashed_area = reader.take(reader.number(count_size))
    prefix = reader.take(2)
    salt = reader.take(reader.number(1)) if version == 6 else b""
    own, other = _subpackets(hashed_area), _subpackets(unhashed_area)
    if any(len(own.get(kind, ())) > 1 for kind in _ONCE):
        raise bad_packet("a signature says the same thing twice")
    created = _number(own, _Sub.CREATED, 4)
    reason = own.get(_Sub.REVOCATION_REASON, [])
    return SignatureFacts(
        version=version,
        kind=kind,
        hash_algorithm=hash_algorithm,
        created=None if created is None else _moment(created),
        expires_after=_number(own, _Sub.EXPIRES, 4),
        key_expires_after=_number(own, _Sub.KEY_EXPIRES, 4),
        key_flags=own[_Sub.KEY_FLAGS][0][0] if own.get(_Sub.KEY_FLAGS) and own[_Sub.KEY_FLAGS][0] else None,
        issuer=_issuer(own),
        revocation_reason=reason[0][0] if reason and reason[0] else None,
        embedded=(*own.get(_Sub.EMBEDDED_SIGNATURE, ()), *other.get(_Sub.EMBEDDED_SIGNATURE, ())),
        hashed=hashed,
        prefix=prefix,
        salt=salt,
    )


def _subpackets(area: bytes) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(area):
        length, start = read_length(area, at, subpacket=True)
        if length == 0 or start + length > len(area):
            raise bad_packet("a subpacket is cut off")
        found.setdefault(area[start] & 0x7F, []).append(area[start + 1 : start + length])
        at = start + length
    return found


def _number(area: dict[int, list[bytes]], kind: _Sub, size: int) -> int | None:
    if kind not in area:
        return None
    if len(area[kind][0]) != size:
        raise bad_packet("a subpacket has the wrong length")
    return int.from_bytes(area[kind][0], "big")


def _issuer(area: dict[int, list[bytes]]) -> Fingerprint | None:
    if _Sub.ISSUER not in area:
        return None
    value = area[_Sub.ISSUER][0]
    if len(value) < 1 or len(value) != {4: 21, 6: 33}.get(value[0]):
        raise bad_packet("an issuer fingerprint has the wrong length")
    return Fingerprint(value[1:].hex().upper())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def parse_key_facts(body: bytes) -> KeyFacts:
    """Read the body of a public key or public subkey packet of version 4 or 6. Raises VerificationFailed otherwise."""
    reader = _Reader(body)
    version = reader.number(1)
    if version not in (4, 6):
        raise bad_packet(f"a key of version {version}")
    if len(body) > MAX_KEY_BYTES:
        raise bad_packet("a key is too large")
    created = _moment(reader.number(4))
    number = reader.number(1)
    if version == 6 and reader.number(4) != len(body) - reader.at:
        raise bad_packet("a key's material has the wrong length")
    bits = reader.number(2) if number in _RSA else None
    algorithm, accepted = _algorithm(number, bits, reader)
    return KeyFacts(version, created, algorithm, accepted, bits, _fingerprint(version, body), body)


def _algorithm(number: int, bits: int | None, reader: _Reader) -> tuple[str, bool]:
    """The algorithm's name for people, and whether signatures of it are accepted (short RSA is refused on its own)."""
    if bits is not None:
        return f"RSA {bits}", number == _RSA_ALONE
    if number in (_ECDSA, _EDDSA_LEGACY):
        oid = reader.take(reader.number(1)).hex()
        name = _CURVES.get(oid, f"curve {oid}")
        return name, name in _ACCEPTED_CURVES
    if number in _FIXED_NAMES:
        return _FIXED_NAMES[number], True
    return _OTHER_NAMES.get(number, f"algorithm {number}"), False


def _hashed_form(version: int, body: bytes) -> bytes:
    if version == 6:
        return b"\x9b" + struct.pack(">I", len(body)) + body
    return b"\x99" + struct.pack(">H", len(body)) + body


def _fingerprint(version: int, body: bytes) -> Fingerprint:
    form = _hashed_form(version, body)
    if version == 6:
        return Fingerprint(hashlib.sha256(form).hexdigest().upper())
    # RFC 9580 section 5.5.4.2: a version 4 fingerprint is SHA-1 by definition
    return Fingerprint(hashlib.sha1(form, usedforsecurity=False).hexdigest().upper())


def digest_prefix_matches(signature: SignatureFacts, *signed: bytes) -> bool:
    """Whether ``signature``'s two plain bytes of its hash fit the things it is said to cover (RFC 9580 section 5.2.4).

    False proves that it was not made over these things; True proves nothing. Weak hash algorithms are never matched.
    """
    name = STRONG_HASHES.get(signature.hash_algorithm)
    if name is None:
        return False
    digest = hashlib.new(name, signature.salt)
    for part in signed:
        digest.update(part)
    digest.update(signature.hashed)
    digest.update(bytes([signature.version, 0xFF]) + struct.pack(">I", len(signature.hashed)))
    return digest.digest()[:2] == signature.prefix
