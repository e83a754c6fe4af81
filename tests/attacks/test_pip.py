"""What pip does where nothing is signed: a static index with hashes in its pages, real pip, with and without pins.

``held`` the genuine file, ``replaced`` the attacker's, ``rolled back`` an older genuine one, ``refused`` nothing.
"""

import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from attacks.conftest import Cell
from support.wheels import build_wheel

WAIT_S = 8.0
"""pip's own timeout is between two bytes; somebody who has not ended by then hangs, as far as a test can wait."""

Reply = bytes | Iterator[bytes] | None


@dataclass
class StaticIndex:
    """A folder in the shape of a simple index, and what whoever holds the wire answers instead."""

    root: Path
    url: str = ""
    tamper: Callable[[str], Reply] = lambda _: None
    never_ends: bool = False
    asked: list[str] = field(default_factory=list)

    def publish(self, name: str, version: str, body: str) -> Path:
        """Put a wheel there; returns it."""
        wheel = build_wheel(self.root, name, version, body)
        self.write_page(name)
        return wheel

    def write_page(self, name: str, sidecars: dict[str, str] | None = None) -> None:
        """The page of what lies there, with hashes. ``sidecars``: file name -> hash of its METADATA."""
        page = self.root / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        links = []
        for wheel in sorted(self.root.glob(f"{name}-*.whl")):
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            beside = (sidecars or {}).get(wheel.name)
            more = f' data-core-metadata="sha256={beside}"' if beside else ""
            links.append(f'<a href="/{wheel.name}#sha256={digest}"{more}>{wheel.name}</a>')
        page.write_text("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>")


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, index: StaticIndex, **more: Any) -> None:
        self._index = index
        super().__init__(*arguments, directory=str(index.root), **more)

    def do_GET(self) -> None:
        self._index.asked.append(self.path)
        reply = self._index.tamper(self.path)
        if reply is None:
            super().do_GET()
            return
        self.send_response(200)
        if isinstance(reply, bytes):
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)
            return
        self.end_headers()
        try:
            for chunk in reply:
                self.wfile.write(chunk)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[StaticIndex]:
    """demo 1.0, then the fixed 2.0; other 1.0 and 2.0."""
    root = tmp_path / "index"
    root.mkdir()
    static = StaticIndex(root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, index=static))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    static.url = f"http://127.0.0.1:{server.server_port}/simple/"
    for name in ("demo", "other"):
        static.publish(name, "1.0", "old")
        static.publish(name, "2.0", "good")
    yield static
    server.shutdown()
    server.server_close()


# --- the attacks ----------------------------------------------------------------------------------------------


def arbitrary_bytes(index: StaticIndex) -> None:
    """The file is other bytes than the page says."""
    page = (index.root / "simple/demo/index.html").read_text()
    index.publish("demo", "2.0", "evil")
    (index.root / "simple/demo/index.html").write_text(page)


def file_and_page(index: StaticIndex) -> None:
    """Whoever writes the database, the upstream, or the host, writes file and page."""
    index.publish("demo", "2.0", "evil")


def rollback(index: StaticIndex) -> None:
    """Yesterday's page, without the fixed release."""
    (index.root / "demo-2.0-py3-none-any.whl").unlink()
    index.write_page("demo")


def mixed(index: StaticIndex) -> None:
    """Today's demo and yesterday's other."""
    (index.root / "other-2.0-py3-none-any.whl").unlink()
    index.write_page("other")


def hidden_dependency(index: StaticIndex) -> None:
    """The page vouches for a sidecar with a dependency that the wheel does not have."""
    index.publish("evil", "1.0", "evil")
    sidecar = b"Metadata-Version: 2.1\nName: demo\nVersion: 2.0\nRequires-Dist: evil\n"
    name = "demo-2.0-py3-none-any.whl"
    (index.root / f"{name}.metadata").write_bytes(sidecar)
    index.write_page("demo", {name: hashlib.sha256(sidecar).hexdigest()})


def swapped(index: StaticIndex) -> None:
    """Two good files change places, on the wire and in the page."""
    demo, other = (index.root / f"{name}-2.0-py3-none-any.whl" for name in ("demo", "other"))
    demo.write_bytes(other.read_bytes())
    index.write_page("demo")


def endless(index: StaticIndex) -> None:
    """The file never ends."""
    index.never_ends = True
    index.tamper = lambda path: paced(bytes(64 * 1024), 0.02) if path.startswith("/demo-2.0") else None


def trickle(index: StaticIndex) -> None:
    """A byte now and then."""
    index.never_ends = True
    index.tamper = lambda path: paced(b"x", 0.5) if path.startswith("/demo-2.0") else None


