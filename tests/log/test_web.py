"""The log over HTTP: what may be kept for ever, for a while or not at all; one spelling of every address."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.web.folder_index import FolderIndex
from index.web.running import Address, running
from log.worlds import log_of

LOG = log_of(300)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    folder: Path = tmp_path_factory.mktemp("index")
    index = FolderIndex(folder / "index")
    files = LOG.files | {"checkpoint": LOG.checkpoint(), "checkpoints/1": LOG.checkpoint()}
    index.published.write({f"log/{path}": data for path, data in files.items()})
    with running(index.services()) as address:
        yield address


def test_the_checkpoint_is_text_that_nobody_keeps(web: Address) -> None:
    answer = web.get("/log/checkpoint")
    assert (answer.status, answer.body) == (200, LOG.checkpoint())
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "max-age=0" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["tile/0/000", "tile/entries/000"])
def test_full_tiles_may_be_kept_for_ever(web: Address, path: str) -> None:
    answer = web.get(f"/log/{path}")
    assert (answer.status, answer.body) == (200, LOG.files[path])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"])
def test_partial_tiles_may_be_kept_for_a_while(web: Address, path: str) -> None:
    answer = web.get(f"/log/{path}")
    assert (answer.status, answer.body) == (200, LOG.files[path])
    assert answer.headers["cache-control"] == "public, max-age=600"


def test_entry_bundles_are_compressed_for_who_asks(web: Address) -> None:
    answer = web.get("/log/tile/entries/000", Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == LOG.files["tile/entries/000"]


@pytest.mark.parametrize(
    "path",
    [
        "/log",
        "/log/",
        "/log/checkpoints/1",
        "/log/tile/0/001",
        "/log/tile/0/000.p/256",
        "/log/tile/0/x000/000",
        "/log/tile/0/000/",
        "/log/tile/0/%30%30%30/..",
        "/log/..%2Fledger",
        "/log/tile/0/../../checkpoint",
    ],
)
def test_nothing_else_is_there(web: Address, path: str) -> None:
    assert web.get(path).status == 404


def test_the_log_is_only_read(web: Address) -> None:
    assert web.request("POST", "/log/checkpoint").status == 405
