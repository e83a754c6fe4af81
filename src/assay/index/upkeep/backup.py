"""A backup while the index serves: a folder that can be carried away, brought up to date by running it again.

The ledger is copied first, as one consistent moment; what its head lists was written before and is never changed, so
whatever is copied afterwards is complete for that moment. Files are named for their content or version: one that is
there is not copied again. The manifest is written last; until then the backup is the one before.

No link is followed: the web process can put one into the inbox, and whoever keeps the backup can put one there; both
would have a private file copied to where they can read it (threat B16).
"""

import hashlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from assay import durable
from assay.index.config import DataFolder
from assay.index.ledger import Ledger
from assay.index.ledger.publications import read_head
from assay.model.errors import OperatorError, StorageUnavailable

FORMAT: Final = "assay-backup/1"
MANIFEST: Final = "backup.json"
FOLDERS: Final = ("blobs", "published", "inbox")
_POINTERS: Final = frozenset({"timestamp.json", "index.json", "checkpoint", ".lock"})
"""Names whose content changes: the restored ones are made from what the ledger's head says."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. ``taken``: UTC, ISO 8601; ``ledger``: its file's name and ``ledger_sha256``."""

    taken: str
    publication: int
    ledger: str
    ledger_sha256: str
    with_keys: bool


@dataclass(frozen=True, slots=True)
class BackedUp:
    """The manifest that was written, and how much was copied this time."""

    manifest: Manifest
    files: int
    size: int


def back_up(data: DataFolder, target: Path, now: datetime, *, with_keys: bool) -> BackedUp:
    """Bring the backup in ``target`` up to date. ``with_keys``: the encrypted key files, too. Raises OperatorError."""
    if target.exists() and any(target.iterdir()) and not (target / MANIFEST).exists() and not _was_begun(target):
        raise OperatorError("this folder holds something that is no backup", subject=str(target), rule="not-a-backup")
    durable.make_folder(target)
    (target / f".{MANIFEST}").touch()
    partial = target / ".ledger.partial"
    _copy_ledger(data.ledger_file, partial)
    ledger = Ledger.open(partial)
    try:
        with ledger.read() as connection:
            publication = read_head(connection).publication
    finally:
        ledger.close()
    files = size = 0
    for source, name in _sources(data, with_keys=with_keys):
        wanted = target / name
        if wanted.exists() and wanted.stat().st_size == source.stat().st_size and not name.startswith("keys/"):
            continue
        size += copy_whole(source, wanted)
        files += 1
    _fold(partial)
    digest = sha256_of_file(partial)
    name = f"ledger-{publication}-{digest[:8]}.db"
    partial.replace(target / name)
    durable.sync_filesystem(target)
    manifest = Manifest(now.isoformat(timespec="seconds"), publication, name, digest, with_keys)
    durable.write_file(target / MANIFEST, _render(manifest))
    for old in target.glob("ledger-*.db"):
        if old.name != name:
            old.unlink()
    return BackedUp(manifest, files, size)


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(target: Path) -> Manifest:
    """What the backup in ``target`` says of itself. Raises OperatorError for a folder that is none."""
    try:
        document: dict[str, Any] = orjson.loads((target / MANIFEST).read_bytes())
        if document.pop("format") != FORMAT:
            raise ValueError(f"not {FORMAT}")
        return Manifest(**document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise OperatorError("this is no whole backup", subject=str(target), rule="not-a-backup", found=found) from error


def _was_begun(target: Path) -> bool:
    return (target / f".{MANIFEST}").exists()


def _render(manifest: Manifest) -> bytes:
    return orjson.dumps({"format": FORMAT, **asdict(manifest)}, option=orjson.OPT_INDENT_2)


def _copy_ledger(source: Path, target: Path) -> None:
    """One moment of the ledger, while others write it (SQLite's online backup)."""
    target.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
    except sqlite3.Error as error:
        raise StorageUnavailable(
            f"the ledger cannot be copied: {error}", subject=str(source), next_step="assay doctor says what is damaged"
        ) from error


def _fold(database: Path) -> None:
    """Put what lies beside a closed database into it, so that it is one file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _sources(data: DataFolder, *, with_keys: bool) -> Iterator[tuple[Path, str]]:
    """Every file to keep, and its name in the backup. A file that is swept meanwhile was listed by nobody."""
    folders = [data.root / name for name in FOLDERS] + ([data.keys.root] if with_keys else [])
    for folder in folders:
        for path in folder.rglob("*"):
            passing = path.name.startswith(".tmp-") or durable.STAGING in path.parts
            if path.name not in _POINTERS and not passing and is_plain(path):
                yield path, str(path.relative_to(data.root))
    if data.config_file.exists():
        yield data.config_file, data.config_file.name


def is_plain(path: Path) -> bool:
    """Whether this is a file itself, not a link to one."""
    return path.is_file() and not path.is_symlink()


def copy_whole(source: Path, target: Path) -> int:
    """Copy a file aside and rename it; returns its size, 0 where it is gone. Not durable. Raises StorageUnavailable."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".tmp-{target.name[:200]}")
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        partial.replace(target)
        return target.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageUnavailable(f"cannot write: {error.strerror}", subject=str(target)) from error
