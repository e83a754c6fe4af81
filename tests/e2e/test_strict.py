"""Runs without network but the proxy, and runs within runs."""

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from assay.cli.demo.programs import ASSAY, Environment
from assay.cli.demo.tampering import Overwritten
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.model.digests import sha256_of
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, running_house
from e2e.installers import PIP, UV, Installer, modules

pytestmark = pytest.mark.e2e

WHEEL = build_wheel("strictly", "1.0")
NAME = "strictly-1.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        assert running.upload(NAME, WHEEL).status == 200
        if running.user().run(*ASSAY, "run", "--strict", "--", "true").code != 0:
            pytest.skip("this system does not allow user namespaces")
        yield running


def straight_to(house: House) -> tuple[str, str, str]:
    """A program that scrubs its environment and goes to the index itself, as a build script might."""
    port = urlsplit(house.index.url).port
    program = f"import os, socket; os.environ.clear(); socket.create_connection(('127.0.0.1', {port}), 5).close()"
    return sys.executable, "-c", program


@pytest.mark.parametrize("installer", [PIP, UV], ids=["pip", "uv"])
def test_strict_runs_install(house: House, installer: Installer) -> None:
    user = house.user()
    environment = Environment.make(PROGRAMS, user, "venv")
    done = user.run(*ASSAY, "run", "--strict", "--", *installer.command(environment, "strictly"))
    assert (done.code, modules(environment.installed())) == (0, {"strictly"}), done.said


def test_a_strict_run_leaves_no_other_way_out(house: House) -> None:
    user = house.user()
    assert user.run(*ASSAY, "run", "--", *straight_to(house)).code == 0
    done = user.run(*ASSAY, "run", "--strict", "--", *straight_to(house))
    assert done.code == 1
    assert "ConnectionRefusedError" in done.said


def test_a_strict_run_keeps_exit_codes_and_arguments(house: House) -> None:
    user = house.user()
    assert user.run(*ASSAY, "run", "--strict", "--", "sh", "-c", "exit 7").code == 7
    done = user.run(*ASSAY, "run", "--strict", "--", "no-such-program")
    assert (done.code, "cannot be started" in done.said) == (2, True)


@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["usual", "strict"])
def test_a_run_within_a_run(house: House, options: tuple[str, ...]) -> None:
    user = house.user()
    environment = Environment.make(PROGRAMS, user, "venv")
    outer, inner = (*ASSAY, "run", *options, "--"), (*ASSAY, "run", "--")
    done = user.run(*outer, *inner, *UV.command(environment, "strictly"))
    assert (done.code, modules(environment.installed())) == (0, {"strictly"}), done.said


@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["usual", "strict"])
def test_a_run_within_a_run_verifies(house: House, options: tuple[str, ...]) -> None:
    user = house.user()
    environment = Environment.make(PROGRAMS, user, "venv")
    blob = BlobStore(DataFolder(house.index.data).blobs).path(sha256_of(WHEEL))
    outer, inner = (*ASSAY, "run", *options, "--"), (*ASSAY, "run", "--")
    with Overwritten({blob: WHEEL[:-10] + bytes(10)}):
        done = user.run(*outer, *inner, *UV.command(environment, "strictly"))
    assert (done.code, environment.installed()) == (10, []), done.said
    assert "target-hash" in done.said


def test_another_policy_within_a_strict_run_is_refused(house: House) -> None:
    user = house.user()
    policy = user.folder / "other.toml"
    policy.write_text('allow_hosts = ["elsewhere.example"]\n', encoding="utf-8")
    inner = (*ASSAY, "run", "--policy", str(policy), "--", "true")
    done = user.run(*ASSAY, "run", "--strict", "--", *inner)
    assert (done.code, "nested-run" in done.said) == (12, True), done.said
