"""``assay run`` with every installer: a real project with dependencies comes out as it does without Assay.

One story for each: the project is locked without Assay; installed with it from empty caches, the lock file untouched;
installed again with the index's files out of reach, from the private cache alone; and, on a machine of somebody else,
not installed once a file was tampered with.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Person
from assay.cli.demo.tampering import Overwritten
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.model.digests import sha256_of
from client.small_distributions import backend_wheel, build_sdist, build_wheel
from e2e.certificates import make_certificates
from e2e.conftest import open_folder
from e2e.house import House, running_house
from e2e.tools import ALL, Tool

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("_installers")]

FILES = {
    "alpha": (
        "alpha-1.0-py3-none-any.whl",
        build_wheel(
            "alpha",
            "1.0",
            requires=["beta"],
            files={"alpha-1.0.dist-info/entry_points.txt": b"[console_scripts]\nalpha = alpha:VERSION\n"},
        ),
    ),
    "beta": ("beta-1.0-py3-none-any.whl", build_wheel("beta", "1.0")),
    "fromsource": (
        "fromsource-1.0.tar.gz",
        build_sdist("fromsource", "1.0", build_requires=["backend"], backend="backend_backend"),
    ),
    "backend": (
        "backend-1.0-py3-none-any.whl",
        backend_wheel("backend", build_wheel("fromsource", "1.0"), "fromsource-1.0-py3-none-any.whl"),
    ),
}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """An index with TLS of a company's own, as most have: every installer speaks TLS to the proxy."""
    with open_folder() as folder:
        made = make_certificates(folder)
        options = ("--host", "localhost", "--tls-cert", str(made.certificate), "--tls-key", str(made.key))
        settings = {"SSL_CERT_FILE": str(made.authority)}
        with running_house(folder / "house", *options, settings=settings) as running:
            for filename, data in FILES.values():
                assert running.upload(filename, data).status == 200, filename
            yield running


@dataclass(frozen=True)
class Machine:
    """A user's machine with a project on it."""

    person: Person
    project: Path
    tool: Tool

    @classmethod
    def make(cls, house: House, tool: Tool) -> "Machine":
        simple, authority = house.index.simple_url, house.settings["SSL_CERT_FILE"]
        named = dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PIPENV_PYPI_MIRROR"), simple)
        trusted = dict.fromkeys(("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PDM_PYPI_CA_CERTS"), authority)
        person = house.user(**named, **trusted, **tool.environ)
        project = person.folder / "project"
        tool.write(project, simple)
        return cls(replace(person, settings={**person.settings, "HOME": str(person.folder)}), project, tool)

    def run(self, *command: str) -> Done:
        done = subprocess.run(
            command,
            env=self.person.environ(),
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"))

    def prepare(self) -> None:
        for command in self.tool.prepare:
            done = self.run(*command)
            assert done.code == 0, (command, done.said)

    def install(self) -> Done:
        said = ""
        for command in self.tool.commands:
            done = self.run(*ASSAY, "run", "--", *command)
            said += done.said
            if done.code != 0:
                return Done(done.code, said)
        return Done(0, said)

    def installed(self) -> set[str]:
        found = {path.stem for path in (self.project / self.tool.where).rglob("*.py")}
        return found & {"alpha", "beta", "fromsource"}

    def lock(self) -> bytes:
        return (self.project / self.tool.lock).read_bytes() if self.tool.lock else b""

    def forget(self) -> None:
        """The environment is made again; caches and lock file stay."""
        shutil.rmtree(self.project / self.tool.where, ignore_errors=True)
        for command in self.tool.prepare:
            if "venv" in command:
                assert self.run(*command).code == 0


@contextmanager
def out_of_reach(house: House) -> Iterator[None]:
    """The index has no file any more."""
    blobs = DataFolder(house.index.data).blobs
    away = blobs.with_name("blobs-away")
    blobs.rename(away)
    blobs.mkdir(mode=0o755)
    try:
        yield
    finally:
        shutil.rmtree(blobs)
        away.rename(blobs)


def tampered(house: House, project: str) -> Overwritten:
    """The blob of ``project``'s file, with other bytes of the same length."""
    _, data = FILES[project]
    blob = BlobStore(DataFolder(house.index.data).blobs).path(sha256_of(data))
    return Overwritten({blob: data[:-40] + bytes(40)})


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_a_project_installs_as_without_assay(house: House, tool: Tool) -> None:
    machine = Machine.make(house, tool)
    machine.prepare()
    lock = machine.lock()
    done = machine.install()
    assert done.code == 0, done.said
    assert machine.installed() == tool.installs, done.said
    assert machine.lock() == lock
    machine.forget()
    with out_of_reach(house):
        again = machine.install()
    assert again.code == 0, again.said
    assert machine.installed() == tool.installs


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_a_tampered_file_stops_it_with_the_reason_on_the_screen(house: House, tool: Tool) -> None:
    machine = Machine.make(house, tool)
    machine.prepare()
    filename, data = FILES[tool.tampered]
    with tampered(house, tool.tampered):
        done = machine.install()
    assert done.code == 10, done.said
    assert tool.tampered not in machine.installed()
    for words in (filename, sha256_of(data), "target-hash", "looks like an attack"):
        assert words in done.said, done.said
