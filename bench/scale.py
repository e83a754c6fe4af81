"""``make scale``: the engine from ten thousand files to PyPI's eight million, on this machine.

For each size: making the index (an import of a whole listing, or with ``--signed-only`` its signed metadata alone),
opening it, uploads one at a time, under load and at a fixed rate, memory of signer and web, and what a client pays.
Processor time is printed beside wall time: on a machine that does other work only the former can be compared.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client_cost import Cost, WireClient, measure_new, measure_returning, root_of, sample_paths, stock_ms
from listing import PROJECTS_PER_FILE
from servers import clean_environment
from uploads import Outcome, Uploader, make_uploads

HERE = Path(__file__).parent
LIMITS = "[limits]\nuploads_per_minute = 10000000\nnew_projects_per_day = 10000000\n"


@dataclass(frozen=True)
class Served:
    """A running index and the ids of its processes."""

    url: str
    opened_s: float
    signer: int
    web: int


def main() -> int:
    """Measure every size and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="+", metavar="FILES")
    parser.add_argument("--signed-only", action="store_true", help="no pages, ledger rows and log entries")
    parser.add_argument("--uploads", type=int, default=400)
    parser.add_argument(
        "--index", type=Path, help="an index of the (one) size that is there already, with TOKEN beside"
    )
    options = parser.parse_args()
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(prefix="assay-scale-") as name:
        for files in options.sizes:
            data = options.index or Path(name) / str(files)
            print(f"\n== {files:,} files")
            token = (data / "TOKEN").read_text() if options.index else _make(data, files, options.signed_only)
            _measure(data, token, files, options.uploads, Path(name), is_synthetic=options.signed_only)
    return 0


def _make(data: Path, files: int, signed_only: bool) -> str:
    """Make the index; returns the administrator's token."""
    data.mkdir()
    (data / "config.toml").write_text(LIMITS)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if signed_only:
        words = [sys.executable, str(HERE / "synthetic.py"), str(data), str(files)]
        token = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1]
        what = "signed metadata"
    else:
        listing = subprocess.Popen([sys.executable, str(HERE / "listing.py"), str(files)], stdout=subprocess.PIPE)
        targets = round(files * (1 + PROJECTS_PER_FILE))
        words = [sys.executable, "-m", "assay", "upstream", "import", "-", "--url", "https://upstream.example/simple/"]
        words += ["--data", str(data), "--files", str(targets), "--insecure-dev-keys", "--json"]
        done = subprocess.run(words, check=True, stdin=listing.stdout, capture_output=True, text=True)
        listing.wait()
        token, what = str(json.loads(done.stdout)["admin_token"]), "import, signing, the listing's making too"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what}: {time.perf_counter() - started:.0f} s, {cpu:.0f} s of CPU, {after.ru_maxrss / 1024:.0f} MiB")
    (data / "TOKEN").write_text(token)
    return token


def _measure(data: Path, token: str, files: int, count: int, scratch: Path, *, is_synthetic: bool) -> None:
    with _serving(data) as served:
        print(f"open: {served.opened_s:.1f} s to the first answer")
        uploader = Uploader(f"{served.url}legacy/", "__token__", token)
        marker = os.urandom(3).hex()
        before = None
        if is_synthetic:
            before = WireClient(served.url, {"root": root_of(data / "published")})
            before.run(sample_paths(files, 2)[:20], _now())
        for label, connections in (("one at a time", 1), ("under load, 32 connections", 32)):
            uploads = make_uploads(count, max(1, count // 4), f"s{marker}-{connections}")
            with _cpu(served, count, label):
                _print_uploads(label, asyncio.run(uploader.as_fast_as_possible(uploads, connections)))
        uploads = make_uploads(count // 2, max(1, count // 8), f"s{marker}-r")
        _print_uploads("at 20 a second", asyncio.run(uploader.at_rate(uploads, 20)))
        print(f"memory: signer {_peak_mib(served.signer)} MiB, web {_peak_mib(served.web)} MiB at most")
        if before is not None:
            _measure_client(data, served.url, before.kept, files, scratch)


def _measure_client(data: Path, url: str, before: dict[str, bytes], files: int, scratch: Path) -> None:
    root, paths = root_of(data / "published"), sample_paths(files, 1)
    new, changed = measure_new(url, root, paths), measure_returning(url, before, paths)
    now = WireClient(url, {"root": root})
    now.run(sample_paths(files, 2)[:20], _now())
    same = measure_returning(url, now.kept, paths)
    print("client: bytes for one project (of 2.2 MB), requests; KB for 30 projects; ms of CPU for 30 lookups")
    for label, cost in (("new", new), ("returning, other snapshot", changed), ("returning, same snapshot", same)):
        _print_cost(label, cost)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        print(f"  {'stock ngclient, new':28}{'':36}{stock_ms(data / 'published', root, paths, Path(folder)):10.0f} ms")


def _print_cost(label: str, cost: Cost) -> None:
    share = f"{cost.one_bytes:9,} B {cost.share():7.2%} {cost.one_requests:3}"
    print(f"  {label:28}{share} {cost.all_bytes / 1000:9.0f} KB {cost.all_ms:10.0f} ms")


def _print_uploads(label: str, outcome: Outcome) -> None:
    refused = f", {len(outcome.refused)} refused: {outcome.refused[0]}" if outcome.refused else ""
    print(
        f"uploads {label}: {outcome.per_s:.1f}/s, p50 {outcome.percentile_ms(50):.0f} ms, "
        f"p99 {outcome.percentile_ms(99):.0f} ms{refused}"
    )


@contextmanager
def _serving(data: Path) -> Iterator[Served]:
    command = [
        sys.executable,
        "-m",
        "assay",
        "serve",
        "--data",
        str(data),
        "--port",
        "0",
        "--json",
        "--upstream",
        "off",
    ]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment(data.parent)
    )
    try:
        document = json.loads(process.stdout.readline() if process.stdout else b"{}")
        opened = time.perf_counter() - started
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        modules = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        signer, web = (
            next(int(pid) for pid, words in modules.items() if module in words)
            for module in ("assay.index.signer", "assay.index.web")
        )
        yield Served(document["url"], opened, signer, web)
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _cpu(served: Served, count: int, label: str) -> Iterator[None]:
    """Print what each process spent for one of ``count`` uploads."""
    before = {pid: _cpu_s(pid) for pid in (served.signer, served.web)}
    yield
    signer, web = (_cpu_s(pid) - before[pid] for pid in (served.signer, served.web))
    print(f"  ms of CPU for each, {label}: signer {signer / count * 1e3:.1f}, web {web / count * 1e3:.1f}")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
