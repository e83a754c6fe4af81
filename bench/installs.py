"""About 30 real wheels: `assay run -- uv|pip install` beside the plain installer, from the same index, in turn.

Assay runs from an environment of its own, as `pip install assay` makes it: the client's dependencies, with byte-code.
Every round measures each way once, so that a ratio compares neighbours in time. `cold`: empty caches of installer
and Assay. `warm`: the private caches of the round before.
"""

import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from servers import Assay, assay, clean_environment

PROJECTS = ("flask", "requests", "rich", "httpx", "pydantic", "jsonschema", "pytest", "typer")
ROUNDS = 5
UV = str(Path(sys.executable).with_name("uv"))
HERE = Path(__file__).resolve().parents[1]
STARTS = 10
START_GOAL_S = 0.15
"""Processor time of a start that is aimed at."""
START_BOUND = 28
"""What is held: in times of an empty Python, which a loaded machine slows as well."""
COLD_LIMIT = {"uv": 1.15, "pip": 1.05}
"""What is promised: cold, in times of the plain installer."""


@dataclass
class Installs:
    """Seconds of each round, and how many wheels one round installs. ``stages``: milliseconds of one cold run."""

    installer: str
    wheels: int = 0
    plain_s: list[float] = field(default_factory=list)
    plain_warm_s: list[float] = field(default_factory=list)
    cold_s: list[float] = field(default_factory=list)
    warm_s: list[float] = field(default_factory=list)
    stages: Mapping[str, float] = field(default_factory=dict)

    def ratio(self, seconds: list[float]) -> float:
        """Median of the ratios, round by round, to the plain installer with an empty cache."""
        return statistics.median(ours / plain for ours, plain in zip(seconds, self.plain_s, strict=True))


@dataclass(frozen=True)
class Starts:
    """Each start of one command, in seconds: by the clock, and of the processor (its own and its children's)."""

    label: str
    wall_s: Sequence[float]
    processor_s: Sequence[float]


@dataclass(frozen=True)
class Measured:
    """``startup``: `assay run -- true`; ``python``: an empty Python."""

    installs: Sequence[Installs]
    startup: Starts
    python: Starts


def measure_installs(folder: Path, rounds: int = ROUNDS) -> Measured:
    """Needs the network once, to bring the wheels into the index; the rounds are on loopback."""
    with assay(folder, "pip") as index:
        bench = Bench.make(folder, index)
        found = []
        for installer in ("uv", "pip"):
            installs = Installs(installer)
            bench.plain(installer, cold=True)  # brings the wheels into the index
            bench.verified(installer, cold=True)
            for _ in range(rounds):
                seconds, output = bench.plain(installer, cold=True)
                installs.plain_s.append(seconds)
                installs.wheels = installs.wheels or bench.count_installed()
                installs.plain_warm_s.append(bench.plain(installer, cold=False)[0])
                seconds, output = bench.verified(installer, cold=True)
                installs.cold_s.append(seconds)
                installs.stages = _stages(output)
                installs.warm_s.append(bench.verified(installer, cold=False)[0])
            found.append(installs)
        startup = bench.starts("`assay run -- true`", [bench.program, "run", "--", "true"])
        python = bench.starts("an empty Python", [str(bench.client / "bin" / "python"), "-c", "pass"])
        return Measured(found, startup, python)


