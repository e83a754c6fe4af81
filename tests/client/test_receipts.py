"""Receipts: which verified file came into which environment; a help for the audit, never a proof."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.client.receipts import (
    Receipt,
    environments_meant,
    note_handed_out,
    note_installed,
    receipts_of,
)

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def receipt(project: str, version: str = "1.0", at: datetime = NOW) -> Receipt:
    filename = f"{project}-{version}-py3-none-any.whl"
    return Receipt(project, version, filename, "a" * 64, "https://a.example/", ("signed",), (), at.isoformat())


def environment(folder: Path, *installed: str) -> Path:
    site = folder / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    (folder / "bin").mkdir()
    for name in installed:
        (site / f"{name}.dist-info").mkdir()
    return folder


def test_what_is_new_in_an_environment_gets_its_receipt(tmp_path: Path) -> None:
    venv = environment(tmp_path / "venv", "Demo_Tool-1.0", "old-1.0", "stranger-1.0")
    long_ago = time.time() - 3600
    os.utime(venv / "lib" / "python3.12" / "site-packages" / "old-1.0.dist-info", (long_ago, long_ago))
    handed = note_handed_out(tmp_path, [receipt("demo-tool"), receipt("old"), receipt("demo-tool", "2.0")])
    assert note_installed([venv], handed, NOW - timedelta(minutes=1)) == [venv]
    found = receipts_of(venv)
    assert {name: each.version for name, each in found.items()} == {"demo-tool": "1.0"}


def test_what_a_cache_holds_from_an_earlier_run_has_a_receipt_too(tmp_path: Path) -> None:
    venv = environment(tmp_path / "venv", "demo-1.0")
    note_handed_out(tmp_path, [receipt("demo")])
    later = note_handed_out(tmp_path, [])
    assert note_installed([venv], later, NOW - timedelta(minutes=1)) == [venv]
    assert receipts_of(venv)["demo"].sha256 == "a" * 64


def test_a_receipt_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    venv = environment(tmp_path / "venv", "demo-1.0")
    note_installed([venv], note_handed_out(tmp_path, [receipt("demo")]), NOW - timedelta(minutes=1))
    for path in (tmp_path / "data" / "assay" / "receipts").glob("*.json"):
        path.write_text("{}")
    assert receipts_of(venv) == {}


def test_the_environments_that_a_command_can_mean(tmp_path: Path) -> None:
    one, two, three = (environment(tmp_path / name) for name in ("one", "two", ".venv"))
    (two / "bin" / "pip").touch()
    environ = {"VIRTUAL_ENV": str(one), "PATH": ""}
    found = environments_meant(["pip", "install", "x"], environ, tmp_path)
    assert found == [one.resolve(), three.resolve()]
    found = environments_meant([str(two / "bin" / "pip"), "install", "x"], {"PATH": ""}, tmp_path)
    assert found == [two.resolve(), three.resolve()]
    for words in (["--python", "one"], ["--python=one/bin/python"], ["-p", str(one / "bin" / "python")]):
        assert one.resolve() in environments_meant(["uv", "pip", "install", *words], {"PATH": ""}, tmp_path)
