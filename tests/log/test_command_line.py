"""``assay log verify``, as a person or a script runs it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.client.registry import Bundle, Registry
from log.living import LivingIndex


@pytest.fixture
def environment(served: tuple[LivingIndex, str], tmp_path: Path) -> dict[str, str]:
    """A user who trusts the index, which lives now."""
    index, url = served
    index.now = datetime.now(UTC)
    index.upload(("demo", "1.0"), ("other", "1.0"))
    index.publish()
    Registry(tmp_path / "data/assay/indexes").add(Bundle(url, index.root()), index.now)
    return os.environ | {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assay", "log", "verify", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def test_it_tells_what_it_proved(environment: dict[str, str]) -> None:
    done = run(environment, "demo", "other==1.0", "--full")
    assert done.returncode == 0, done.stderr
    assert "seen here for the first time" in done.stdout
    assert "logged     packages/demo/1.0/demo-1.0-py3-none-any.whl (entry 4)" in done.stdout
    assert "agrees     6 entries with 2 signed files and 2 signed pages" in done.stdout
    again = run(environment)
    assert "it grew from the 6 entries seen here before" in again.stdout


def test_a_script_reads_it_as_json(environment: dict[str, str]) -> None:
    done = run(environment, "demo", "--json", "--full")
    found = json.loads(done.stdout)
    assert (found["size"], found["seen_before"], found["witnesses"]) == (6, None, [])
    assert found["files"] == [{"path": "packages/demo/1.0/demo-1.0-py3-none-any.whl", "entry": 4}]
    assert found["audit"] == {"entries": 6, "files": 2, "pages": 2}
    assert done.stderr == ""


def test_a_rewritten_log_ends_in_exit_code_10(environment: dict[str, str], index: LivingIndex) -> None:
    bundle = index.log / "tile/entries/000.p/6"
    bundle.write_bytes(bundle.read_bytes().replace(b"admin", b"nimda"))
    done = run(environment, "--full")
    assert (done.returncode, done.stdout) == (10, "")
    assert "log-entries" in done.stderr


def test_an_old_log_ends_in_exit_code_11(environment: dict[str, str], index: LivingIndex) -> None:
    old = (index.log / "checkpoint").read_bytes()
    index.upload(("demo", "1.1"))
    index.publish()
    (index.log / "checkpoint").unlink()
    (index.log / "checkpoint").write_bytes(old)
    done = run(environment)
    assert (done.returncode, done.stdout) == (11, "")
    assert "log-rollback" in done.stderr


def test_a_release_that_is_not_there(environment: dict[str, str]) -> None:
    assert run(environment, "nothing").returncode == 2
