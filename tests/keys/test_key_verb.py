"""``assay key`` at the command line: keys are made once, shown without secrets, measured."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from assay.cli.key import command
from assay.keys.files import Scheme, load_key_file
from assay.model.errors import AlreadyExists, AssayError, KeyUnavailable
from keys.room import ONLINE, PlanText, Room


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    monkeypatch.setenv("ASSAY_PASSPHRASE_FILE", str(path))
    return "correct horse"


def run(*arguments: str, **options: object) -> Result:
    return CliRunner().invoke(command, list(arguments), **options)  # type: ignore[arg-type]


def test_a_key_is_made_once_and_shown_without_its_secret(tmp_path: Path, secret: str) -> None:
    uri = f"keyfile:{tmp_path / 'keys' / 'mine.pem'}"
    made = run("create", uri, "--scheme", "p256", "--json")
    shown = run("show", uri, "--json")
    assert made.exit_code == shown.exit_code == 0
    assert json.loads(made.output)["keyid"] == json.loads(shown.output)["keyid"]
    assert json.loads(shown.output)["custody"] == {"kind": "file, encrypted under scrypt"}
    assert secret not in made.output + shown.output
    assert load_key_file(tmp_path / "keys" / "mine.pem", secret.encode()).public_key.scheme == Scheme.P256.value
    assert isinstance(run("create", uri).exception, AlreadyExists)


def test_a_key_is_not_made_in_an_index_data_folder(tmp_path: Path, secret: str) -> None:
    (tmp_path / "data" / "published" / "tuf").mkdir(parents=True)
    refused = run("create", f"keyfile:{tmp_path / 'data' / 'root.pem'}")
    assert isinstance(refused.exception, KeyUnavailable)
    assert not (tmp_path / "data" / "root.pem").exists()


def test_signatures_per_second_are_measured_for_each_kind(tmp_path: Path, secret: str) -> None:
    uri = f"keyfile:{tmp_path / 'mine.pem'}"
    run("create", uri)
    rates = json.loads(run("bench", "--seconds", "0.02", "--key", uri, "--json").output)["signatures_per_second"]
    assert f"ed25519 at {uri}" in rates
    assert {f"{scheme.value} in memory" for scheme in Scheme} <= set(rates)
    assert all(rate > 10 for rate in rates.values())


def test_online_keys_are_made_once_also_when_it_is_run_again(tmp_path: Path, secret: str) -> None:
    room = Room(tmp_path / "room")
    room.begin(PlanText())
    arguments = ["rotate-online", "--data", str(tmp_path / "data"), "--stick", str(room.stick_path)]
    first = run(*arguments, obj=room.at("index"))
    again = run(*arguments, obj=room.at("index"))
    assert first.exit_code == again.exit_code == 0, (first.exception, again.exception)
    assert first.output == again.output
    folder = tmp_path / "data" / "keys" / "online"
    assert sorted(path.name for path in folder.iterdir()) == ["bin.pem", "log.pem", "snapshot.pem", "timestamp.pem"]
    assert all(name in first.output for name in ONLINE)


def test_a_key_elsewhere_is_enrolled_by_its_uri(tmp_path: Path, secret: str) -> None:
    room = Room(tmp_path / "room")
    room.begin(PlanText())
    uri = f"keyfile:{tmp_path / 'elsewhere.pem'}"
    run("create", uri)
    arguments = ["rotate-online", "--data", str(tmp_path / "data"), "--stick", str(room.stick_path)]
    assert run(*arguments, "--key", f"timestamp-1={uri}", obj=room.at("index")).exit_code == 0
    assert not (tmp_path / "data" / "keys" / "online" / "timestamp.pem").exists()
    assert isinstance(run(*arguments, "--key", "ana=x", obj=room.at("index")).exception, AssayError)
