"""Files that survive a crash whole or not at all: written aside, synced, renamed, and their folder synced.

The one place of the house that writes files which somebody trusts later.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from assay.model.errors import StorageUnavailable

SYNC_THREADS = 8
STAGING = ".staging"
"""The folder of a store in which its files are written before they get their names."""
_TEMPORARY_PREFIX = ".tmp-"


def read_file(path: Path) -> bytes | None:
    """The bytes at ``path``, or None. Raises StorageUnavailable for a disk that does not read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable(f"cannot read: {error.strerror}", subject=str(path)) from error


def write_file(path: Path, data: bytes, *, mode: int = 0o644, staging: Path | None = None) -> None:
    """Put ``data`` at ``path``, replacing what was there. Durable on return; raises StorageUnavailable."""
    write_files({path: data}, mode=mode, staging=staging)


def write_files(files: Mapping[Path, bytes], *, mode: int = 0o644, staging: Path | None = None) -> None:
    """Put every file in its place; durable on return. All are synced, at the same time, before the first is
    renamed; they are renamed in the order of ``files``.

    ``staging``: the folder (same file system) where they are written first; None: beside their places.
    """
    with storage_errors(), _staging() as stage:
        staged = {path: stage(path, data, mode, staging) for path, data in files.items()}
        _sync_together(list(staged.values()))
        for path, temporary in staged.items():
            temporary.replace(path)
        _sync_together(list({path.parent for path in files}))


def replace_file(path: Path, data: bytes, *, mode: int = 0o644, staging: Path | None = None) -> None:
    """Put ``data`` at ``path`` whole, but not yet durable: for what can be fetched and verified again, or missed."""
    with storage_errors(), _staging() as stage:
        stage(path, data, mode, staging).replace(path)


def put_file(path: Path, data: bytes, *, staging: Path | None = None) -> None:
    """Put ``data`` at ``path`` and make its folder; whole and durable only after ``sync_filesystem``.

    For very many new files that nothing names before; one that is there already is replaced whole.
    """
    with storage_errors():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            replace_file(path, data, staging=staging)
            return
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


def link_file(source: Path, path: Path, *, staging: Path | None = None, sync_folder: bool = True) -> None:
    """Make ``path`` another name of ``source``'s bytes, replacing what was there. Durable on return.

    Without ``sync_folder`` it is durable after ``sync_filesystem``.
    """
    with storage_errors():
        if not sync_folder:
            with suppress(FileExistsError):
                path.hardlink_to(source)
                return
        temporary = _temporary(path, staging)
        temporary.hardlink_to(source)
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # rename(2) leaves it where path was a name of source already
        if sync_folder:
            sync(path.parent)


def move_file(source: Path, path: Path, *, mode: int = 0o444) -> None:
    """Move ``source`` (same file system) to ``path``, replacing what was there. Durable on return."""
    with storage_errors():
        make_folder(path.parent)
        source.chmod(mode)
        sync(source)
        source.replace(path)
        sync(path.parent)


def remove_file(path: Path) -> None:
    """Delete ``path`` if it is there; a crash may bring it back. Raises StorageUnavailable."""
    with storage_errors():
        path.unlink(missing_ok=True)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Make a folder and the missing ones above it, durably."""
    with storage_errors():
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
    """Delete what a crash left half-written in ``folder`` or in its staging folder."""
    with storage_errors():
        for place in (folder, folder / STAGING):
            for leftover in place.glob(f"{_TEMPORARY_PREFIX}*"):
                leftover.unlink(missing_ok=True)


@contextmanager
def _staging() -> Iterator[Callable[[Path, bytes, int, Path | None], Path]]:
    """Gives the function that writes a file aside. When something fails all is removed: a full disk is full enough."""
    written: list[Path] = []

    def stage(path: Path, data: bytes, mode: int, staging: Path | None) -> Path:
        make_folder(path.parent)
        written.append(temporary := _temporary(path, staging))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return temporary

    try:
        yield stage
    except BaseException:
        for temporary in written:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path, staging: Path | None) -> Path:
    if staging is not None:
        make_folder(staging)
    return (staging or path.parent) / f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}"


@contextmanager
def storage_errors() -> Iterator[None]:
    """What the system refuses in this block is StorageUnavailable."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"cannot write: {error.strerror}", subject=error.filename, next_step="check free space and permissions"
        ) from error
