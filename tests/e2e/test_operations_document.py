"""docs/operations.md, run literally: every command of it, on an index that serves or is stopped, as the text says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY
from e2e.house import House, running_house

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
_BLOCK = re.compile(r"^```console (served|stopped)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(state: str) -> list[str]:
    """The blocks for an index in that state, in the order of the text."""
    found = [text for kind, text in _BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")) if kind == state]
    assert all(line.startswith("$ ") for text in found for line in text.splitlines())
    return ["\n".join(line.removeprefix("$ ") for line in text.splitlines()) for text in found]


def run(folder: Path, text: str) -> str:
    """What an operator types."""
    program = folder / "bin" / "assay"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m assay "$@"\n')
        program.chmod(0o755)
    places = {"DATA": "index", "BACKUP": "backup", "MIRROR": "mirror", "NEW": "new", "BUNDLE": "floor.bundle"}
    environ = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "ASSAY_PASSPHRASE_FILE": str(folder / "passphrase"),
        **{name: str(folder / place) for name, place in places.items()},
    }
    command = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, timeout=300)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def stays_installable(house: House) -> None:
    page = house.page("demo")
    assert page is not None
    assert page["versions"] == ["1.0", "2.0"]


def test_the_text_can_be_followed_literally(folder: Path) -> None:
    secret = folder / "passphrase"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    settings = {"ASSAY_PASSPHRASE_FILE": str(secret)}
    with running_house(folder, settings=settings) as house:
        house.publish(("demo", "1.0"))
        (served,) = commands("served")
        assert "everything agrees" in run(folder, served)
        house.publish(("demo", "2.0"))
        run(folder, served)
        user = house.user()
        assert user.run(*ASSAY, "trust", "export", str(folder / "floor.bundle")).code == 0
    stopped = commands("stopped")
    assert len(stopped) == 6
    for text in stopped:
        said = run(folder, text)
        if "rebuild-ledger" in text:
            assert "1 projects made again" in said
            with running_house(folder, settings=settings) as house:
                stays_installable(house)
        if "$NEW" in text:
            assert "nothing is lost" in said
        if "recover" in text:
            assert "FROZEN" in said
            assert (folder / "index" / "recovery" / "notice.txt").read_text().startswith("NOTICE")


def test_every_verb_that_the_text_names_exists() -> None:
    from assay.cli import VERBS

    named = set(re.findall(r"(?:`|\$ )assay ([a-z-]+)", DOCUMENT.read_text(encoding="utf-8")))
    assert named <= VERBS
    assert {"doctor", "scrub", "backup", "restore", "refresh", "recover"} <= named
