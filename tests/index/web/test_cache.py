"""The cache of published files: right, bounded, and made once however many ask."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from assay.index.web.cache import Kind, PublishedCache
from assay.model.errors import StorageUnavailable

TEXT: Kind[str] = Kind("text", lambda data: data.decode(), len)


async def text_of(cache: PublishedCache, path: Path, kind: Kind[str] = TEXT) -> str | None:
    found = await cache.get(str(path), kind)
    return found  # noqa: RET504 - for mypy


def replace_file(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    async def follow() -> list[str | None]:
        cache = PublishedCache(10_000)
        seen = [await text_of(cache, path)]
        for text in ("one", "two", "two", "one"):
            replace_file(path, text)
            seen.append(await text_of(cache, path))
        path.unlink()
        return [*seen, await text_of(cache, path), await text_of(cache, path / "below")]

    assert asyncio.run(follow()) == [None, "one", "two", "two", "one", None, None]


def test_a_pointer_that_moves_back_and_forth_between_the_same_files(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / text).write_text(text)
    pointer = tmp_path / "pointer"

    async def follow() -> None:
        cache = PublishedCache(10_000)
        for text in ("one", "two", "one", "one", "two"):
            pointer.unlink(missing_ok=True)
            os.link(tmp_path / text, pointer)
            assert await text_of(cache, pointer) == text

    asyncio.run(follow())


def test_made_once_for_many(tmp_path: Path) -> None:
    made = []
    gate = threading.Event()

    def make(data: bytes) -> str:
        made.append(data)
        gate.wait(5)
        return data.decode()

    (tmp_path / "file").write_text("x")

    async def ask() -> list[str | None]:
        cache = PublishedCache(10_000)
        kind = Kind("slow", make, len)
        asking = [asyncio.create_task(text_of(cache, tmp_path / "file", kind)) for _ in range(20)]
        await asyncio.sleep(0.05)
        asking[0].cancel()
        gate.set()
        return await asyncio.gather(*asking[1:], text_of(cache, tmp_path / "file", kind))

    assert asyncio.run(ask()) == ["x"] * 20
    assert len(made) == 1


def test_costs_stay_under_the_cap(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(50)]
    for path in paths:
        path.write_text("x" * 1_000)
    huge = tmp_path / "huge"
    huge.write_text("x" * 90_000)

    async def fill() -> None:
        cache = PublishedCache(20_000)
        for path in (*paths, huge, *paths[-3:]):
            assert await text_of(cache, path) == path.read_text()
            assert cache.cost_bytes <= 20_000
        assert cache.cost_bytes > 10_000, "one huge value does not push the others out"

    asyncio.run(fill())


def test_what_cannot_be_read_and_what_cannot_be_made(tmp_path: Path) -> None:
    async def ask(path: Path, kind: Kind[str]) -> None:
        await PublishedCache(1_000).get(str(path), kind)

    with pytest.raises(StorageUnavailable):
        asyncio.run(ask(tmp_path, TEXT))
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        asyncio.run(ask(tmp_path / "latin", TEXT))
