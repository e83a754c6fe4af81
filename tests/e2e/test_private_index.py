"""A private index with unmodified installers: credentials in the URL and in netrc; and Assay's own client."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Person
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, ask, running_house
from e2e.upload_clients import POETRY

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def private() -> Iterator[House]:
    with open_folder() as folder, running_house(folder, config='[access]\nread = "token"\n') as house:
        house.publish(("secretive", "1.0"))
        yield house


def read_token(house: House) -> str:
    done = house.operator("token", "create", "admin", "--action", "read")
    assert done.code == 0, done.said
    return done.said.strip()


def with_netrc(house: House, token: str) -> Person:
    person = house.stranger()
    person.folder.mkdir(parents=True)
    netrc = person.folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login __token__ password {token}\n", encoding="utf-8")
    netrc.chmod(0o600)
    return Person(person.folder, person.home, {**person.settings, "NETRC": str(netrc)})


def pip(person: Person, index: str) -> Done:
    options = ("--no-cache-dir", "--no-input", "--target", str(person.folder / "target"))
    return person.run(*PROGRAMS.pip, "install", "--index-url", index, *options, "secretive")


def uv(person: Person, index: str) -> Done:
    options = ("--no-cache", "--target", str(person.folder / "target"))
    return person.run(*PROGRAMS.uv, "pip", "install", "--default-index", index, *options, "secretive")


TOOLS = {"pip": pip, "uv": uv}


def installed(person: Person) -> bool:
    return (person.folder / "target" / "secretive.py").exists()


@pytest.mark.parametrize("tool", TOOLS)
def test_without_a_token_nothing_is_installed(private: House, tool: str) -> None:
    person = private.stranger()
    assert TOOLS[tool](person, private.index.simple_url).code != 0
    assert not installed(person)


@pytest.mark.parametrize("tool", TOOLS)
def test_with_a_token_in_the_url(private: House, tool: str) -> None:
    person, token = private.stranger(), read_token(private)
    url = private.index.simple_url.replace("://", f"://__token__:{token}@")
    done = TOOLS[tool](person, url)
    assert done.code == 0, done.said
    assert installed(person)


@pytest.mark.parametrize("tool", TOOLS)
def test_with_a_token_in_netrc(private: House, tool: str) -> None:
    person = with_netrc(private, read_token(private))
    done = TOOLS[tool](person, private.index.simple_url)
    assert done.code == 0, done.said
    assert installed(person)


BACKEND = """
import json, os
from keyring.backend import KeyringBackend
class FileKeyring(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        return json.load(open(os.environ["KEYRING_FILE"])).get(username)
    def set_password(self, service, username, password):
        raise NotImplementedError
    def delete_password(self, service, username):
        raise NotImplementedError
"""


@pytest.mark.parametrize("tool", TOOLS)
def test_with_a_token_in_a_keyring(private: House, tool: str) -> None:
    """The ``keyring`` program, with a backend that keeps its passwords in a file."""
    person, token = private.stranger(), read_token(private)
    person.folder.mkdir(parents=True)
    (person.folder / "file_keyring.py").write_text(BACKEND, encoding="utf-8")
    (person.folder / "passwords.json").write_text(json.dumps({"__token__": token}), encoding="utf-8")
    (person.folder / "bin").mkdir()  # pip passes the programs of its own environment over
    (person.folder / "bin" / "keyring").symlink_to(Path(sys.executable).with_name("keyring"))
    settings = {
        **person.settings,
        "PATH": f"{person.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(person.folder),
        "PYTHON_KEYRING_BACKEND": "file_keyring.FileKeyring",
        "KEYRING_FILE": str(person.folder / "passwords.json"),
        "PIP_KEYRING_PROVIDER": "subprocess",
        "UV_KEYRING_PROVIDER": "subprocess",
    }
    person = Person(person.folder, person.home, settings)
    done = TOOLS[tool](person, private.index.simple_url.replace("://", "://__token__@"))
    assert done.code == 0, done.said
    assert installed(person)


@pytest.mark.network
@pytest.mark.timeout(600)
def test_poetry_resolves_with_a_token(private: House, request: pytest.FixtureRequest) -> None:
    cache = request.config.cache
    assert cache is not None
    poetry = POETRY.program(Path(cache.mkdir("upload-clients")))
    person = private.stranger()
    person.folder.mkdir(parents=True)
    source = f'[[tool.poetry.source]]\nname = "house"\nurl = "{private.index.simple_url}"\npriority = "primary"\n'
    project = '[project]\nname = "mine"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = ["secretive"]\n'
    (person.folder / "pyproject.toml").write_text(project + source, encoding="utf-8")
    settings = {**person.settings, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    without = Person(person.folder, person.home, settings).run(str(poetry), "lock", "--no-interaction")
    assert without.code != 0
    basic = {"POETRY_HTTP_BASIC_HOUSE_USERNAME": "__token__", "POETRY_HTTP_BASIC_HOUSE_PASSWORD": read_token(private)}
    done = Person(person.folder, person.home, settings | basic).run(str(poetry), "lock", "--no-interaction")
    assert done.code == 0, done.said
    assert 'name = "secretive"' in (person.folder / "poetry.lock").read_text(encoding="utf-8")


def test_assays_own_client_reads_netrc(private: House, tmp_path: Path) -> None:
    person = with_netrc(private, read_token(private))
    done = person.run(*ASSAY, "trust", "add", private.index.url, "--fingerprint", private.index.fingerprint)
    assert done.code == 0, done.said
    options = ("--no-cache-dir", "--target", str(person.folder / "target"), "--index-url", private.index.simple_url)
    done = person.run(*ASSAY, "run", "--", *PROGRAMS.pip, "install", *options, "secretive")
    assert done.code == 0, done.said
    assert installed(person)


def test_the_use_of_a_token_is_noted(private: House) -> None:
    token = read_token(private)
    person = with_netrc(private, token)
    assert pip(person, private.index.simple_url).code == 0
    listed = private.operator("token", "list", "--json").said
    assert '"last_used": "20' in listed


def test_the_index_stays_healthy_for_monitors(private: House) -> None:
    assert ask(f"{private.index.url}healthz").status == 200
