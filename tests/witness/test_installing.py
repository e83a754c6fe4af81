"""A13 as a user meets it: `assay serve` with witnesses, twine, and pip behind `assay run`; then the host is taken."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.index.ledger import accounts
from assay.model.permissions import Action, Scope
from assay.trust.layout import TargetPath
from client.small_distributions import build_wheel
from witness.live import Thief, WitnessedIndex, free_port, wait_until, witnessed_index

pytestmark = pytest.mark.e2e


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Somebody with an empty machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_", "ASSAY_"))}
    places = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    folder.mkdir(exist_ok=True)
    return kept | places | {"PIP_CONFIG_FILE": os.devnull, "NO_COLOR": "1"} | more


@contextmanager
def served(index: WitnessedIndex) -> Iterator[str]:
    """The index behind `assay serve`; its URL."""
    tables = [f'[[witness]]\nname = "{one.name}"\nurl = "{one.url}"\n' for one in index.witnesses]
    index.data.config_file.write_text("\n".join(tables))
    (index.folder / "INSECURE-DEV-KEYS").touch()
    announce = index.folder.with_name("announce.json")
    command = [sys.executable, "-m", "assay", "serve", "--data", str(index.folder), "--port", str(free_port())]
    command += ["--upstream", "off", "--announce", str(announce), "--idle-exit", "300"]
    with index.folder.with_name("serve.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(index.folder.with_name("operator")))
    try:
        wait_until(announce.exists, 60)
        yield json.loads(announce.read_bytes())["url"]
    finally:
        process.terminate()
        process.wait(30)


def trust(settings: dict[str, str], index: WitnessedIndex, url: str) -> int:
    """`assay trust add`: its exit code."""
    command = [sys.executable, "-m", "assay", "trust", "add", url, "--fingerprint", f"sha256:{index.fingerprint}"]
    return subprocess.run(command, check=False, env=settings, capture_output=True, timeout=60).returncode


def install(settings: dict[str, str], url: str, to: Path) -> tuple[int, list[str], str]:
    """`assay run -- pip install demo`: exit code, what is installed, what was said."""
    command = [sys.executable, "-m", "assay", "run", "--index", url, "--"]
    command += [sys.executable, "-m", "pip", "install", "--index-url", f"{url}simple/", "--target", str(to), "demo"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=False)
    return (
        done.returncode,
        sorted(path.name for path in to.glob("*.py")) if to.exists() else [],
        done.stdout + done.stderr,
    )


def explain(settings: dict[str, str], url: str, project: str) -> str:
    """What `assay explain` says."""
    command = [sys.executable, "-m", "assay", "explain", project, "--index", url]
    return subprocess.run(command, check=True, env=settings, capture_output=True, text=True, timeout=60).stdout


def test_A13_pip_installs_what_was_uploaded_and_nothing_that_the_thief_shows(tmp_path: Path) -> None:
    with witnessed_index(tmp_path / "world") as index, served(index) as url:
        with index.ledger() as ledger, ledger.write() as connection:
            scope = Scope(frozenset({Action.UPLOAD}))
            token = accounts.create_token(
                connection, "tess", scope, "tess", datetime.now(UTC), entropy=os.urandom(32), description="test"
            )
        wheel = tmp_path / "demo-1.0-py3-none-any.whl"
        wheel.write_bytes(build_wheel("demo", "1.0"))
        publisher = {"TWINE_USERNAME": "__token__", "TWINE_PASSWORD": token.text}
        command = [sys.executable, "-m", "twine", "upload", "--repository-url", f"{url}legacy/", str(wheel)]
        environ = environment(tmp_path / "tess", **publisher)
        subprocess.run(command, check=True, env=environ, capture_output=True, timeout=120)
        old, new = environment(tmp_path / "old"), environment(tmp_path / "new")
        assert trust(old, index, url) == 0
        assert install(old, url, tmp_path / "before")[:2] == (0, ["demo.py"])
        said = explain(old, url, "demo")
        assert re.search(r"witnessed  by w[12] \((timestamp|bin-)", said), said
        assert "only together with its witnesses" in said

        thief = Thief(index)
        name, forged = thief.forged_bin(TargetPath("packages/demo/1.0/demo-1.0-py3-none-any.whl"))
        thief.publish_alone(thief.candidate({name: forged}))
        assert trust(new, index, url) == 10
        for settings in (old, new):
            code, installed, said = install(settings, url, tmp_path / "after")
            assert code != 0, said
            assert installed == []
