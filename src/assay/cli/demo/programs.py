"""The real programs that the demo starts, and the people who start them.

Every program runs as a user would run it, in an environment without the settings of this machine's user (pip's, uv's,
twine's, Assay's), so that nothing of theirs is read or changed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from assay.model.errors import CallerError, OperatorError

TIMEOUT_S: Final = 120
ASSAY: Final = (sys.executable, "-m", "assay")
_OTHERS_SETTINGS: Final = ("PIP_", "UV_", "TWINE_", "XDG_", "ASSAY_", "PYTHON", "VIRTUAL_ENV", "CONDA_")


@dataclass(frozen=True, slots=True)
class Programs:
    """Words that start pip, uv and twine."""

    pip: Sequence[str]
    uv: Sequence[str]
    twine: Sequence[str]

    @classmethod
    def find(cls) -> "Programs":
        """Beside this Python first, then on PATH. Raises CallerError naming what is missing."""
        return cls(_find("pip"), _find("uv"), _find("twine"))


def _find(name: str) -> Sequence[str]:
    if find_spec(name) is not None:
        return (sys.executable, "-m", name)
    found = shutil.which(name)
    if found is None:
        raise CallerError(
            "the demo starts the real programs, and this one is not installed",
            subject=name,
            rule="program-missing",
            next_step="make demo does all set-up by itself; or: pip install 'assay[index]' twine uv",
        )
    return (found,)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: its exit code and everything it printed."""

    code: int
    said: str


def require(done: Done, *words: str) -> Done:
    """Raise OperatorError unless the command ``words`` ended well."""
    if done.code != 0:
        raise OperatorError("a step of the demo failed", subject=" ".join(words), found=done.said.strip()[-2000:])
    return done


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody's machine: a folder with their trust, their caches, their virtual environments.

    ``home``: an empty folder. ``settings``: environment variables of theirs, on top of the bare environment.
    """

    folder: Path
    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def environ(self) -> dict[str, str]:
        """The environment of their commands."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS_SETTINGS)}
        local = ",".join(filter(None, ("127.0.0.1,localhost", kept.get("NO_PROXY") or kept.get("no_proxy"))))
        return kept | {
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_NO_CONFIG": "1",
            "NO_PROXY": local,
            "no_proxy": local,
            "NO_COLOR": "1",
            "COLUMNS": "200",
            **self.settings,
        }

    @property
    def assay_cache(self) -> Path:
        """Where Assay keeps what may be deleted."""
        return self.folder / "cache" / "assay"

    def run(self, *command: str) -> Done:
        """Run ``command`` to its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            env=self.environ(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode("utf-8", "replace"))

    def copy(self, folder: Path) -> "Person":
        """The same person on another machine: a copy of everything they trust and keep."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Person(folder, self.home, self.settings)


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment, and the files that were in it when it was fresh."""

    folder: Path
    fresh: frozenset[Path]

    @classmethod
    def make(cls, programs: Programs, person: Person, name: str) -> "Environment":
        """Make a fresh one without pip in it. Raises CallerError when uv cannot."""
        folder = person.folder / name
        done = person.run(*programs.uv, "venv", "--quiet", "--offline", "--python", sys.executable, str(folder))
        if done.code != 0:
            raise CallerError("uv could not make a virtual environment", subject=str(folder), found=done.said.strip())
        return cls(folder, frozenset(_files(folder)))

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    def has(self, project: str) -> bool:
        """Is ``project`` installed?"""
        stem = project.replace("-", "_")
        return any(path.startswith(f"{stem}-") and ".dist-info/" in path for path in self.installed())

    def installed(self) -> list[str]:
        """What was installed since it was fresh, as file names relative to ``site-packages``."""
        new = (path for path in _files(self.folder) if path not in self.fresh)
        return sorted(str(path).partition("site-packages/")[2] or str(path) for path in new)


def _files(folder: Path) -> list[Path]:
    """Every file, but not the lock that uv takes."""
    return [path for path in folder.rglob("*") if not path.is_dir() and path != folder / ".lock"]
