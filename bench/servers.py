"""The servers that are measured side by side, each on a loopback port of its own, each ended with its block."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60.0
_PRIVATE = ("PIP_", "PYTHON", "UV_", "XDG_")


@dataclass(frozen=True)
class Assay:
    """A running index."""

    url: str
    token: str
    fingerprint: str
    data: Path
    pid: int


def clean_environment(folder: Path) -> dict[str, str]:
    """An environment without this machine's pip settings, and with user folders of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_PRIVATE)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return kept | {
        "PATH": path,
        "PIP_CONFIG_FILE": os.devnull,
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "NO_COLOR": "1",
    }


@contextmanager
def assay(folder: Path, upstream: str) -> Iterator[Assay]:
    """An Assay index with unencrypted keys."""
    data = folder / "index"
    command = [sys.executable, "-m", "assay", "serve", "--data", str(data), "--port", "0", "--json"]
    command += ["--insecure-dev-keys", "--upstream", upstream]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment(folder)
    )
    try:
        document = json.loads(process.stdout.readline() if process.stdout else b"{}")
        yield Assay(document["url"], document.get("admin_token", ""), document["fingerprint"], data, process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator[str]:
    """nginx, one worker, serving the files below ``root``; the address."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null; user root;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; sendfile on;\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; index index.html; }} }}\n"
    )
    with running([shutil.which("nginx") or "nginx", "-c", str(config)], f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def pypiserver(folder: Path, *options: str) -> Iterator[str]:
    """pypiserver over the distributions in ``folder``; the address."""
    port = free_port()
    command = [sys.executable, "-m", "pypiserver", "run", "-i", "127.0.0.1", "-p", str(port), *options, str(folder)]
    with running(command, f"http://127.0.0.1:{port}/"):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def devpi(folder: Path) -> Iterator[tuple[str, str, str]]:
    """devpi-server with one empty index; its upload address, a user and their password."""
    port, programs, password = free_port(), Path(sys.executable).parent, "benched"
    data, environ = ["--serverdir", str(folder / "devpi")], clean_environment(folder)
    making = [str(programs / "devpi-init"), *data, "--no-root-pypi", "--root-passwd", password]
    subprocess.run(making, check=True, capture_output=True, env=environ)
    url = f"http://127.0.0.1:{port}/"
    serving = [str(programs / "devpi-server"), *data, "--host", "127.0.0.1", "--port", str(port)]
    with running(serving, url, environ):
        token = _ask_devpi(f"{url}+login", "POST", {"user": "root", "password": password})["password"]
        authorization = base64.b64encode(f"root:{token}".encode()).decode()
        _ask_devpi(f"{url}root/bench", "PUT", {"type": "stage", "bases": []}, {"X-Devpi-Auth": authorization})
        yield f"{url}root/bench/", "root", token


def _ask_devpi(url: str, method: str, document: object, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        result: dict[str, str] = json.load(answer).get("result", {})
        return result


@contextmanager
def proxpi(folder: Path, upstream: str) -> Iterator[str]:
    """proxpi in front of the simple API at ``upstream``, one worker, files cached; the address."""
    port = free_port()
    (folder / "proxpi").mkdir()
    environ = clean_environment(folder) | {
        "PROXPI_INDEX_URL": upstream,
        "PROXPI_CACHE_DIR": str(folder / "proxpi"),
        "PROXPI_DOWNLOAD_TIMEOUT": "60",
        "PROXPI_LOGGING_LEVEL": "ERROR",
    }
    program = str(Path(sys.executable).with_name("gunicorn"))
    command = [program, "-b", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "4", "--log-level", "error"]
    with running([*command, "proxpi.server:app"], f"http://127.0.0.1:{port}/", environ):
        yield f"http://127.0.0.1:{port}/"


@contextmanager
def running(command: list[str], url: str, environ: Mapping[str, str] | None = None) -> Iterator[None]:
    """``command``, from when something answers at ``url`` until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    try:
        wait_for(url)
        yield
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str) -> None:
    """Return once something answers at ``url``."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing answers at {url}")


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
