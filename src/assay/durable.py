"""Files that survive a crash whole or not at all: written aside, synced, renamed, and their folder synced.

The one place of the house that writes files which somebody trusts later.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.model.errors import StorageUnavailable

SYNC_THREADS = 8
_TEMPORARY_PREFIX = ".tmp-"


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put ``data`` at ``path``, replacing what was there. Durable on return; raises StorageUnavailable."""
    write_files({path: data}, mode=mode)


def write_files(files: Mapping[Path, bytes], *, mode: int = 0o644) -> None:
    """Put every file in its place; durable on return. All are synced, at the same time, before the first is
    renamed; they are renamed in the order of ``files``.
    """
    with _storage_errors():
        staged = {path: _stage(path, data, mode) for path, data in files.items()}
        _sync_together(list(staged.values()))
        for path, temporary in staged.items():
            temporary.replace(path)
        _sync_together(list({path.parent for path in files}))


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` whole, but not yet durable: for what can be fetched and verified again."""
    with _storage_errors():
        _stage(path, data, 0o644).replace(path)


def link_file(source: Path, path: Path) -> None:
    """Make ``path`` another name of ``source``'s bytes, replacing what was there. Durable on return."""
    with _storage_errors():
        temporary = _temporary(path)
        temporary.hardlink_to(source)
        temporary.replace(path)
        temporary.unlink(missing_ok=True)  # rename(2) leaves it where path was a name of source already
        sync(path.parent)


def move_file(source: Path, path: Path, *, mode: int = 0o444) -> None:
    """Move ``source`` (same file system) to ``path``, replacing what was there. Durable on return."""
    with _storage_errors():
        make_folder(path.parent)
        source.chmod(mode)
        sync(source)
        source.replace(path)
        sync(path.parent)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make a folder and the missing ones above it, durably."""
    with _storage_errors():
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=mode, exist_ok=True)
            sync(folder.parent)


def sync(*paths: Path) -> None:
    """fsync files or folders."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_filesystem(folder: Path) -> None:
    """Make everything durable that was written to the file system of ``folder``: for more files than one can list."""
    import ctypes

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:  # not Linux
            os.sync()
        elif syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def _sync_together(paths: Sequence[Path]) -> None:
    """fsync all of ``paths`` at the same time: a disk takes little longer for several than for one."""
    if len(paths) == 1:
        sync(paths[0])
    else:
        with ThreadPoolExecutor(SYNC_THREADS) as pool:
            list(pool.map(sync, paths))


def remove_leftovers(folder: Path) -> None:
    """Delete what a crash left half-written below ``folder``."""
    for leftover in folder.rglob(f"{_TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):
            leftover.unlink()


def _stage(path: Path, data: bytes, mode: int) -> Path:
    make_folder(path.parent)
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return temporary


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}")


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"cannot write: {error.strerror}", subject=error.filename, next_step="check free space and permissions"
        ) from error