@dataclass(frozen=True)
class Bench:
    """``client``: an environment with Assay's client alone. ``pip``: one with the pip that is measured."""

    folder: Path
    index: Assay
    client: Path
    pip: Path
    environ: dict[str, str]

    @classmethod
    def make(cls, folder: Path, index: Assay) -> "Bench":
        """Environments, and an index that the client trusts."""
        environ = clean_environment(folder)
        client, pip = folder / "client", folder / "pip"
        source = folder / "source"  # the installed wheel, not this working tree, as a user has it
        shutil.copytree(HERE / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
        (source / "docs").mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", "docs/refusals.md"):
            shutil.copy(HERE / name, source / name)
        subprocess.run([UV, "venv", "-q", str(client)], check=True)
        subprocess.run([UV, "pip", "install", "-q", "--compile-bytecode", "-p", str(client), str(source)], check=True)
        subprocess.run([UV, "venv", "-q", "--seed", str(pip)], check=True)
        subprocess.run([UV, "pip", "install", "-q", "--compile-bytecode", "-p", str(pip), "-U", "pip"], check=True)
        bench = cls(folder, index, client, pip, environ)
        trust = [bench.program, "trust", "add", index.url, "--fingerprint", index.fingerprint]
        subprocess.run(trust, check=True, env=environ, capture_output=True)
        return bench

    @property
    def program(self) -> str:
        """Assay as a user starts it."""
        return str(self.client / "bin" / "assay")

    def plain(self, installer: str, *, cold: bool) -> tuple[float, str]:
        """The installer by itself."""
        cache = self.folder / f"plain-{installer}-cache"
        if cold:
            shutil.rmtree(cache, ignore_errors=True)
        environ = {"UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache)}
        return self.timed(self.command(installer), environ)

    def verified(self, installer: str, *, cold: bool) -> tuple[float, str]:
        """The same through Assay, but not without pip's settings, which it keeps for good."""
        if cold:
            for kept in ("files", "installers"):
                shutil.rmtree(self.folder / "cache" / "assay" / kept, ignore_errors=True)
        return self.timed([self.program, "run", "--timings", "--", *self.command(installer)])

    def command(self, installer: str) -> list[str]:
        """Into a fresh environment."""
        venv = self.folder / "venv"
        subprocess.run([UV, "venv", "-q", "--clear", "-p", str(self.pip / "bin" / "python"), str(venv)], check=True)
        if installer == "uv":
            return [UV, "pip", "install", "-p", str(venv), *PROJECTS]
        return [str(self.pip / "bin" / "python"), "-m", "pip", "--python", str(venv), "install", "-q", *PROJECTS]

    def count_installed(self) -> int:
        """How many distributions are in the environment."""
        return len(list((self.folder / "venv").glob("lib/python*/site-packages/*.dist-info")))

    def starts(self, label: str, command: list[str]) -> Starts:
        """``command``, again and again."""
        wall, processor = [], []
        for _ in range(STARTS):
            before = _processor_s()
            wall.append(self.timed(command)[0])
            processor.append(_processor_s() - before)
        return Starts(label, wall, processor)

    def timed(self, command: list[str], environ: Mapping[str, str] | None = None) -> tuple[float, str]:
        """Seconds from start to end, and what was said."""
        simple = f"{self.index.url}simple/"
        indexes = {"UV_DEFAULT_INDEX": simple, "PIP_INDEX_URL": simple, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        start = time.perf_counter()
        done = subprocess.run(
            command,
            env=self.environ | indexes | dict(environ or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout[-2000:]}")
        return seconds, done.stdout


def _processor_s() -> float:
    """Of all children that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _stages(output: str) -> dict[str, float]:
    found = re.search(r"^assay: timings (\{.*\})$", output, re.MULTILINE)
    return dict(json.loads(found.group(1))) if found else {}


def print_installs(measured: Measured) -> None:
    """The table: seconds, ratio, what was promised."""
    for installs in measured.installs:
        print(f"{installs.installer} install of {installs.wheels} wheels from the same index: seconds (median), ratio")
        for label, seconds, limit in (
            (f"plain {installs.installer}, empty cache", installs.plain_s, None),
            (f"plain {installs.installer}, warm cache", installs.plain_warm_s, None),
            ("assay run, empty caches", installs.cold_s, COLD_LIMIT[installs.installer]),
            ("assay run, warm caches", installs.warm_s, 1.0),
        ):
            goal = "" if limit is None else f"   goal {limit:.2f}"
            print(f"  {label:28}{statistics.median(seconds):8.2f}{installs.ratio(seconds):8.2f}{goal}")
        print(
            "  one cold run, milliseconds:", ", ".join(f"{name} {value:.0f}" for name, value in installs.stages.items())
        )
    for starts in (measured.startup, measured.python):
        wall, processor = (statistics.median(seconds) * 1000 for seconds in (starts.wall_s, starts.processor_s))
        print(f"{starts.label}: median of {STARTS}: {processor:.0f} ms of the processor, {wall:.0f} ms by the clock")
    ours, empty = (statistics.median(starts.processor_s) for starts in (measured.startup, measured.python))
    verdict = "within" if ours <= START_BOUND * empty else "BEYOND"
    print(
        f"  {ours / empty:.0f} empty Pythons, {verdict} the bound of {START_BOUND}; goal {START_GOAL_S * 1000:.0f} ms"
    )


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="assay-bench-") as name:
        print_installs(measure_installs(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
