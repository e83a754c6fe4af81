"""What plain pip does in the rows that an index without signatures has an answer to: a static index, real pip."""

import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attacks.conftest import Cell
from support.wheels import build_wheel


class StaticIndex:
    """A folder in the shape of a simple index."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""

    def publish(self, version: str, body: str) -> Path:
        """Put a wheel there; returns it."""
        wheel = build_wheel(self.root, "demo", version, body)
        self.write_page()
        return wheel

    def write_page(self) -> None:
        """The page of what lies there, with hashes."""
        page = self.root / "simple" / "demo" / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        links = [
            f'<a href="/{wheel.name}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}">{wheel.name}</a>'
            for wheel in sorted(self.root.glob("*.whl"))
        ]
        page.write_text("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[StaticIndex]:
    root = tmp_path / "index"
    root.mkdir()
    static = StaticIndex(root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    static.url = f"http://127.0.0.1:{server.server_port}/simple/"
    yield static
    server.shutdown()
    server.server_close()


def arbitrary_bytes(index: StaticIndex) -> None:
    """A1: the file is other bytes than the page says."""
    page = (index.root / "simple/demo/index.html").read_text()
    index.publish("2.0", "evil")
    (index.root / "simple/demo/index.html").write_text(page)


def arbitrary_file_and_page(index: StaticIndex) -> None:
    """A13: the host is the attacker's: file and page."""
    index.publish("2.0", "evil")


def rollback(index: StaticIndex) -> None:
    """A2: yesterday's page, without the fixed release."""
    (index.root / "demo-2.0-py3-none-any.whl").unlink()
    index.write_page()


def install(index: StaticIndex, target: Path, *requirement: str) -> str | None:
    """What pip installed of demo: the content of its module, or None."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    command += ["--index-url", index.url, "--no-cache-dir", *requirement]
    done = subprocess.run(
        command, env=environ | {"PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True, check=False
    )
    module = target / "demo.py"
    return module.read_text() if done.returncode == 0 and module.exists() else None


@pytest.mark.parametrize(
    ("row", "attack", "plain", "hashes"),
    [
        ("A1", arbitrary_bytes, "refused", "refused"),
        ("A2", rollback, "rolled back", "refused"),
        ("A13", arbitrary_file_and_page, "replaced", "refused"),
    ],
)
def test_pip(
    row: str,
    attack: Callable[[StaticIndex], None],
    plain: str,
    hashes: str,
    index: StaticIndex,
    tmp_path: Path,
    cell: Cell,
) -> None:
    index.publish("1.0", "old")
    good = index.publish("2.0", "good")
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(f"demo==2.0 --hash=sha256:{hashlib.sha256(good.read_bytes()).hexdigest()}\n")
    assert install(index, tmp_path / "before", "demo") == "good"
    attack(index)
    words = {None: "refused", "evil": "replaced", "old": "rolled back", "good": "held"}
    outcome = words[install(index, tmp_path / "plain", "demo")]
    pinned_outcome = words[install(index, tmp_path / "pinned", "--require-hashes", "-r", str(pinned))]
    cell(row, "pip", outcome)
    cell(row, "pip --require-hashes", pinned_outcome)
    assert (outcome, pinned_outcome) == (plain, hashes)
