"""What lies in the library folders besides the files of distributions: byte-code, additions, strays.

Paths are text here: an environment has tens of thousands of files, and ``pathlib`` would take most of the time.
"""
# ruff: noqa: PTH118, PTH120, PTH208

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from assay.client.audit import bytecode

BYTECODE_TIMEOUT_S: Final = 600
_CACHE: Final = "__pycache__"


def files_below(folders: Iterable[Path]) -> Iterator[str]:
    """Every file in ``folders`` and below."""
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                yield os.path.join(place, name)


def compiled_of(sources: Iterable[str]) -> dict[str, str]:
    """The compiled files of ``sources`` in their ``__pycache__``, each with its source."""
    stems: dict[str, dict[str, str]] = {}
    for source in sources:
        folder, name = os.path.split(source)
        stems.setdefault(folder, {})[name.removesuffix(".py")] = source
    found = {}
    for folder, known in stems.items():
        cache = os.path.join(folder, _CACHE)
        for name in _names(cache):
            source_of = known.get(name.partition(".")[0])
            if source_of is not None and name.endswith(".pyc"):
                found[os.path.join(cache, name)] = source_of
    return found


def differing(python: Path, compiled: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Which of ``compiled`` (file, source) are not what their sources compile to, and why.

    In a process of the audited environment's interpreter, without its packages: only it knows its byte-code.
    """
    told = "".join(f"{source}\0{path}\n" for path, source in compiled).encode("utf-8", "surrogateescape")
    command = [str(python), "-I", "-S", bytecode.__file__]
    try:
        done = subprocess.run(command, input=told, capture_output=True, check=False, timeout=BYTECODE_TIMEOUT_S)
        lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    except subprocess.TimeoutExpired:
        lines = []
    if lines[-1:] != ["done"]:
        return {path: "unknown: the comparison broke off" for path, _ in compiled}
    return {path: reason for path, _, reason in (line.partition("\0") for line in lines[:-1])}


class Owners:
    """Whose folder a file lies in. ``libraries`` themselves are everybody's."""

    def __init__(self, libraries: Iterable[Path]) -> None:
        self._libraries = {str(folder) for folder in libraries}
        self._of: dict[str, int] = {}

    def add(self, number: int, paths: Iterable[str]) -> None:
        """Distribution ``number`` has files at ``paths``."""
        self._of |= dict.fromkeys(map(os.path.dirname, paths), number)

    def of(self, path: str) -> int | None:
        """The distribution in whose folder ``path`` lies, the innermost; None for nobody's."""
        folder = os.path.dirname(path)
        while folder not in self._libraries and folder != os.path.dirname(folder):
            if folder in self._of:
                return self._of[folder]
            folder = os.path.dirname(folder)
        return None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
