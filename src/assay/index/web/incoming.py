"""A file on its way in: on disk under a name nobody asks for, counted and hashed as it grows, gone unless moved away.

Invariants: blocking calls run in a thread and are waited for to their end, so that no thread writes to a descriptor
that was closed; the file is removed on every path on which nobody moved it.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from assay.formats.upload_form import FileDigests
from assay.model.digests import Sha256
from assay.model.errors import StorageUnavailable

T = TypeVar("T")


async def run_to_end(call: Callable[[], T]) -> T:
    """Run ``call`` in a thread; a cancellation takes effect when it has ended."""
    task = asyncio.create_task(asyncio.to_thread(call))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


class IncomingFile:
    """A file that grows. ``size`` in bytes; the digests are those of the bytes written so far."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self._blake2b = hashlib.blake2b(digest_size=32)
        self._md5 = hashlib.md5(usedforsecurity=False)

    async def write(self, data: bytes | bytearray) -> None:
        """Append ``data``. Raises StorageUnavailable."""
        try:
            await run_to_end(lambda: self._write(data))
        except OSError as error:
            raise no_room(error) from error

    def _write(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        for digest in (self._sha256, self._blake2b, self._md5):
            digest.update(data)
        self.size += len(data)

    def digests(self) -> FileDigests:
        """The digests of everything written."""
        return FileDigests(Sha256(self._sha256.hexdigest()), self._blake2b.hexdigest(), self._md5.hexdigest())


@asynccontextmanager
async def incoming_file(folder: Path) -> AsyncIterator[IncomingFile]:
    """A new file in ``folder`` for the length of the context. Raises StorageUnavailable."""
    path = folder / f"{secrets.token_hex(16)}.part"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise no_room(error) from error
    try:
        yield IncomingFile(path, descriptor)
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            path.unlink()


def require_room(folder: Path, wanted_bytes: int, min_free_bytes: int) -> None:
    """Raise StorageUnavailable unless the folder's file system has ``wanted_bytes`` and ``min_free_bytes`` more."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < wanted_bytes + min_free_bytes:
        raise StorageUnavailable("the index has no room for this upload", rule="disk-full", found=f"{free} bytes free")


def no_room(error: OSError) -> StorageUnavailable:
    """What a failed write means to the uploader."""
    return StorageUnavailable("the index could not store the upload", rule="disk", found=str(error))
