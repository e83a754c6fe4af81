"""A private index with unmodified installers: credentials in the URL and in netrc; and Assay's own client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Person
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, ask, running_house

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
