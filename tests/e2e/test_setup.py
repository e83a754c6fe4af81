"""``assay setup``: pip and uv as they are, configured once, through ``assay proxy``; and everything put back."""

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Environment, Person
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, ask, running_house
from e2e.installers import modules

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        running.publish(("dep", "1.0"), ("evil", "1.0"))
        assert running.upload("demo-1.0-py3-none-any.whl", build_wheel("demo", "1.0", requires=["dep"])).status == 200
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def config(user: Person, *parts: str) -> Path:
    return (user.folder / "config").joinpath(*parts)


def configured(user: Person) -> Person:
    """The same person, whose pip and uv read what setup wrote."""
    pip, uv = config(user, "pip", "pip.conf"), config(user, "uv", "uv.toml")
    own = {"PIP_CONFIG_FILE": str(pip), "UV_CONFIG_FILE": str(uv), "UV_NO_CONFIG": "false"}
    return replace(user, settings={**user.settings, **own})


@contextmanager
def proxied(user: Person) -> Iterator[tuple[Person, int]]:
    port = free_port()
    done = user.run(*ASSAY, "setup", "--no-service", "--port", str(port))
    assert done.code == 0, done.said
    with (user.folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen([*ASSAY, "proxy"], env=user.environ(), cwd=user.folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while b"answering for" not in (user.folder / "proxy.log").read_bytes():
                assert process.poll() is None, (user.folder / "proxy.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield configured(user), port
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_pip_and_uv_install_without_a_word_in_front(house: House) -> None:
    user = house.user()
    own = config(user, "assay", "policy.toml")
    own.parent.mkdir(parents=True)
    own.write_text('[[rules]]\nprojects = ["evil"]\nrings = "sealed"\n')
    with proxied(user) as (person, port):
        for name, words in (("pip", PROGRAMS.pip), ("uv", PROGRAMS.uv)):
            environment = Environment.make(PROGRAMS, person, name)
            if name == "pip":
                command = [*words, "--python", environment.python, "install"]
            else:
                command = [*words, "pip", "install", "--python", environment.python]
            done = person.run(*command, "demo")
            assert done.code == 0, done.said
            assert modules(environment.installed()) == {"demo", "dep"}
            refused = person.run(*command, "evil")
            assert refused.code != 0
            assert "stronger protection" in refused.said
            assert person.run(*command, "dep").code == 0, "a refusal stops nothing but what was refused"
        last = person.run(*ASSAY, "explain", "--last", "--json")
        assert json.loads(last.said)["refusals"][0]["rule"] == "policy-ring"
        place = f"http://127.0.0.1:{port}/simple/demo/"
        assert ask(place).status == 401
        secret = json.loads((user.folder / "data" / "assay" / "setup.json").read_text())["secret"]
        known = {"Authorization": f"Basic {base64.b64encode(f'assay:{secret}'.encode()).decode()}"}
        assert ask(place, headers=known).status == 200
        assert ask(place, headers={**known, "Host": f"evil.example:{port}"}).status == 421


def test_undo_puts_everything_back(house: House) -> None:
    user = house.user()
    pip = config(user, "pip", "pip.conf")
    pip.parent.mkdir(parents=True)
    pip.write_text("[global]\n# mine\nextra-index-url = https://elsewhere.example/simple\ntimeout = 9\n")
    before = pip.read_bytes()
    done = user.run(*ASSAY, "setup", "--no-service", "--json")
    assert done.code == 0, done.said
    assert "extra-index-url in [global]" in json.loads(done.said)["dropped"][0]
    assert "elsewhere.example" not in pip.read_text()
    assert "timeout = 9" in pip.read_text()
    assert pip.stat().st_mode & 0o077 == 0, "the address has a secret in it"
    assert user.run(*ASSAY, "setup", "--no-service").code == 2
    written = pip.read_bytes()
    pip.write_bytes(written + b"# edited\n")
    changed = user.run(*ASSAY, "setup", "--undo")
    assert changed.code == 2
    assert "setup-changed" in changed.said
    pip.write_bytes(written)
    assert user.run(*ASSAY, "setup", "--undo").code == 0
    assert pip.read_bytes() == before
    assert not config(user, "uv", "uv.toml").exists()
    assert user.run(*ASSAY, "setup", "--undo").code == 2


def test_uvs_own_indexes_are_not_overwritten(house: House) -> None:
    user = house.user()
    uv = config(user, "uv", "uv.toml")
    uv.parent.mkdir(parents=True)
    uv.write_text('[[index]]\nurl = "https://elsewhere.example/simple"\n')
    done = user.run(*ASSAY, "setup", "--no-service")
    assert done.code == 2
    assert "setup-uv" in done.said
    assert not config(user, "pip", "pip.conf").exists()


def test_a_taken_port_is_named_with_the_way_out(house: House) -> None:
    user = house.user()
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        assert user.run(*ASSAY, "setup", "--no-service", "--port", str(port)).code == 0
        done = user.run(*ASSAY, "proxy")
    assert done.code == 1, done.said
    for words in ("endpoint-port", f"127.0.0.1:{port}", "assay setup --port N"):
        assert words in done.said
