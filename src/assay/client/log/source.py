"""Fetching a log's files. Nothing here is verified: every answer is worth what the tree says of it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from assay.fetch import Fetcher
from assay.model.errors import Unreachable
from assay.trust.log.checkpoint import CHECKPOINT
from assay.trust.log.identity import LOG
from assay.trust.log.note import MAX_NOTE_BYTES
from assay.trust.log.tiles import (
    ENTRIES,
    MAX_BUNDLE_BYTES,
    TILE_WIDTH,
    Tile,
    shorten,
    split_entries,
    tile_of,
)
from assay.trust.log.tree import HASH_BYTES

BUNDLES_AT_ONCE = 4
_ASK_AGAIN = {"Cache-Control": "no-cache"}


class LogSource:
    """The log of the index at ``url``, which ends with a slash. Methods raise Unreachable and VerificationFailed."""

    def __init__(self, url: str, fetcher: Fetcher) -> None:
        self.url = f"{url}{LOG}/"
        self._fetcher = fetcher

    async def checkpoint(self) -> bytes:
        """The newest checkpoint's file."""
        data = await self._fetcher.get(self.url + CHECKPOINT, max_bytes=MAX_NOTE_BYTES, headers=_ASK_AGAIN)
        return self._present(data, CHECKPOINT)

    async def tiles(self, tiles: Iterable[Tile]) -> Mapping[Tile, bytes]:
        """The files of ``tiles``, all at once; a partial one that is gone is cut from the full one."""
        wanted = tuple(tiles)
        return dict(zip(wanted, await asyncio.gather(*map(self._tile, wanted)), strict=True))

    async def entries(self, start: int, size: int) -> AsyncIterator[tuple[int, bytes]]:
        """The entries from ``start`` on of a log of ``size``, each with its number; at most a few bundles in memory."""
        first, end = start // TILE_WIDTH, -(-size // TILE_WIDTH)
        for at in range(first, end, BUNDLES_AT_ONCE):
            bundles = [tile_of(ENTRIES, index, size) for index in range(at, min(at + BUNDLES_AT_ONCE, end))]
            for bundle, data in (await self.tiles(bundles)).items():
                for number, entry in enumerate(split_entries(bundle, data), bundle.index * TILE_WIDTH):
                    if number >= start:
                        yield number, entry

    async def _tile(self, tile: Tile) -> bytes:
        data = await self._get(tile)
        if data is None and not tile.is_full:
            full = await self._get(tile.full)
            data = shorten(tile, tile.full, full) if full is not None else None
        return self._present(data, tile.path)

    async def _get(self, tile: Tile) -> bytes | None:
        limit = MAX_BUNDLE_BYTES if tile.level == ENTRIES else TILE_WIDTH * HASH_BYTES
        return await self._fetcher.get(self.url + tile.path, max_bytes=limit)

    def _present(self, data: bytes | None, path: str) -> bytes:
        if data is None:
            raise Unreachable(
                "the index's log says that it has this file, but does not serve it",
                subject=self.url + path,
                rule="log-missing",
            )
        return data
