"""Private keys in files: PKCS#8 under scrypt, made exclusively, readable by their owner alone.

Invariants: a key file is written once and never over another file; it is on disk (file and folder) before its public
key is returned; a file that others may read is refused, not repaired; no passphrase appears in a message or a repr.
"""

import errno
import os
import stat
from enum import Enum
from pathlib import Path

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA87PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from assay.durable import make_folder, sync
from assay.keys.pkcs8 import DEFAULT_LOG2_N, require_scrypt, seal_pkcs8
from assay.model.errors import AlreadyExists, CallerError, KeyUnavailable

MAX_KEY_FILE_BYTES = 64_000
_PLAIN_PEM = b"-----BEGIN PRIVATE KEY-----"

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | MLDSA65PrivateKey | MLDSA87PrivateKey


class Scheme(Enum):
    """The signature schemes that Assay makes keys for; the value is TUF's ``scheme`` (ML-DSA: TAP 21)."""

    ED25519 = "ed25519"
    P256 = "ecdsa-sha2-nistp256"
    P384 = "ecdsa-sha2-nistp384"
    ML_DSA_65 = "ml-dsa-65/1"
    ML_DSA_87 = "ml-dsa-87/1"


SCHEMES = {scheme.name.lower().replace("_", "-"): scheme for scheme in Scheme}
"""The schemes as people type them: ``ed25519``, ``p256``, ``p384``, ``ml-dsa-65``, ``ml-dsa-87``."""


def create_key_file(path: Path, scheme: Scheme, passphrase: bytes | None, *, log2_n: int = DEFAULT_LOG2_N) -> SSlibKey:
    """Make a private key, write it to ``path`` (mode 0600, in a folder of mode 0700) and return its public key.

    ``passphrase`` None writes it unencrypted (for ``--insecure-dev-keys`` and systemd credentials only). ``log2_n``:
    scrypt's cost. Raises AlreadyExists when ``path`` exists, KeyUnavailable when the folder is open to others or cannot
    be written, CallerError for an empty passphrase.
    """
    if passphrase is not None and not passphrase:
        raise CallerError("an empty passphrase protects nothing", rule="empty-passphrase", subject=str(path))
    private_key = generate_private_key(scheme)
    plain = PrivateFormat.PKCS8, NoEncryption()
    if passphrase is None:
        data = private_key.private_bytes(Encoding.PEM, *plain)
    else:
        data = seal_pkcs8(private_key.private_bytes(Encoding.DER, *plain), passphrase, log2_n)
    make_private_folder(path.parent)
    write_private_file(path, data)
    return SSlibKey.from_crypto(private_key.public_key(), scheme=scheme.value)


def load_key_file(path: Path, passphrase: bytes | None) -> CryptoSigner:
    """The signer of the key at ``path``; ``passphrase`` None means that the file must be unencrypted.

    Raises KeyUnavailable when the file is missing, not a regular file, readable by group or world, not PKCS#8,
    protected by less than scrypt, or does not open with ``passphrase``.
    """
    return CryptoSigner(parse_private_key(read_private_file(path), passphrase, str(path)))


def parse_private_key(data: bytes, passphrase: bytes | None, subject: str) -> PrivateKey:
    """The key in ``data`` (PEM of PKCS#8). Raises KeyUnavailable as ``load_key_file`` does, naming ``subject``."""
    encrypted = _PLAIN_PEM not in data
    if encrypted and passphrase is None:
        raise KeyUnavailable("this key file needs a passphrase", rule="key-passphrase", subject=subject)
    if not encrypted and passphrase is not None:
        raise KeyUnavailable(
            "this key file is not encrypted, though a passphrase was given",
            rule="key-not-encrypted",
            subject=subject,
            next_step="find out who wrote it; unencrypted keys are used only where the configuration says so",
        )
    if encrypted:
        require_scrypt(data, subject)
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        raise KeyUnavailable(
            "the key file does not open: wrong passphrase, or damaged" if encrypted else "not a usable private key",
            rule="key-passphrase" if encrypted else "key-file-format",
            subject=subject,
        ) from error
    if not isinstance(key, PrivateKey):
        raise KeyUnavailable("a kind of key that is not used here", rule="key-file-format", subject=subject)
    return key


def generate_private_key(scheme: Scheme) -> PrivateKey:
    """A fresh private key. Raises KeyUnavailable where this machine's OpenSSL lacks the scheme."""
    try:
        match scheme:
            case Scheme.ED25519:
                return Ed25519PrivateKey.generate()
            case Scheme.P256:
                return ec.generate_private_key(ec.SECP256R1())
            case Scheme.P384:
                return ec.generate_private_key(ec.SECP384R1())
            case Scheme.ML_DSA_65:
                return MLDSA65PrivateKey.generate()
            case Scheme.ML_DSA_87:
                return MLDSA87PrivateKey.generate()
    except UnsupportedAlgorithm as error:
        raise KeyUnavailable("this machine cannot make such a key", subject=scheme.value, found=str(error)) from error


def make_private_folder(folder: Path) -> None:
    """Make ``folder`` and its missing parents with mode 0700. Raises KeyUnavailable when others may write in it."""
    make_folder(folder, mode=0o700)
    mode = folder.stat().st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyUnavailable(
            "others may write in this key folder",
            rule="key-folder-open",
            subject=str(folder),
            expected="mode 0700",
            found=f"mode {stat.S_IMODE(mode):04o}",
            next_step=f"chmod 700 {folder}",
        )


def write_private_file(path: Path, data: bytes) -> None:
    """Write ``data`` to the new file ``path``, mode 0600, durable with its folder; nothing is left when writing fails.

    Raises AlreadyExists when ``path`` exists (a dangling symbolic link too), KeyUnavailable when it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise AlreadyExists(
            "a file of this name exists; it is never overwritten",
            subject=str(path),
            next_step="if it is the key that you made before: go on without making one",
        ) from error
    except OSError as error:
        raise KeyUnavailable("the file cannot be made", subject=str(path), found=error.strerror) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyUnavailable("the file cannot be written", subject=str(path), found=error.strerror) from error


def read_private_file(path: Path, max_bytes: int = MAX_KEY_FILE_BYTES, *, allow_group: bool = False) -> bytes:
    """The bytes of a regular file that nobody but its owner may read.

    ``allow_group``: a systemd credential shows its access list as group bits. Raises KeyUnavailable for a missing
    file, a symbolic link, anything but a regular file, one that others may read or write, more than ``max_bytes``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        link = error.errno == errno.ELOOP
        raise KeyUnavailable(
            "a symbolic link is not followed to a private file" if link else "the file cannot be opened",
            subject=str(path),
            found=error.strerror,
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyUnavailable("not a regular file", subject=str(path))
        if status.st_mode & (stat.S_IRWXO if allow_group else stat.S_IRWXG | stat.S_IRWXO):
            raise KeyUnavailable(
                "others may read this file",
                rule="key-file-open",
                subject=str(path),
                expected="mode 0600",
                found=f"mode {stat.S_IMODE(status.st_mode):04o}",
                next_step=f"treat what it holds as known to others: replace it; or, if nobody else is on this machine, "
                f"chmod 600 {path}",
            )
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise KeyUnavailable("the file is too large", subject=str(path), expected=f"at most {max_bytes} bytes")
    return data
