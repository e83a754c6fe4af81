"""``assay lock pin`` with real resolvers: hashes of signed targets, build dependencies, nothing on failure."""

import json
import tomllib
from collections.abc import Iterator

import pytest
from packaging.pylock import Pylock

from assay.cli.demo.programs import ASSAY, Done, Environment, Person
from client.small_distributions import backend_wheel, build_sdist, build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, running_house
from e2e.installers import modules

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

SDIST = build_sdist("fromsource", "1.0", build_requires=["backend"], backend="backend_backend")
BACKEND = backend_wheel("backend", build_wheel("fromsource", "1.0"), "fromsource-1.0-py3-none-any.whl")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        running.publish(("dep", "1.0"), ("other", "2.0"))
        needing = build_wheel("demo", "1.0", requires=["dep"])
        assert running.upload("demo-1.0-py3-none-any.whl", needing).status == 200
        assert running.upload("fromsource-1.0.tar.gz", SDIST).status == 200
        assert running.upload("backend-1.0-py3-none-any.whl", BACKEND).status == 200
        yield running


@pytest.fixture
def user(house: House) -> Person:
    simple = house.index.simple_url
    return house.user(PIP_INDEX_URL=simple, UV_DEFAULT_INDEX=simple)


def pin(user: Person, requirements: str, *words: str) -> Done:
    (user.folder / "requirements.in").write_text(requirements)
    return user.run(*ASSAY, "lock", "pin", "requirements.in", *words)


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_pinned_requirements_install_with_hashes_and_verify(user: Person, resolver: str) -> None:
    done = pin(user, "demo\nfromsource\n", "--with", resolver, "--json")
    assert done.code == 0, done.said
    result = json.loads(done.said.splitlines()[-1])
    assert result["written"] == ["requirements.txt", "requirements.build.txt"]
    text = (user.folder / "requirements.txt").read_text()
    assert {line.split("==")[0] for line in text.splitlines() if "==" in line} == {"demo", "dep", "fromsource"}
    assert "backend==1.0" in (user.folder / "requirements.build.txt").read_text()
    assert (user.folder / "assay-seen.json").exists()
    verified = user.run(*ASSAY, "lock", "verify", "requirements.txt", "requirements.build.txt")
    assert verified.code == 0, verified.said
    environment = Environment.make(PROGRAMS, user, "venv")
    command = [*PROGRAMS.uv, "pip", "install", "--python", environment.python, "--require-hashes"]
    command += ["-r", "requirements.txt", "--build-constraints", "requirements.build.txt"]
    done = user.run(*ASSAY, "run", "--", *command)
    assert done.code == 0, done.said
    assert {"demo", "dep", "fromsource"} <= modules(environment.installed())


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_pylock_is_one_that_others_read(user: Person, resolver: str) -> None:
    done = pin(user, "demo\n", "--with", resolver, "-o", "pylock.toml")
    assert done.code == 0, done.said
    found = Pylock.from_dict(tomllib.loads((user.folder / "pylock.toml").read_text()))
    assert {package.name for package in found.packages} == {"demo", "dep"}
    assert user.run(*ASSAY, "lock", "verify", "pylock.toml").code == 0


def test_what_policy_refuses_is_not_pinned_and_the_old_file_stays(user: Person) -> None:
    assert pin(user, "other\n").code == 0
    before = (user.folder / "requirements.txt").read_text()
    (user.folder / "assay-policy.toml").write_text('[[rules]]\nprojects = ["demo"]\nrings = "sealed"\n')
    done = pin(user, "demo\n")
    assert done.code == 12, done.said
    assert "policy-ring" in done.said
    assert (user.folder / "requirements.txt").read_text() == before


def test_what_does_not_resolve_ends_as_the_resolver_does(user: Person) -> None:
    done = pin(user, "nobody-has-this\n")
    assert done.code not in (0, 10)
    assert "nothing was pinned" in done.said
    assert not (user.folder / "requirements.txt").exists()


def test_the_name_says_the_format(user: Person) -> None:
    done = pin(user, "demo\n", "-o", "uv.lock")
    assert done.code == 2
    assert "lock-format" in done.said


def test_a_resolver_that_resolves_nothing_pins_nothing(user: Person) -> None:
    done = pin(user, "demo\n", "--with", "pip", "-x", "--help")
    assert done.code == 2, done.said
    assert "resolver-report" in done.said
    assert not (user.folder / "requirements.txt").exists()
