"""Keys by URI: the same key wherever it lies, another key never; and where passphrases come from."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from securesystemslib.signer import SSlibKey

from assay.keys.custody import key_file_uri, open_signer, sign_bytes
from assay.keys.files import Scheme, create_key_file
from assay.keys.passphrase import SecretFromDescriptor, SecretFromFile, SecretOnce, secrets_from_environment
from assay.model.errors import CallerError, KeyUnavailable

CHEAP = 14


def answer(_name: str) -> str:
    return "p"


def no_secrets(name: str) -> str:
    raise KeyUnavailable(f"asked for {name}")


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[str, SSlibKey]:
    path = tmp_path / "sealed key"
    public = create_key_file(path, Scheme.ED25519, b"p", log2_n=CHEAP)
    return key_file_uri(path), public


def test_a_sealed_key_opens_by_uri_and_signs(sealed: tuple[str, SSlibKey]) -> None:
    uri, public = sealed
    signature = sign_bytes(open_signer(uri, public, answer), b"payload")
    public.verify_signature(signature, b"payload")


def test_a_plain_key_opens_without_a_question_but_not_when_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    public = create_key_file(path, Scheme.P384, None)

    assert open_signer(key_file_uri(path, encrypted=False), public, no_secrets).public_key == public
    path.chmod(0o644)
    with pytest.raises(KeyUnavailable, match="others may read"):
        open_signer(f"file2:{path}", public, no_secrets)


def test_a_systemd_credential_opens_with_the_group_bits_of_its_access_list(tmp_path: Path) -> None:
    public = create_key_file(tmp_path / "timestamp", Scheme.ED25519, None)
    (tmp_path / "timestamp").chmod(0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert open_signer("credential:timestamp", public, no_secrets, environ).public_key == public
    with pytest.raises(KeyUnavailable, match="systemd"):
        open_signer("credential:timestamp", public, no_secrets, {})
    with pytest.raises(KeyUnavailable, match="credential's name"):
        open_signer("credential:../timestamp", public, no_secrets, environ)


def test_another_key_behind_the_uri_is_refused(sealed: tuple[str, SSlibKey], tmp_path: Path) -> None:
    uri, _public = sealed
    for scheme in (Scheme.ED25519, Scheme.P256):
        other = create_key_file(tmp_path / scheme.name, scheme, None)
        with pytest.raises(KeyUnavailable, match="another key") as caught:
            open_signer(uri, other, answer)
        assert caught.value.expected == other.keyid


def test_the_key_keeps_the_id_that_the_metadata_gives_it(sealed: tuple[str, SSlibKey]) -> None:
    uri, public = sealed
    renamed = SSlibKey("chosen-id", public.keytype, public.scheme, public.keyval)
    assert sign_bytes(open_signer(uri, renamed, answer), b"x").keyid == "chosen-id"


@pytest.mark.parametrize("uri", ["", "nothing", "gnupg:", "file:/etc/passwd", "https://example.org/key"])
def test_unknown_schemes_are_refused(uri: str, sealed: tuple[str, SSlibKey]) -> None:
    with pytest.raises(KeyUnavailable):
        open_signer(uri, sealed[1], answer)


@pytest.mark.parametrize("scheme", ["awskms", "gcpkms", "azurekms", "hv"])
def test_a_cloud_key_without_its_library_or_service_says_so(scheme: str, sealed: tuple[str, SSlibKey]) -> None:
    with pytest.raises(KeyUnavailable, match=r"key service|not installed|did not sign"):
        sign_bytes(open_signer(f"{scheme}:nowhere/1", sealed[1], answer), b"x")


def test_a_passphrase_file_gives_its_first_line_unless_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\nanything else\n")
    path.chmod(0o600)
    assert SecretFromFile(path)("passphrase") == "correct horse"
    path.chmod(0o640)
    with pytest.raises(KeyUnavailable, match="others may read"):
        SecretFromFile(path)("passphrase")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 10_000])
def test_unusable_secrets_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyUnavailable):
        SecretFromFile(path)("passphrase")


def test_a_descriptor_is_read_once_closed_and_not_shown() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"correct horse\n")
    os.close(writer)
    provider = secrets_from_environment({"ASSAY_PASSPHRASE_FD": str(reader)})

    assert provider("passphrase") == "correct horse"
    assert provider("passphrase") == "correct horse"
    assert "correct" not in repr(provider)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(reader)


def test_a_closed_descriptor_and_two_sources_are_refused() -> None:
    with pytest.raises(KeyUnavailable):
        SecretFromDescriptor(987)("passphrase")
    with pytest.raises(CallerError, match="two sources"):
        secrets_from_environment({"ASSAY_PASSPHRASE_FD": "3", "ASSAY_PASSPHRASE_FILE": "f"})
    with pytest.raises(CallerError, match="number"):
        secrets_from_environment({"ASSAY_PASSPHRASE_FD": "x"})


def test_a_prompt_asks_without_echo_and_nobody_there_is_an_error() -> None:
    import click

    @click.command()
    def ask() -> None:
        provider = SecretOnce(secrets_from_environment({}, "root 1"))
        click.echo(f"{len(provider('passphrase'))} {len(provider('passphrase'))}")

    asked = CliRunner().invoke(ask, input="correct horse\n")
    assert "Passphrase for root 1" in asked.output
    assert "correct" not in asked.output
    assert asked.output.endswith("13 13\n")
    assert isinstance(CliRunner().invoke(ask, input="").exception, KeyUnavailable)
