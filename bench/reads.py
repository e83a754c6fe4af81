"""Pages and files per second: Assay, nginx serving the same bytes, pypiserver."""

import hashlib
import re
import subprocess
import sys
import urllib.request
import zipfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from servers import assay, nginx, pypiserver

SECONDS = 5
CONNECTIONS = 16
PAYLOAD_BYTES = 50_000


@dataclass(frozen=True)
class Rate:
    """Requests per second, and the 99th percentile in milliseconds."""

    per_s: float
    p99_ms: float


def measure_reads(folder: Path) -> dict[str, dict[str, Rate]]:
    """``page`` and ``file`` -> server -> rate."""
    dist = folder / "dist"
    dist.mkdir()
    wheels = [build_wheel(dist, f"1.{number}", PAYLOAD_BYTES) for number in range(20)]
    wheel = wheels[-1]
    with assay(folder, "off") as index:
        upload(index.url, index.token, wheels)
        page = fetch(f"{index.url}simple/benched/", {"Accept": "text/html"})
        root = folder / "static"
        (root / "simple/benched").mkdir(parents=True)
        (root / "simple/benched/index.html").write_bytes(page)
        (root / "packages").mkdir()
        (root / "packages" / wheel.name).write_bytes(wheel.read_bytes())
        version = wheel.name.split("-")[1]
        with nginx(folder, root) as static, pypiserver(dist) as peer:
            pages = {
                "nginx": f"{static}simple/benched/",
                "assay": f"{index.url}simple/benched/",
                "pypiserver": f"{peer}simple/benched/",
            }
            files = {
                "nginx": f"{static}packages/{wheel.name}",
                "assay": f"{index.url}packages/benched/{version}/{wheel.name}",
                "pypiserver": f"{peer}packages/{wheel.name}",
            }
            return {
                "page": {name: wrk(url) for name, url in pages.items()},
                "file": {name: wrk(url) for name, url in files.items()},
            }


def wrk(url: str) -> Rate:
    """What one wrk thread with 16 connections gets from ``url``."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(f"{url} does not answer 200: {output}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk said: {output}")
    return Rate(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]])


def fetch(url: str, headers: dict[str, str]) -> bytes:
    """The body at ``url``."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        body: bytes = answer.read()
        return body


def upload(url: str, token: str, files: list[Path]) -> None:
    """Upload with twine."""
    command = [sys.executable, "-m", "twine", "upload", "--disable-progress-bar", "--repository-url", f"{url}legacy/"]
    command += ["-u", "__token__", "-p", token, *map(str, files)]
    subprocess.run(command, check=True, capture_output=True)


def build_wheel(folder: Path, version: str, payload_bytes: int) -> Path:
    """A valid wheel of the project ``benched`` with an incompressible payload."""
    info = f"benched-{version}.dist-info"
    payload = hashlib.shake_256(version.encode()).digest(payload_bytes)
    members = {
        "benched/__init__.py": b"",
        "benched/payload.bin": payload,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: benched\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={_record_hash(data)},{len(data)}" for name, data in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"benched-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return path


def _record_hash(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
