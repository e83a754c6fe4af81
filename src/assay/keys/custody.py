"""One interface to every private key: a securesystemslib ``Signer`` by URI. Changing a URI moves a key's custody.

| URI | what it is |
| --- | --- |
| ``keyfile:<path>`` | scrypt PKCS#8 (``assay.keys.files``); asks for the "passphrase" |
| ``file2:<path>`` | unencrypted PKCS#8, refused when others may read it |
| ``credential:<name>`` | unencrypted PKCS#8 that systemd put in ``$CREDENTIALS_DIRECTORY`` |
| ``hsm:<id>?label=<token>`` | PKCS#11, one open session (``assay.keys.tokens``); asks for the "pin" |
| ``awskms:``, ``gcpkms:``, ``azurekms:``, ``hv:`` | securesystemslib's own signers of AWS, Google, Azure, Vault |

Invariants: a signer is returned only for the very public key that was asked for; every failure is KeyUnavailable; a
signature leaves ``sign_bytes`` only after it verified.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from securesystemslib.exceptions import (
    KeyMismatchError,
    UnsupportedLibraryError,
    UnverifiedSignatureError,
)
from securesystemslib.signer import (
    AWSSigner,
    AzureSigner,
    CryptoSigner,
    GCPSigner,
    Key,
    Signature,
    Signer,
    SSlibKey,
    VaultSigner,
)

from assay.keys.files import PrivateKey, Scheme, create_key_file, parse_private_key, read_private_file
from assay.keys.passphrase import SecretsProvider
from assay.model.errors import KeyUnavailable

CLOUD_EXTRAS = {"awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hv": "vault"}
"""URI scheme of a KMS: the extra of securesystemslib (and of assay) that brings its client library."""

_CREDENTIAL = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")


def open_signer(uri: str, public_key: Key, secrets: SecretsProvider, environ: Mapping[str, str] = os.environ) -> Signer:
    """The signer of ``public_key`` whose private half lies at ``uri``.

    Raises KeyUnavailable when the scheme is unknown, its library is not installed, the key cannot be reached or
    opened, or it is another key than ``public_key``.
    """
    scheme, separator, rest = uri.partition(":")
    if not separator:
        raise KeyUnavailable("not a key URI", subject=uri, expected="<scheme>:<where>", rule="key-uri")
    if scheme in ("keyfile", "file2"):
        passphrase = secrets("passphrase").encode() if scheme == "keyfile" else None
        return _matching(parse_private_key(read_private_file(Path(unquote(rest))), passphrase, rest), public_key, uri)
    if scheme == "credential":
        return _matching(_load_credential(rest, environ), public_key, uri)
    if scheme == "hsm":
        return _open_token(uri, public_key, secrets, environ)
    if scheme in CLOUD_EXTRAS:
        return _open_cloud(uri, CLOUD_EXTRAS[scheme], public_key, secrets)
    raise KeyUnavailable(
        "unknown scheme of a key URI",
        subject=uri,
        rule="key-uri",
        expected="keyfile:, file2:, credential:, hsm:, awskms:, gcpkms:, azurekms: or hv:",
    )


def sign_bytes(signer: Signer, payload: bytes) -> Signature:
    """``payload`` signed, and the signature checked with the signer's own public key before it is handed out.

    Raises KeyUnavailable when the device or service does not sign, or signs wrongly (a fault, or another key).
    """
    try:
        signature = signer.sign(payload)
        signer.public_key.verify_signature(signature, payload)
    except KeyUnavailable:
        raise
    except UnverifiedSignatureError as error:
        raise KeyUnavailable(
            "the key made a signature that does not verify", rule="bad-signature", subject=signer.public_key.keyid
        ) from error
    except Exception as error:  # vendors' libraries have errors of their own
        raise KeyUnavailable(
            "the key did not sign", subject=signer.public_key.keyid, found=f"{type(error).__name__}: {error}"
        ) from error
    return signature


def read_public_key(uri: str, secrets: SecretsProvider, environ: Mapping[str, str] = os.environ) -> SSlibKey:
    """The public half of the key at ``uri``, for the first time that it is met. Raises KeyUnavailable."""
    scheme, _, rest = uri.partition(":")
    if scheme in ("keyfile", "file2"):
        passphrase = secrets("passphrase").encode() if scheme == "keyfile" else None
        private = parse_private_key(read_private_file(Path(unquote(rest))), passphrase, rest)
        return SSlibKey.from_crypto(private.public_key())
    if scheme == "hsm":
        try:
            from assay.keys.token_keys import read_token_key
            from assay.keys.tokens import parse_token_uri
        except ImportError as error:
            raise _library_missing(uri, "hsm") from error
        return read_token_key(parse_token_uri(uri, environ), secrets)
    if scheme in CLOUD_EXTRAS:
        return _import_cloud(uri, scheme, rest)
    raise KeyUnavailable("the public half of such a key cannot be read", subject=uri, rule="key-uri")


def create_key(uri: str, scheme: Scheme, secrets: SecretsProvider, environ: Mapping[str, str] = os.environ) -> SSlibKey:
    """Make a key at ``uri``: a file, or inside a token. Raises AlreadyExists, or KeyUnavailable."""
    kind, _, rest = uri.partition(":")
    if kind in ("keyfile", "file2"):
        passphrase = secrets("passphrase").encode() if kind == "keyfile" else None
        return create_key_file(Path(unquote(rest)), scheme, passphrase)
    if kind == "hsm":
        try:
            from assay.keys.token_keys import create_token_key
            from assay.keys.tokens import parse_token_uri
        except ImportError as error:
            raise _library_missing(uri, "hsm") from error
        return create_token_key(parse_token_uri(uri, environ), scheme, secrets)
    raise KeyUnavailable(
        "keys are made in files and tokens only",
        subject=uri,
        rule="key-uri",
        next_step="make a KMS key with its own tools and enrol it by its URI",
    )


def custody_facts(uri: str, secrets: SecretsProvider, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What this machine says of the key's place, for people to read. It is no proof."""
    kind = uri.partition(":")[0]
    if kind == "hsm":
        from assay.keys.token_keys import token_facts
        from assay.keys.tokens import parse_token_uri

        facts = token_facts(parse_token_uri(uri, environ), secrets)
        return {"kind": "PKCS#11 token"} | {name: str(value) for name, value in facts.items()}
    names = {
        "keyfile": "file, encrypted under scrypt",
        "file2": "file, NOT encrypted",
        "credential": "systemd credential",
    }
    return {"kind": names.get(kind, f"key service ({kind})")}


