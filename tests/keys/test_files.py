"""Key files: what a reader of the folder sees, what opens them, and what is refused."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from securesystemslib.signer import SSlibKey

from assay.keys.custody import open_signer
from assay.keys.files import Scheme, create_key_file, generate_private_key, load_key_file
from assay.keys.pkcs8 import seal_pkcs8
from assay.model.errors import AlreadyExists, CallerError, KeyUnavailable

CHEAP = 14
"""scrypt's cost in tests that are not about it, as log2 of N."""


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_key_of_every_scheme_signs_after_a_round_trip(tmp_path: Path, scheme: Scheme) -> None:
    path = tmp_path / "key"
    public = create_key_file(path, scheme, b"correct horse", log2_n=CHEAP)

    signer = load_key_file(path, b"correct horse")

    assert signer.public_key == public
    assert public.scheme == scheme.value
    public.verify_signature(signer.sign(b"payload"), b"payload")


def test_a_key_file_is_private_and_durable_in_a_private_folder(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "online" / "bin"
    create_key_file(path, Scheme.ED25519, b"p", log2_n=CHEAP)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_the_default_cost_is_real_scrypt_that_pyca_reads_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "key"
    public = create_key_file(path, Scheme.P256, b"p")

    loaded = load_pem_private_key(path.read_bytes(), b"p")

    assert SSlibKey.from_crypto(loaded.public_key()).keyid == public.keyid
    printed = subprocess.run(["openssl", "asn1parse", "-in", path], check=True, capture_output=True, text=True).stdout
    assert "PBES2" in printed
    assert "scrypt" in printed
    assert ":010000" in printed  # N = 65536


def test_openssl_reads_the_envelope(tmp_path: Path) -> None:
    """At a cost below the 32 MiB that the openssl command allows itself; the encoding is the same at every cost."""
    path = tmp_path / "key"
    public = create_key_file(path, Scheme.ED25519, b"p", log2_n=CHEAP)

    plain = subprocess.run(
        ["openssl", "pkcs8", "-in", path, "-passin", "pass:p"], check=True, capture_output=True
    ).stdout

    assert SSlibKey.from_crypto(load_pem_private_key(plain, None).public_key()).keyid == public.keyid


def test_what_openssl_writes_with_scrypt_opens(tmp_path: Path) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", plain], check=True)
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-in", plain, "-out", sealed, "-passout", "pass:p"], check=True
    )
    sealed.chmod(0o600)

    assert load_key_file(sealed, b"p").public_key.scheme == "ed25519"


@pytest.mark.parametrize(
    "options", [["-v2", "aes-256-cbc", "-iter", "2048"], ["-scrypt", "-scrypt_N", "8192", "-scrypt_r", "8"]]
)
def test_a_key_under_a_cheap_kdf_is_refused(tmp_path: Path, options: list[str]) -> None:
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", plain], check=True)
    command: list[str | Path] = [
        "openssl",
        "pkcs8",
        "-topk8",
        *options,
        "-in",
        plain,
        "-out",
        sealed,
        "-passout",
        "pass:p",
    ]
    subprocess.run(command, check=True)
    sealed.chmod(0o600)

    with pytest.raises(KeyUnavailable, match="scrypt"):
        load_key_file(sealed, b"p")


def test_a_wrong_passphrase_is_refused_without_repeating_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path, Scheme.ED25519, b"right-one", log2_n=CHEAP)

    with pytest.raises(KeyUnavailable) as caught:
        load_key_file(path, b"wrong-one")

    assert "wrong-one" not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    create_key_file(path, Scheme.ED25519, b"p", log2_n=CHEAP)
    path.chmod(mode)

    with pytest.raises(KeyUnavailable, match="others may read") as caught:
        load_key_file(path, b"p")
    assert caught.value.found == f"mode {mode:04o}"


def test_missing_linked_and_special_files_are_refused(tmp_path: Path) -> None:
    create_key_file(tmp_path / "key", Scheme.ED25519, b"p", log2_n=CHEAP)
    (tmp_path / "link").symlink_to("key")
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    (tmp_path / "large").chmod(0o600)

    for name in ("absent", "link", "fifo", "large"):
        with pytest.raises(KeyUnavailable):
            load_key_file(tmp_path / name, b"p")


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = create_key_file(path, Scheme.ED25519, b"p", log2_n=CHEAP)

    with pytest.raises(AlreadyExists):
        create_key_file(path, Scheme.ED25519, b"p", log2_n=CHEAP)
    assert load_key_file(path, b"p").public_key == first


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(KeyUnavailable, match="others may write"):
        create_key_file(folder / "key", Scheme.ED25519, b"p", log2_n=CHEAP)
    assert list(folder.iterdir()) == []


def test_no_encryption_is_only_taken_when_it_was_asked_for(tmp_path: Path) -> None:
    create_key_file(tmp_path / "plain", Scheme.ED25519, None)
    create_key_file(tmp_path / "sealed", Scheme.ED25519, b"p", log2_n=CHEAP)

    assert load_key_file(tmp_path / "plain", None).public_key.scheme == "ed25519"
    with pytest.raises(KeyUnavailable, match="not encrypted"):
        load_key_file(tmp_path / "plain", b"p")
    with pytest.raises(KeyUnavailable, match="needs a passphrase"):
        load_key_file(tmp_path / "sealed", None)
    with pytest.raises(CallerError, match="empty passphrase"):
        create_key_file(tmp_path / "third", Scheme.ED25519, b"")


def test_a_damaged_file_never_opens_as_another_key(tmp_path: Path) -> None:
    """The envelope is not authenticated (CBC), the public key is: it comes from signed metadata."""
    private = generate_private_key(Scheme.ED25519)
    public = SSlibKey.from_crypto(private.public_key())
    whole = seal_pkcs8(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), b"p", CHEAP)
    path = tmp_path / "key"
    refused = 0
    for at in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[at] ^= 0x15
        path.write_bytes(damaged)
        path.chmod(0o600)
        try:
            signer = open_signer(f"keyfile:{path}", public, lambda _name: "p")
        except KeyUnavailable:
            refused += 1
        else:
            public.verify_signature(signer.sign(b"x"), b"x")  # an unused bit of the base64
    assert refused > len(whole) // 5 - 5