def paced(chunk: bytes, every_s: float) -> Iterator[bytes]:
    """``chunk`` again and again, until nobody can still be listening."""
    over = time.monotonic() + 2 * WAIT_S
    while time.monotonic() < over:
        yield chunk
        time.sleep(every_s)


def withheld(index: StaticIndex) -> None:
    """There is no page."""
    (index.root / "simple/demo/index.html").unlink()


def forged_signatures(index: StaticIndex) -> None:
    """Keys of an index mean nothing to pip: it asks for no metadata at all."""
    (index.root / "tuf").mkdir()
    (index.root / "tuf/timestamp.json").write_text("{}")


# --- pip ------------------------------------------------------------------------------------------------------


def install(index: StaticIndex, target: Path, requirement: list[str], environ: dict[str, str]) -> str:
    """What pip made of the requirement, in a word."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), "--retries", "0"]
    command += ["--index-url", index.url, "--no-cache-dir", "--disable-pip-version-check", *requirement]
    try:
        done = subprocess.run(
            command,
            env=kept | {"PIP_CONFIG_FILE": os.devnull} | environ,
            capture_output=True,
            check=False,
            timeout=WAIT_S if index.never_ends else 240,
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    found = {path.stem: path.read_text() for path in target.glob("*.py")}
    if done.returncode or "demo" not in found:
        return "refused"
    if "evil" in found:
        return "installed"
    if (found["demo"], found.get("other")) == ("good", "old"):
        return "mixed"
    return {"evil": "replaced", "old": "rolled back", "good": "held"}[found["demo"]]


Rows = tuple[str, ...]
ATTACKS: list[tuple[Rows, Callable[[StaticIndex], None], str, str]] = [
    (("A1", "B10"), arbitrary_bytes, "refused", "refused"),
    (("A2", "A3", "B13"), rollback, "rolled back", "refused"),
    (("A5",), endless, "hangs", "hangs"),
    (("A6",), trickle, "hangs", "hangs"),
    (("A7",), mixed, "mixed", "refused"),
    (("A8",), hidden_dependency, "refused", "held"),
    (("A9",), swapped, "refused", "refused"),
    (("A13", "B8", "B9", "B11", "B12", "B16"), file_and_page, "replaced", "refused"),
    (("A10", "B15"), withheld, "refused", "refused"),
    (("A4", "A11", "A12", "A14", "A15", "A16", "A17", "A18", "A19"), forged_signatures, "held", "held"),
]
"""Whoever has a key of the index and not its pages gets nothing from pip, which asks for no signature."""


@pytest.mark.parametrize(("rows", "attack", "plain", "hashes"), ATTACKS, ids=[case[1].__name__ for case in ATTACKS])
def test_pip(
    rows: Rows,
    attack: Callable[[StaticIndex], None],
    plain: str,
    hashes: str,
    index: StaticIndex,
    tmp_path: Path,
    cell: Cell,
) -> None:
    pins = pinned(index, tmp_path)
    attack(index)
    with ThreadPoolExecutor(2) as both:
        without = both.submit(install, index, tmp_path / "plain", ["demo", "other"], {})
        with_pins = both.submit(install, index, tmp_path / "pinned", pins, {})
    assert (without.result(), with_pins.result()) == (plain, hashes)
    assert not any(path.startswith("/tuf") for path in index.asked)
    for row in rows:
        cell(row, "pip", plain)
        cell(row, "pip --require-hashes", hashes)


@pytest.mark.parametrize("wrong_by_days", [-30, 30])
def test_B14_pip_reads_no_date(wrong_by_days: int, index: StaticIndex, tmp_path: Path, cell: Cell) -> None:
    """Its process gets a clock that is wrong; over TLS the certificate might expire, nothing else does."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {wrong_by_days * 86400}\n"
    )
    environ = {"PYTHONPATH": str(tmp_path)}
    pins = pinned(index, tmp_path)
    rollback(index)
    assert install(index, tmp_path / "plain", ["demo", "other"], environ) == "rolled back"
    assert install(index, tmp_path / "pinned", pins, environ) == "refused"
    cell("B14", "pip", "not seen")
    cell("B14", "pip --require-hashes", "refused")


def pinned(index: StaticIndex, folder: Path) -> list[str]:
    """Both projects with the hashes of their good files."""
    lines = []
    for name in ("demo", "other"):
        digest = hashlib.sha256((index.root / f"{name}-2.0-py3-none-any.whl").read_bytes()).hexdigest()
        lines.append(f"{name}==2.0 --hash=sha256:{digest}\n")
    path = folder / "requirements.txt"
    path.write_text("".join(lines))
    return ["--require-hashes", "-r", str(path)]
