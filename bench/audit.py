"""``python bench/audit.py [PACKAGES]``: what `assay audit` takes, cold and warm. Promised: 0.5 s for 100 packages.

The wheels are synthetic (20 modules each) and installed through `assay run`, so that there are receipts. `cold`: no
verified wheel is on this machine yet. The audit itself is timed, in a process that is already running; a whole command
beside it.
"""

import asyncio
import base64
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from unittest import mock

from assay.client.audit.audit import Verdict, audit
from assay.client.audit.installed import find_environment
from assay.client.registry import Registry, opened
from reads import upload
from servers import Assay, assay, clean_environment

ROUNDS = 5
MODULES = 20
PROMISED_S = 0.5
UV = str(Path(sys.executable).with_name("uv"))
ASSAY = (sys.executable, "-m", "assay")


def main() -> None:
    """Measure and print."""
    packages = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        folder = Path(name)
        with assay(folder, "off") as index:
            names = [f"bench{number}" for number in range(packages)]
            upload(index.url, index.token, [_wheel(folder, each) for each in names])
            python = _installed(folder, index, names)
            cold_s, warm_s, cpu_s, files = asyncio.run(_audited(folder, python))
            whole = [_command_s(folder, python) for _ in range(ROUNDS)]
    median = statistics.median(warm_s)
    print(f"audit of {packages} packages, {files} files")
    print(f"  cold, wheels fetched and verified {cold_s:8.2f} s")
    print(f"  warm, the audit itself            {median:8.2f} s   (promised: {PROMISED_S} s for 100)")
    print(f"  warm, processor time of it        {cpu_s:8.2f} s")
    print(f"  the whole command                 {statistics.median(whole):8.2f} s")


def _wheel(folder: Path, name: str) -> Path:
    """A wheel of modules that differ, so that every hash is computed."""
    info = f"{name}-1.0.dist-info"
    members = {f"{name}/m{number}.py": f"# {name} {number}\n".encode() * 200 for number in range(MODULES)}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=") for path, data in members.items()
    }
    record = "".join(f"{path},sha256={digests[path].decode()},{len(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 1, 1, 0, 0, 0)), data)
    return wheel


def _installed(folder: Path, index: Assay, names: list[str]) -> Path:
    environ = clean_environment(folder) | {"UV_DEFAULT_INDEX": f"{index.url}simple/"}
    trust = [*ASSAY, "trust", "add", index.url, "--fingerprint", index.fingerprint]
    subprocess.run(trust, env=environ, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([UV, "venv", "--quiet", str(folder / "venv")], env=environ, check=True)
    python = folder / "venv" / "bin" / "python"
    command = [*ASSAY, "run", "--", UV, "pip", "install", "--quiet", "--python", str(python), *names]
    subprocess.run(command, env=environ, check=True)
    return python


async def _audited(folder: Path, python: Path) -> tuple[float, list[float], float, int]:
    environ = clean_environment(folder)
    with mock.patch.dict("os.environ", environ | {"XDG_CACHE_HOME": str(folder / "empty")}, clear=True):
        environment = find_environment(python)
        async with opened(Registry.of_user().find(None)) as index:
            times, cpu_s = [], []
            for _ in range(ROUNDS + 1):
                started, began = time.perf_counter(), time.process_time()
                done = await audit(index, environment, with_bytecode=False)
                times.append(time.perf_counter() - started)
                cpu_s.append(time.process_time() - began)
    unsound = [finding for finding in done.findings if finding.verdict is not Verdict.VERIFIED]
    if unsound:
        raise SystemExit(f"not verified: {unsound[0]}")
    files = sum(len(finding.installed.recorded or ()) for finding in done.findings)
    return times[0], times[1:], min(cpu_s), files


def _command_s(folder: Path, python: Path) -> float:
    started = time.perf_counter()
    command = [*ASSAY, "audit", "--python", str(python)]
    subprocess.run(command, env=clean_environment(folder), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
