"""Making a bundle: a new client, which knows nothing but the trusted root, fetches everything and writes it down."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from assay import durable
from assay.client.bundle.folder import RecordingFetcher
from assay.client.registry import Bundle, TrustedEntry, encode_bundle
from assay.client.store import MetadataStore
from assay.client.trusted_index import TrustedIndex
from assay.model.errors import AlreadyExists
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP, RoleLimits, metadata_path
from assay.trust.update import MAX_ROOT_ROTATIONS

DESCRIPTION: Final = "bundle.json"
FLOOR: Final = "floor.json"
FORMAT: Final = 1


@asynccontextmanager
async def recording(entry: TrustedEntry, folder: Path) -> AsyncIterator[TrustedIndex]:
    """A new client of ``entry`` whose every answer goes to ``folder``, which must not exist. Raises AlreadyExists."""
    if await asyncio.to_thread(folder.exists):
        raise AlreadyExists("there is something here already", subject=str(folder), next_step="name a new folder")
    with tempfile.TemporaryDirectory(prefix="assay-bundle-") as name:
        store = MetadataStore(Path(name) / "metadata")
        store.write(ROOT, entry.store.read_root())
        partial = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            async with RecordingFetcher(entry.url, partial) as fetcher:
                index = TrustedIndex(entry.url, store, Path(name) / "files", fetcher, lambda: datetime.now(UTC))
                await _record_roots(fetcher, entry.url)
                await index.refresh()
                yield index
            timestamp, snapshot = store.read(TIMESTAMP), store.read(SNAPSHOT)
            floor = Bundle(entry.url, store.read_root(), timestamp, snapshot)
            durable.write_file(partial / FLOOR, encode_bundle(floor))
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def describe(folder: Path, url: str, files: tuple[str, ...], locks: list[str]) -> None:
    """Say for people what is in the bundle; nothing in it is believed."""
    document = {"assay-bundle": FORMAT, "url": url, "locks": locks, "files": list(files)}
    durable.write_file(folder / DESCRIPTION, orjson.dumps(document, option=orjson.OPT_INDENT_2))


async def _record_roots(fetcher: RecordingFetcher, url: str) -> None:
    """Every root from the first on: the machine behind the gap may trust an older one than this."""
    for version in range(1, MAX_ROOT_ROTATIONS + 1):
        if await fetcher.get(url + metadata_path(ROOT, version), max_bytes=RoleLimits().root) is None:
            return
