"""An install of about 20 real wheels: `assay run -- uv pip install` against plain uv, from the same index, in turn."""

import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from servers import Assay, assay, clean_environment

PROJECTS = ("flask", "requests", "rich", "httpx", "pydantic")
ROUNDS = 5
UV = str(Path(sys.executable).with_name("uv"))


@dataclass(frozen=True)
class Installs:
    """Seconds of each round, and how many wheels one round installs."""

    wheels: int
    plain_s: list[float]
    assay_cold_s: list[float]
    assay_warm_s: list[float]
    startup_s: list[float]

    def ratio(self, seconds: list[float]) -> float:
        """Median of the ratios, round by round, to plain uv."""
        return statistics.median(ours / plain for ours, plain in zip(seconds, self.plain_s, strict=True))


def measure_installs(folder: Path) -> Installs:
    """Needs the network once, to bring the wheels into the index; the rounds are on loopback."""
    with assay(folder, "pip") as index:
        environ = clean_environment(folder)
        program = [sys.executable, "-m", "assay"]
        trust = [*program, "trust", "add", index.url, "--fingerprint", index.fingerprint]
        subprocess.run(trust, check=True, env=environ, capture_output=True)
        bench = _Bench(folder, index, environ)
        wheels = bench.plain()[1]
        bench.verified(cold=True)
        rounds = [(bench.plain()[0], bench.verified(cold=True), bench.verified(cold=False)) for _ in range(ROUNDS)]
        startup = [_timed([*program, "run", "--", "true"], environ)[0] for _ in range(ROUNDS)]
        return Installs(wheels, *[list(column) for column in zip(*rounds, strict=True)], startup)


@dataclass(frozen=True)
class _Bench:
    folder: Path
    index: Assay
    environ: dict[str, str]

    def plain(self) -> tuple[float, int]:
        """Plain uv with an empty cache; seconds, and how many wheels were installed."""
        venv = self._venv()
        cache = self.folder / "uv-cache"
        shutil.rmtree(cache, ignore_errors=True)
        command = [UV, "pip", "install", "-p", str(venv), "--index-url", f"{self.index.url}simple/", *PROJECTS]
        seconds, output = _timed(command, self.environ | {"UV_CACHE_DIR": str(cache)})
        return seconds, output.count("\n + ")

    def verified(self, *, cold: bool) -> float:
        """The same through Assay; ``cold``: with empty caches of uv and of Assay, but not of pip's settings."""
        venv = self._venv()
        if cold:
            for kept in ("files", "installers", "runs"):
                shutil.rmtree(self.folder / "cache" / "assay" / kept, ignore_errors=True)
        command = [sys.executable, "-m", "assay", "run", "--", UV, "pip", "install", "-p", str(venv), *PROJECTS]
        return _timed(command, self.environ)[0]

    def _venv(self) -> Path:
        venv = self.folder / "venv"
        subprocess.run([UV, "venv", "-q", "--clear", str(venv)], check=True, env=self.environ)
        return venv


def _timed(command: list[str], environ: dict[str, str]) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
    return seconds, done.stderr
