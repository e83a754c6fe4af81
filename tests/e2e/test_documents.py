"""docs/policy.md and docs/air-gap.md, run literally: every console block, by the person it names, in order."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, TIMEOUT_S, Person
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, running_house

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```console machine=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_folder() as folder, running_house(folder) as running:
        running.publish(("demo", "1.0"), ("dep", "1.0"))
        yield running


def follow(document: str, machines: Mapping[str, Person], folders: Mapping[str, Path], house: House) -> None:
    """Run every block of ``document``: each person's commands in their folder."""
    programs = house.folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, words in {"assay": ASSAY, "pip": PROGRAMS.pip, "uv": PROGRAMS.uv}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        (programs / name).chmod(0o755)
    blocks = _BLOCK.findall((DOCS / document).read_text(encoding="utf-8"))
    assert {machine for machine, _ in blocks} == set(machines)
    for machine, text in blocks:
        lines = text.splitlines()
        assert all(line.startswith("$ ") for line in lines), text
        environ = machines[machine].environ() | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FINGERPRINT": house.index.fingerprint,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(line.removeprefix("$ ") for line in lines)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environ,
            cwd=folders[machine],
            timeout=TIMEOUT_S * 2,
            check=False,
            text=True,
        )
        assert done.returncode == 0, f"{machine}: {text}\n{done.stdout}"


@pytest.mark.timeout(400)
def test_air_gap(house: House, tmp_path: Path) -> None:
    simple = house.index.simple_url
    outside = house.user(PIP_INDEX_URL=simple, UV_DEFAULT_INDEX=simple)
    inside = house.stranger(PIP_INDEX_URL=simple, UV_DEFAULT_INDEX=simple)
    (tmp_path / "requirements.in").write_text("demo\n")
    inside.folder.mkdir(parents=True)
    follow("air-gap.md", {"outside": outside, "inside": inside}, {"outside": tmp_path, "inside": tmp_path}, house)
    assert (tmp_path / "there" / "demo.py").exists()
    assert (tmp_path / "again" / "demo.py").exists()


@pytest.mark.timeout(400)
def test_policy(house: House, tmp_path: Path) -> None:
    simple = house.index.simple_url
    developer = house.user(PIP_INDEX_URL=simple, UV_DEFAULT_INDEX=simple)
    project, main = tmp_path / "project", tmp_path / "main"
    for folder in (project, main):
        folder.mkdir()
    (project / "requirements.in").write_text("demo\n")
    made = developer.run(*PROGRAMS.uv, "venv", "--quiet", str(project / ".venv"))
    assert made.code == 0, made.said
    command = [*PROGRAMS.uv, "pip", "install", "--python", str(project / ".venv" / "bin" / "python"), "demo"]
    assert developer.run(*ASSAY, "run", "--", *command).code == 0
    administrator = house.user(ASSAY_TOKEN=house.token)
    (tmp_path / "policy.toml").write_text('[[rules]]\nprojects = ["acme-*"]\nrings = "signed"\n')
    machines = {"developer": developer, "administrator": administrator}
    follow("policy.md", machines, {"developer": project, "administrator": tmp_path}, house)
    assert house.page("assay-policy") is not None
    assert '"demo"' in (project / "assay-policy.toml").read_text()
