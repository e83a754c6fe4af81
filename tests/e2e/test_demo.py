"""``assay demo`` without network: every check passes, and nothing is left behind, however it ends."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

NOWHERE = "http://127.0.0.1:9/simple/"


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """The demo on a machine whose pip is configured for an index that does not answer."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "XDG_"))}
    environ |= {"PIP_INDEX_URL": NOWHERE, "PIP_CONFIG_FILE": os.devnull, "TMPDIR": str(folder), "HOME": str(folder)}
    command = [*ASSAY, "demo", "--json", *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True)


def running_in(folder: Path) -> list[int]:
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listing.splitlines() if f"{folder}/assay-demo" in line]


def test_every_check_passes(folder: Path) -> None:
    process = start(folder)
    out, err = process.communicate()
    assert process.returncode == 0, err
    result = json.loads(out)
    assert (result["failed"], result["passed"] >= 38) == (0, True)
    assert len(result["attacks"]) == 6
    assert [row["plain pip"] for row in result["attacks"]] == [
        "refused, exit 1",
        "installed the attacker's file",
        "installed 1.1",
        "installed 1.0",
        "installed 1.1",
        "installed the attacker's file",
    ]
    assert "local packages only" in err
    assert not list(folder.glob("assay-demo-*"))
    assert running_in(folder) == []


def test_ended_in_the_middle_it_leaves_nothing(folder: Path) -> None:
    process = start(folder)
    deadline = time.monotonic() + 60
    while not list(folder.glob("assay-demo-*/index.out")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(folder.glob("assay-demo-*"))
    assert running_in(folder) == []
