"""What an attacker does to files and processes of an index, undone at the end of the block."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path


class Overwritten:
    """Files whose bytes are changed in place: every other name of the same file changes with it."""

    def __init__(self, files: Mapping[Path, bytes]) -> None:
        self._new = files
        self._old: dict[Path, bytes | None] = {}

    def __enter__(self) -> None:
        self._old = {path: path.read_bytes() if path.exists() else None for path in self._new}
        for path, data in self._new.items():
            _put(path, data)

    def __exit__(self, *_: object) -> None:
        for path, data in self._old.items():
            if data is None:
                path.unlink()
            else:
                _put(path, data)


class Replaced:
    """Names that are given to other files: the files that they named before stay as they are."""

    def __init__(self, files: Mapping[Path, bytes]) -> None:
        self._files = files

    def __enter__(self) -> None:
        for path, data in self._files.items():
            _beside(path).hardlink_to(path)
            new = path.with_name(f"{path.name}.new")
            _put(new, data)
            new.replace(path)

    def __exit__(self, *_: object) -> None:
        for path in self._files:
            _beside(path).replace(path)


class Frozen:
    """A process that stands still while the block lasts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.genuine")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode if path.exists() else 0o444
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)
