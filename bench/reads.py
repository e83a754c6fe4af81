"""Pages and files per second, in one run: Assay, nginx serving the same bytes, devpi, pypiserver, proxpi."""

import hashlib
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from base64 import urlsafe_b64encode
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from servers import assay, devpi, nginx, proxpi, pypiserver

SECONDS = 5
CONNECTIONS = 16
SMALL_BYTES = 50_000
LARGE_BYTES = 200_000_000
NAMES = ("nginx", "assay", "devpi", "pypiserver", "proxpi")


@dataclass(frozen=True)
class Rate:
    """Requests and bytes per second, the 99th percentile in milliseconds, and the server's processor time per request.

    ``cpu_us`` is the figure that other programs on the machine disturb least; 0 where the process is not known.
    """

    per_s: float
    bytes_per_s: float
    p99_ms: float
    cpu_us: float


@dataclass(frozen=True)
class Reads:
    """Rates by server. ``grown_bytes``: how much Assay's web process grew while it sent the large file."""

    page: dict[str, Rate]
    small: dict[str, Rate]
    large: dict[str, Rate]
    grown_bytes: int


def print_reads(folder: Path) -> None:
    """Measure and print a table with the ratios."""
    reads = measure_reads(folder)
    print(f"reads, {CONNECTIONS} connections (2 for the large file), one wrk thread beside one server process")
    print(" " * 30 + "".join(f"{name:>12}" for name in NAMES) + "   assay/nginx   assay/devpi")
    for label, row in (("page of 21 files, 1/s", reads.page), ("wheel of 50 KB, 1/s", reads.small)):
        rates = [row[name].per_s for name in NAMES]
        print(f"{label:30}" + "".join(f"{rate:12.0f}" for rate in rates) + _ratios(rates))
        print(f"{'  p99, ms':30}" + "".join(f"{row[name].p99_ms:12.2f}" for name in NAMES))
        _print_cpu(row)
    rates = [reads.large[name].bytes_per_s / 1e6 for name in NAMES]
    print(f"{'wheel of 200 MB, MB/s':30}" + "".join(f"{rate:12.0f}" for rate in rates) + _ratios(rates))
    _print_cpu(reads.large)
    print(f"assay's web process grew by {reads.grown_bytes / 1e6:.1f} MB while it sent the large file\n")


def _print_cpu(row: dict[str, Rate]) -> None:
    nginx_us, ours_us = row["nginx"].cpu_us, row["assay"].cpu_us
    print(f"{'  processor time, us/request':30}{nginx_us:12.1f}{ours_us:12.1f}{'':36}{nginx_us / ours_us:14.2f}")


def _ratios(rates: list[float]) -> str:
    nginx_rate, ours, devpi_rate, *_ = rates
    return f"{ours / nginx_rate:14.2f}{ours / devpi_rate:14.1f}"


def measure_reads(folder: Path) -> Reads:
    """Publish the same wheels everywhere, and ask each server for them in turn."""
    dist = folder / "dist"
    dist.mkdir()
    small = [build_wheel(dist, f"1.{number}", SMALL_BYTES) for number in range(20)][-1]
    large = build_wheel(dist, "2.0", LARGE_BYTES)
    with ExitStack() as stack:
        index = stack.enter_context(assay(folder, "off"))
        upload(f"{index.url}legacy/", index.token, sorted(dist.iterdir()))
        static = stack.enter_context(nginx(folder, _static(folder, index.url, dist)))
        stage, user, password = stack.enter_context(devpi(folder))
        upload(stage, password, sorted(dist.iterdir()), user)
        peer = stack.enter_context(pypiserver(dist))
        pages = {
            "nginx": f"{static}simple/benched/",
            "assay": f"{index.url}simple/benched/",
            "devpi": f"{stage}+simple/benched/",
            "pypiserver": f"{peer}simple/benched/",
            "proxpi": f"{stack.enter_context(proxpi(folder, f'{peer}simple/'))}index/benched/",
        }
        files = {name: {path: linked(pages[name], path.name) for path in (small, large)} for name in NAMES}
        web = child(b"assay.index.web\0", index.pid)
        pids = {"nginx": child(b"nginx: worker", child(str(folder / "nginx.conf").encode())), "assay": web}
        page = {name: wrk(pages[name], pids.get(name)) for name in NAMES}
        quick = {name: wrk(files[name][small], pids.get(name)) for name in NAMES}
        before = resident_bytes(web)
        slow = {name: wrk(files[name][large], pids.get(name), connections=2) for name in NAMES}
        return Reads(page, quick, slow, resident_bytes(web) - before)


def _static(folder: Path, url: str, dist: Path) -> Path:
    """The page as Assay renders it, and the files, where its links lead."""
    root = folder / "static"
    (root / "simple/benched").mkdir(parents=True)
    (root / "simple/benched/index.html").write_bytes(fetch(f"{url}simple/benched/", {"Accept": "text/html"}))
    for wheel in dist.iterdir():
        place = root / "packages/benched" / wheel.name.split("-")[1]
        place.mkdir(parents=True)
        (place / wheel.name).hardlink_to(wheel)
    return root


def child(words: bytes, parent_pid: int | None = None) -> int:
    """The process whose command line has ``words``, of that parent."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            parent = re.search(r"^PPid:\t(\d+)", (process / "status").read_text(), re.MULTILINE)
        except OSError:
            continue
        if words in command and parent is not None and parent_pid in (None, int(parent[1])):
            return int(process.name)
    raise RuntimeError(f"no process {words!r}")


def cpu_seconds(pid: int) -> float:
    """The processor time that the process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """The most memory that the process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def wrk(url: str, pid: int | None = None, connections: int = CONNECTIONS) -> Rate:
    """What one wrk thread gets from ``url``, which the process ``pid`` serves."""
    before = cpu_seconds(pid) if pid is not None else 0.0
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{SECONDS}s",
        "--timeout",
        "60s",
        "--latency",
        "-H",
        "Accept: text/html",
        url,
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise RuntimeError(f"{url} does not answer 200: {output}")
    rate, size = re.search(r"Requests/sec:\s+([\d.]+)", output), re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", output)
    cpu = cpu_seconds(pid) - before if pid is not None else 0.0
    requests = re.search(r"(\d+) requests in", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    if rate is None or p99 is None or size is None or requests is None:
        raise RuntimeError(f"wrk said: {output}")
    factor = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}[size[2]]
    milliseconds = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Rate(float(rate[1]), float(size[1]) * factor, float(p99[1]) * milliseconds, 1e6 * cpu / int(requests[1]))


def linked(page: str, name: str) -> str:
    """The address of the file ``name`` as the page links it."""
    links = re.findall(r'href="([^"#]+)', fetch(page, {"Accept": "text/html"}).decode())
    return urljoin(page, next(link for link in links if link.rpartition("/")[2] == name))


def fetch(url: str, headers: dict[str, str]) -> bytes:
    """The body at ``url``."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        body: bytes = answer.read()
        return body


def upload(url: str, password: str, files: list[Path], user: str = "__token__") -> None:
    """Upload with twine."""
    command = [sys.executable, "-m", "twine", "upload", "--disable-progress-bar", "--repository-url", url]
    command += ["-u", user, "-p", password, *map(str, files)]
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