def key_file_uri(path: Path, *, encrypted: bool = True) -> str:
    """The URI of a key file."""
    return f"{'keyfile' if encrypted else 'file2'}:{path}"


def _load_credential(name: str, environ: Mapping[str, str]) -> PrivateKey:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise KeyUnavailable(
            "systemd gave this process no credentials",
            subject=name,
            rule="key-credential",
            next_step="add LoadCredentialEncrypted= to the signer's unit",
        )
    if not _CREDENTIAL.match(name):
        raise KeyUnavailable("not a credential's name", subject=repr(name), rule="key-credential")
    return parse_private_key(read_private_file(Path(folder) / name, allow_group=True), None, name)


def _matching(private_key: PrivateKey, public_key: Key, uri: str) -> CryptoSigner:
    """The signer of ``private_key`` under the identity (key id, scheme) of ``public_key``, if it is that key."""
    if not isinstance(public_key, SSlibKey):
        raise KeyUnavailable("not a kind of key that signs here", subject=uri, found=public_key.keytype)
    try:
        return CryptoSigner(private_key, public_key)
    except (KeyMismatchError, ValueError) as error:
        raise KeyUnavailable(
            "this is another key than the one trusted",
            rule="key-mismatch",
            subject=uri,
            expected=public_key.keyid,
            found=SSlibKey.from_crypto(private_key.public_key()).keyid,
        ) from error


def _open_token(uri: str, public_key: Key, secrets: SecretsProvider, environ: Mapping[str, str]) -> Signer:
    try:
        from assay.keys.token_keys import open_token_signer
        from assay.keys.tokens import parse_token_uri
    except ImportError as error:
        raise _library_missing(uri, "hsm") from error
    return open_token_signer(parse_token_uri(uri, environ), public_key, secrets)


def _library_missing(uri: str, extra: str) -> KeyUnavailable:
    return KeyUnavailable(
        "the library for this kind of key is not installed",
        subject=uri,
        rule="key-library",
        next_step=f"pip install 'assay[{extra}]'",
    )


def _import_cloud(uri: str, scheme: str, rest: str) -> SSlibKey:
    """securesystemslib's ``import_`` of the service that ``uri`` names."""
    readers: dict[str, Callable[[], tuple[str, Key]]] = {
        "awskms": lambda: AWSSigner.import_(rest),
        "gcpkms": lambda: GCPSigner.import_(rest),
        "azurekms": lambda: AzureSigner.import_(*_azure_names(uri)),
        "hv": lambda: VaultSigner.import_(rest.split("/")[0]),
    }
    try:
        found_uri, key = readers[scheme]()
    except UnsupportedLibraryError as error:
        raise _library_missing(uri, CLOUD_EXTRAS[scheme]) from error
    except Exception as error:  # vendors' libraries have errors of their own
        raise KeyUnavailable(
            "the key service gave no key", subject=uri, found=f"{type(error).__name__}: {error}"
        ) from error
    if found_uri != uri or not isinstance(key, SSlibKey):
        raise KeyUnavailable("the key service has another version of this key", subject=uri, found=found_uri)
    return key


def _azure_names(uri: str) -> tuple[str, str]:
    """Vault and key of ``azurekms://<vault>.vault.azure.net/keys/<key>/<version>``."""
    parts = urlsplit(uri)
    return (parts.hostname or "").split(".")[0], parts.path.strip("/").split("/")[1]


def _open_cloud(uri: str, extra: str, public_key: Key, secrets: SecretsProvider) -> Signer:
    try:
        return Signer.from_priv_key_uri(uri, public_key, secrets)
    except UnsupportedLibraryError as error:
        raise _library_missing(uri, extra) from error
    except Exception as error:  # vendors' libraries have errors of their own
        raise KeyUnavailable(
            "the key service gave no key", subject=uri, found=f"{type(error).__name__}: {error}"
        ) from error
