"""PKCS#8 under scrypt: the one format of a private key at rest (RFC 5208, RFC 8018 PBES2, RFC 7914 section 7).

``cryptography`` writes only PBKDF2 with 2,048 rounds, which a graphics card guesses fast; so the envelope
(``EncryptedPrivateKeyInfo``) is written here, and read by ``cryptography`` itself or any other PKCS#8 reader.
Invariants: the salt and the initialisation vector are fresh; a file below ``MIN_LOG2_N`` is refused when read.
"""

import base64
import re
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from assay.model.errors import KeyUnavailable

DEFAULT_LOG2_N = 16
"""scrypt with N=2**16, r=8, p=1: 64 MiB and about 0.2 s for one guess."""
MIN_LOG2_N, MAX_LOG2_N = 14, 20
"""Accepted when read: 16 MiB (what ``openssl pkcs8 -scrypt`` writes) to 1 GiB."""

_BLOCK_SIZE, _PARALLEL, _SALT_BYTES, _KEY_BYTES, _IV_BYTES = 8, 1, 16, 32, 16
_PBES2 = "1.2.840.113549.1.5.13"
_SCRYPT = "1.3.6.1.4.1.11591.4.11"
_AES256_CBC = "2.16.840.1.101.3.4.1.42"
_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PEM = re.compile(rb"\A-----BEGIN ENCRYPTED PRIVATE KEY-----\s(.+?)-----END ENCRYPTED PRIVATE KEY-----\s*\Z", re.DOTALL)


def seal_pkcs8(private_key_info: bytes, passphrase: bytes, log2_n: int = DEFAULT_LOG2_N) -> bytes:
    """``private_key_info`` (DER of PKCS#8's PrivateKeyInfo) encrypted: PEM of an EncryptedPrivateKeyInfo."""
    salt, iv = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_IV_BYTES)
    key = Scrypt(salt=salt, length=_KEY_BYTES, n=1 << log2_n, r=_BLOCK_SIZE, p=_PARALLEL).derive(passphrase)
    padder = PKCS7(algorithms.AES.block_size).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(private_key_info) + padder.finalize()) + encryptor.finalize()
    costs = (1 << log2_n, _BLOCK_SIZE, _PARALLEL, _KEY_BYTES)
    kdf = _sequence(_oid(_SCRYPT), _sequence(_octets(salt), *(_integer(cost) for cost in costs)))
    cipher = _sequence(_oid(_AES256_CBC), _octets(iv))
    der = _sequence(_sequence(_oid(_PBES2), _sequence(kdf, cipher)), _octets(encrypted))
    return _pem(der)


def require_scrypt(pem: bytes, subject: str) -> None:
    """Raise KeyUnavailable unless ``pem`` is a PKCS#8 envelope under scrypt whose cost lies in the accepted range."""
    match = _PEM.match(pem)
    try:
        if match is None:
            raise ValueError("not PEM of an encrypted private key")
        cost = _scrypt_cost(base64.b64decode(b"".join(match[1].split()), validate=True))
    except (ValueError, IndexError) as error:
        raise KeyUnavailable(
            "this key file is not PKCS#8 encrypted under scrypt",
            rule="key-file-format",
            subject=subject,
            found=str(error),
            next_step="make the key with `assay key create`, or convert: openssl pkcs8 -topk8 -scrypt",
        ) from error
    if not 1 << MIN_LOG2_N <= cost <= 1 << MAX_LOG2_N:
        raise KeyUnavailable(
            "the key file's scrypt cost is out of bounds",
            rule="key-file-cost",
            subject=subject,
            expected=f"N from 2**{MIN_LOG2_N} to 2**{MAX_LOG2_N}",
            found=f"N={cost}",
        )


def _scrypt_cost(der: bytes) -> int:
    """N of the envelope. Raises ValueError or IndexError for any other structure."""
    algorithm, _encrypted = _children(der)
    scheme, parameters = _children(algorithm)
    _require_oid(scheme, _PBES2, "PBES2")
    kdf, cipher = _children(parameters)
    _require_oid(_children(kdf)[0], _SCRYPT, "scrypt")
    _require_oid(_children(cipher)[0], _AES256_CBC, "AES-256-CBC")
    _salt, cost, block_size, parallel, *_length = (value for _tag, value in _items(_children(kdf)[1]))
    if int.from_bytes(block_size, "big") != _BLOCK_SIZE or not 1 <= int.from_bytes(parallel, "big") <= 16:
        raise ValueError("scrypt's r is not 8, or p not in 1..16")
    if int.from_bytes(cost, "big").bit_count() != 1:
        raise ValueError("scrypt's N is not a power of two")
    return int.from_bytes(cost, "big")


def _require_oid(element: bytes, oid: str, name: str) -> None:
    if element != _oid(oid):
        raise ValueError(f"not {name}")


# --- the little DER (X.690) that this needs --------------------------------------------------------------------


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _sequence(*parts: bytes) -> bytes:
    return _tlv(_SEQUENCE, b"".join(parts))


def _octets(value: bytes) -> bytes:
    return _tlv(_OCTETS, value)


def _integer(value: int) -> bytes:
    return _tlv(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = bytes([first * 40 + second])
    for arc in rest:
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.insert(0, arc & 0x7F | 0x80)
        body += bytes(septets)
    return _tlv(_OID, body)


def _split(der: bytes) -> tuple[int, bytes, bytes, bytes]:
    """The first element of ``der``: its tag, its value, the whole element, and what follows it."""
    size, start = der[1], 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 3:
            raise ValueError("a DER length that is not used here")
        size, start = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    end = start + size
    if end > len(der):
        raise ValueError("truncated DER")
    return der[0], der[start:end], der[:end], der[end:]


def _items(sequence: bytes) -> list[tuple[int, bytes]]:
    """Tag and value of each child of a SEQUENCE."""
    return [(child[0], _split(child)[1]) for child in _children(sequence)]


def _children(sequence: bytes) -> list[bytes]:
    tag, body, _whole, trailing = _split(sequence)
    if tag != _SEQUENCE or trailing:
        raise ValueError("not one DER sequence")
    found = []
    while body:
        _tag, _value, element, body = _split(body)
        found.append(element)
    return found


def _pem(der: bytes) -> bytes:
    text = base64.b64encode(der)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n" + lines + b"\n-----END ENCRYPTED PRIVATE KEY-----\n"
