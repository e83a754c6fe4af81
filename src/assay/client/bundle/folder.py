"""An index's answers in a folder: written while they are fetched, read in the place of the network."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from assay import durable
from assay.fetch import NOT_FOUND, OK, Fetcher, Known, Reply
from assay.model.digests import Sha256
from assay.model.errors import StorageUnavailable, Unreachable, VerificationFailed

PAGE_FILE = "index.json"


def place_of(url: str, index: str, folder: Path) -> Path:
    """Where the answer of ``url``, an address below ``index``, lies in ``folder``. Raises Unreachable."""
    relative = url.removeprefix(index)
    parts = relative.split("/")
    if relative == url or any(part in (".", "..") or "\\" in part or "\0" in part for part in parts):
        raise Unreachable("not an address of this index", subject=url, rule="bundle-address")
    return folder.joinpath(*parts[:-1], parts[-1] or PAGE_FILE)


class RecordingFetcher(Fetcher):
    """Fetches from ``index`` and keeps every answer in ``folder``."""

    def __init__(self, index: str, folder: Path) -> None:
        super().__init__(os.environ)
        self._index = index
        self._folder = folder

    async def ask(self, url: str, *, max_bytes: int, headers: Mapping[str, str], known: Known | None = None) -> Reply:
        """As ``Fetcher.ask``, which every other way of asking comes down to; the body is kept whole."""
        reply = await super().ask(url, max_bytes=max_bytes, headers=headers, known=known)
        if reply.status == OK:
            await asyncio.to_thread(_keep, place_of(url, self._index, self._folder), reply.body)
        return reply

    async def download(self, url: str, path: Path, *, length: int) -> Sha256 | None:
        """As ``Fetcher.download``."""
        found = await super().download(url, path, length=length)
        if found is not None:
            await asyncio.to_thread(_copy, path, place_of(url, self._index, self._folder))
        return found


class FolderFetcher(Fetcher):
    """Answers for ``index`` out of ``folder`` and reaches nothing else: what is not there is a 404."""

    def __init__(self, index: str, folder: Path) -> None:
        super().__init__({})
        self._index = index
        self._folder = folder

    async def ask(self, url: str, *, max_bytes: int, headers: Mapping[str, str], known: Known | None = None) -> Reply:
        """As ``Fetcher.ask``; in a bundle nothing is packed."""
        del headers, known
        data = await asyncio.to_thread(_read, place_of(url, self._index, self._folder), max_bytes, url)
        return Reply(NOT_FOUND, b"", url, None) if data is None else Reply(OK, data, url, None)

    async def download(self, url: str, path: Path, *, length: int) -> Sha256 | None:
        """As ``Fetcher.download``."""
        source = place_of(url, self._index, self._folder)
        return await asyncio.to_thread(_copy_checked, source, path, length, url)


def _keep(path: Path, data: bytes) -> None:
    durable.make_folder(path.parent)
    durable.replace_file(path, data)


def _copy(source: Path, path: Path) -> None:
    durable.make_folder(path.parent)
    try:
        shutil.copyfile(source, path)
    except OSError as error:
        raise StorageUnavailable(f"cannot keep the file: {error.strerror}", subject=str(path)) from error


def _read(path: Path, max_bytes: int, url: str) -> bytes | None:
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailable(f"cannot be read: {error.strerror}", subject=str(path)) from error
    if len(data) > max_bytes:
        raise VerificationFailed(
            "longer than expected", subject=url, rule="length", expected=f"at most {max_bytes} bytes"
        )
    return data


def _copy_checked(source: Path, path: Path, length: int, url: str) -> Sha256 | None:
    """Copy exactly ``length`` bytes; their SHA-256, None where there is no such file."""
    digest, received = hashlib.sha256(), 0
    try:
        with source.open("rb") as stream, path.open("xb") as target:
            while chunk := stream.read(1 << 20):
                received += len(chunk)
                if received > length:
                    break
                digest.update(chunk)
                target.write(chunk)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailable(f"cannot be copied: {error.strerror}", subject=str(source)) from error
    if received != length:
        raise VerificationFailed(
            "the file is not as long as vouched for",
            subject=url,
            rule="length",
            expected=f"{length} bytes",
            found=f"{'more' if received > length else received} bytes",
        )
    return Sha256(digest.hexdigest())
