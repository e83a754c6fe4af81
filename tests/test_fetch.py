"""Downloads over connections that break, redirects, encodings: what ``assay.fetch`` makes of them."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from assay.fetch import Fetcher
from assay.http1.dialling import user_proxy_for
from assay.model.digests import sha256_of
from assay.model.errors import AssayError, OperatorError, Unreachable, VerificationFailed

T = TypeVar("T")
DATA = bytes(range(256)) * 40


def answer(body: bytes, *fields: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def saying(answers: Sequence[bytes]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives each answer once, each over a connection of its own; its address, and what it was asked."""
    left, heads = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(left.pop(0))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heads
    finally:
        server.close()


def fetch(answers: Sequence[bytes], question: Callable[[Fetcher, str], Awaitable[T]], **environ: str) -> T:
    async def asking() -> T:
        async with saying(answers) as (url, _), Fetcher(environ) as fetcher:
            return await question(fetcher, url)

    return asyncio.run(asking())


def test_a_download_that_breaks_off_begins_again(tmp_path: Path) -> None:
    answers = [answer(DATA[:100], length=len(DATA)), answer(DATA)]
    found = fetch(answers, lambda fetcher, url: fetcher.download(url, tmp_path / "f", length=len(DATA)))
    assert found == sha256_of(DATA)
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_server_that_hangs_up_at_the_same_place_has_a_shorter_file(tmp_path: Path) -> None:
    """A truncated blob is no matter of the network: exit code 10, not 13."""
    answers = [answer(DATA[:100], length=len(DATA))] * 2
    with pytest.raises(VerificationFailed, match="shorter than vouched for") as refused:
        fetch(answers, lambda fetcher, url: fetcher.download(url, tmp_path / "f", length=len(DATA)))
    assert refused.value.rule == "length"


def test_a_network_that_keeps_breaking_is_said_to_be_so(tmp_path: Path) -> None:
    answers = [answer(DATA[:size], length=len(DATA)) for size in (10, 20, 30)]
    with pytest.raises(Unreachable):
        fetch(answers, lambda fetcher, url: fetcher.download(url, tmp_path / "f", length=len(DATA)))


@pytest.mark.parametrize("served", [DATA + b"x", DATA[:-1]], ids=["longer", "shorter"])
def test_another_length_than_vouched_for(tmp_path: Path, served: bytes) -> None:
    with pytest.raises(VerificationFailed) as refused:
        fetch([answer(served)], lambda fetcher, url: fetcher.download(url, tmp_path / "f", length=len(DATA)))
    assert refused.value.rule == "length"


def test_redirects_are_followed_and_told(tmp_path: Path) -> None:
    answers = [answer(b"", "Location: /there", status="302 Found"), answer(b"here", 'ETag: "1"')]
    reply = fetch(answers, lambda fetcher, url: fetcher.ask(url, max_bytes=10, headers={}))
    assert (reply.body, reply.etag, reply.url.endswith("/there")) == (b"here", '"1"', True)


@pytest.mark.parametrize("location", ["ftp://elsewhere.example/", "file:///etc/passwd", "javascript:1"])
def test_no_redirect_leads_out_of_http(location: str) -> None:
    with pytest.raises(Unreachable, match="insecure"):
        fetch(
            [answer(b"", f"Location: {location}", status="302 Found")],
            lambda fetcher, url: fetcher.get(url, max_bytes=10),
        )


def test_redirects_in_a_circle_end() -> None:
    circle = [answer(b"", "Location: /again", status="302 Found")] * 20
    with pytest.raises(Unreachable, match="from place to place"):
        fetch(circle, lambda fetcher, url: fetcher.get(url, max_bytes=10))


def test_gzip_is_read_and_bounded() -> None:
    packed = gzip.compress(DATA)
    reply = answer(packed, "Content-Encoding: gzip")
    assert fetch([reply], lambda fetcher, url: fetcher.get(url, max_bytes=len(DATA))) == DATA
    with pytest.raises(VerificationFailed, match="longer"):
        fetch([reply], lambda fetcher, url: fetcher.get(url, max_bytes=len(DATA) - 1))


@pytest.mark.parametrize("body", [gzip.compress(DATA)[:-9], b"not gzip"], ids=["cut off", "not gzip"])
def test_what_is_not_whole_gzip_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unreachable):
        fetch([answer(body, "Content-Encoding: gzip")], lambda fetcher, url: fetcher.get(url, max_bytes=len(DATA)))


def test_an_encoding_that_was_not_asked_for_is_no_answer() -> None:
    with pytest.raises(Unreachable, match="encoded"):
        fetch([answer(b"x", "Content-Encoding: br")], lambda fetcher, url: fetcher.get(url, max_bytes=9))


@pytest.mark.parametrize("url", ["ftp://x/", "http://", "http://x:99999/", "nothing"])
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    with pytest.raises(AssayError, match="not an address"):
        fetch([], lambda fetcher, _: fetcher.get(url, max_bytes=1))


def test_a_proxy_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(OperatorError) as refused:
        fetch([], lambda fetcher, url: fetcher.get(url, max_bytes=1), http_proxy="socks5://127.0.0.1:1")
    assert refused.value.rule == "user-proxy"


def test_credentials_come_from_the_address_or_netrc(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")

    async def heads() -> list[bytes]:
        async with saying([answer(b"x")] * 2) as (url, asked), Fetcher({"HOME": str(tmp_path)}) as fetcher:
            await fetcher.get(url, max_bytes=1)
            await fetcher.get(url.replace("//", "//you:word@"), max_bytes=1)
            return asked

    first, second = asyncio.run(heads())
    assert b"Authorization: Basic bWU6c2VjcmV0\r\n" in first
    assert b"Authorization: Basic eW91OndvcmQ=\r\n" in second


def test_a_port_in_no_proxy_does_not_confuse() -> None:
    assert user_proxy_for("http", "a.example", {"HTTP_PROXY": "p:1", "no_proxy": "b.example"}) == "http://p:1"


def test_a_second_answer_that_nobody_asked_for_is_not_read() -> None:
    second = answer(b"other", status="404 Not Found")

    async def ask_twice(fetcher: Fetcher, url: str) -> list[bytes | None]:
        return [await fetcher.get(url, max_bytes=99) for _ in range(2)]

    assert fetch([answer(b"one") + second, answer(b"two")], ask_twice) == [b"one", b"two"]
