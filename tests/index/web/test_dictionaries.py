"""Roles on the wire: Zstandard for who takes it, and what changed since for who has an older version (RFC 9842)."""

import asyncio
import gzip

import pytest

from assay.fetch import Fetcher, Known
from assay.formats.zstd import available_dictionary, decompress
from assay.index.web.asgi import Message, Request
from assay.index.web.cache import PublishedCache
from assay.index.web.metadata import TufMetadata
from index.web.folder_index import FolderIndex
from index.web.running import Address


def snapshot(version: int, *changed: int) -> bytes:
    roles = ",".join(
        f'"bin-{number:04x}.json":{{"version":{number % 977 + 1 + (number in changed)}}}' for number in range(4_096)
    )
    return f'{{"signatures":[],"signed":{{"meta":{{{roles}}},"version":{version}}}}}'.encode()


OLD, NEW = snapshot(7), snapshot(8, 5, 900)
ASKING = {
    "Accept-Encoding": "dcz, zstd, gzip",
    "Available-Dictionary": available_dictionary(OLD),
    "Dictionary-ID": '"7"',
}


@pytest.fixture(autouse=True)
def _published(index: FolderIndex) -> None:
    index.published.write({"tuf/7.snapshot.json": OLD, "tuf/8.snapshot.json": NEW})


def test_who_has_the_last_version_gets_what_changed(web: Address) -> None:
    answer = web.request("GET", "/tuf/8.snapshot.json", ASKING)
    assert answer.headers["content-encoding"] == "dcz"
    assert "available-dictionary" in answer.headers["vary"].lower()
    assert "immutable" in answer.headers["cache-control"]
    assert len(answer.body) < 200
    assert decompress(answer.body, len(NEW), OLD) == NEW


def test_what_is_sent_may_be_the_next_dictionary(web: Address) -> None:
    answer = web.get("/tuf/7.snapshot.json", Accept_Encoding="zstd")
    assert answer.headers["content-encoding"] == "zstd"
    assert decompress(answer.body, len(OLD)) == OLD
    assert answer.headers["use-as-dictionary"] == 'match="/tuf/*.snapshot.json", id="7"'


@pytest.mark.parametrize(
    "change",
    [
        {"Available-Dictionary": available_dictionary(b"something else")},
        {"Available-Dictionary": "nonsense"},
        {"Dictionary-ID": '"6"'},
        {"Dictionary-ID": '"../7"'},
        {"Dictionary-ID": ""},
        {"Accept-Encoding": "zstd"},
    ],
)
def test_without_the_same_dictionary_on_both_sides_all_is_sent(web: Address, change: dict[str, str]) -> None:
    answer = web.request("GET", "/tuf/8.snapshot.json", {**ASKING, **change})
    assert answer.headers["content-encoding"] == "zstd"
    assert decompress(answer.body, len(NEW)) == NEW


def test_dictionaries_that_nobody_has_cost_nothing(index: FolderIndex) -> None:
    cache = PublishedCache(50_000_000)
    metadata = TufMetadata(index.published, cache)

    async def send(_message: Message) -> None:
        pass

    async def ask(dictionary: bytes) -> None:
        fields = {**ASKING, "Available-Dictionary": available_dictionary(dictionary)}
        headers = {name.lower().encode(): value.encode() for name, value in fields.items()}
        await metadata.answer(Request("GET", "", b"", b"", headers, {}), send, "8.snapshot.json")

    async def campaign() -> tuple[int, int]:
        await ask(OLD)
        await ask(b"mine")
        before = cache.cost_bytes
        for number in range(40):
            await ask(b"%d" % number)
        return before, cache.cost_bytes

    before, after = asyncio.run(campaign())
    assert after == before


def test_nobody_spoils_the_dictionary_of_others(web: Address) -> None:
    spoiling = web.request("GET", "/tuf/8.snapshot.json", {**ASKING, "Dictionary-ID": '"6"'})
    assert spoiling.headers["content-encoding"] == "zstd"
    assert web.request("GET", "/tuf/8.snapshot.json", ASKING).headers["content-encoding"] == "dcz"


def test_different_bodies_have_different_etags(web: Address) -> None:
    asked = [ASKING, {"Accept-Encoding": "zstd"}, {"Accept-Encoding": "gzip"}, {}]
    tags = [web.request("GET", "/tuf/8.snapshot.json", headers).headers["etag"] for headers in asked]
    assert len(set(tags)) == 4
    assert web.request("GET", "/tuf/8.snapshot.json", {**ASKING, "If-None-Match": tags[0]}).status == 304


def test_stock_clients_notice_nothing(web: Address) -> None:
    answer = web.get("/tuf/8.snapshot.json", Accept_Encoding="gzip, deflate")
    assert gzip.decompress(answer.body) == NEW
    assert "use-as-dictionary" not in answer.headers
    assert web.get("/tuf/8.snapshot.json", Accept_Encoding="zstd;q=0, gzip").headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("known", [None, Known("7", OLD), Known("7", b"another"), Known("99", OLD)])
def test_the_client_gets_the_same_bytes_whatever_it_has(web: Address, known: Known | None) -> None:
    async def get() -> bytes | None:
        async with Fetcher() as fetcher:
            return await fetcher.get_packed(f"{web.url}tuf/8.snapshot.json", max_bytes=len(NEW), known=known)

    assert asyncio.run(get()) == NEW
