"""Every blob and page read and held against the hash in its name: at a bounded rate, resumed where it stopped.

Nothing is changed. Memory stays small whatever the index holds: names are read a folder at a time, bytes a megabyte.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from assay import durable
from assay.index.config import DataFolder
from assay.model.errors import OperatorError

CHUNK_BYTES: Final = 1_048_576
SAVE_EVERY_S: Final = 5.0
MAX_NAMED: Final = 10_000


@dataclass(slots=True)
class ScrubState:
    """How far a scrub is. ``position``: the last file that was read, by its name below the data folder."""

    started: str
    position: str = ""
    files: int = 0
    size: int = 0
    bad: list[str] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a scrub reads, and what it may ask of the time."""

    bytes_per_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def scrub(data: DataFolder, now: datetime, pace: Pace, stopped: Callable[[], bool] = lambda: False) -> ScrubState:
    """Go on with the scrub that was interrupted, or begin one; returns when all is read, or ``stopped``."""
    state = read_state(data)
    if state is None or state.finished:
        state = ScrubState(now.isoformat(timespec="seconds"))
    began, read, saved = pace.clock(), 0, pace.clock()
    for name, path, expected in _files_after(data, state.position):
        if stopped():
            break
        size, found = _hash(path)
        if found != expected and len(state.bad) < MAX_NAMED:
            state.bad.append(name)
        state.position, state.files, state.size, read = name, state.files + 1, state.size + size, read + size
        if (ahead := read / pace.bytes_per_s - (pace.clock() - began)) > 0:
            pace.sleep(ahead)
        if pace.clock() - saved > SAVE_EVERY_S:
            saved = pace.clock()
            _save(data, state)
    else:
        state.finished = True
    _save(data, state)
    return state


def read_state(data: DataFolder) -> ScrubState | None:
    """The last scrub, finished or not; None where there was none. Raises OperatorError for a damaged record."""
    try:
        document: dict[str, Any] = orjson.loads(_record(data).read_bytes())
        return ScrubState(**document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise OperatorError(
            "the record of the last scrub is damaged",
            subject=str(_record(data)),
            rule="scrub-record",
            next_step="assay scrub --restart",
        ) from error


def forget(data: DataFolder) -> None:
    """Begin anew next time."""
    _record(data).unlink(missing_ok=True)


def _record(data: DataFolder) -> Path:
    return data.root / "run" / "scrub.json"


def _save(data: DataFolder, state: ScrubState) -> None:
    durable.write_file(_record(data), orjson.dumps(asdict(state)))


def _files_after(data: DataFolder, position: str) -> Iterator[tuple[str, Path, str]]:
    """Name, path and sha256 of every file whose name holds its hash, in the order of names, after ``position``."""
    for top, is_page in ((data.blobs, False), (data.published / "simple", True)):
        for folder in sorted(top.iterdir()) if top.is_dir() else ():
            prefix = str(folder.relative_to(data.root))
            if not folder.is_dir() or (prefix < position and not position.startswith(f"{prefix}/")):
                continue
            for path in sorted(folder.iterdir()):
                name = str(path.relative_to(data.root))
                expected = path.name.removesuffix(".index.json") if is_page else path.name
                if name > position and len(expected) == 64 and path.is_file():
                    yield name, path, expected


def _hash(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:  # swept meanwhile
        return 0, path.name.removesuffix(".index.json")
    except OSError as error:
        return size, f"cannot be read: {error.strerror}"
    return size, digest.hexdigest()
