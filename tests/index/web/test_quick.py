"""Hot reads answered on the spot: the same bytes as the ordinary way, in order, bounded, and never anything stale."""

import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from assay.formats.pages import ProjectPage
from assay.index.web import server as serving
from assay.index.web.app import IndexApplication, build_app
from assay.index.web.metrics import Metrics
from assay.index.web.server import make_server
from assay.model.names import ProjectName
from client.small_distributions import build_wheel
from index.web.folder_index import FolderIndex
from index.web.running import Address

WHEEL = "demo-1.0-py3-none-any.whl"
PAGE = "/simple/demo/"
FILE = f"/packages/demo/1.0/{WHEEL}"
JSON = "application/vnd.pypi.simple.v1+json"


@contextmanager
def served(index: FolderIndex, **changes: object) -> Iterator[tuple[Address, IndexApplication, uvicorn.Server]]:
    app = build_app(index.services(**changes))
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield Address("127.0.0.1", listener.getsockname()[1]), app, server
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def filled(index: FolderIndex) -> FolderIndex:
    index.add(WHEEL, build_wheel("demo", "1.0"), b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    index.published.write({"tuf/timestamp.json": b'{"signed": 1}', "tuf/7.snapshot.json": b'{"signed": 2}' * 99})
    return index


def on_the_spot(app: IndexApplication, target: str, headers: Mapping[str, str]) -> bool:
    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return app.find_quick(target.encode(), lines) is not None


def read_answers(client: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of ``count`` answers in a row."""
    data, found = b"", list[tuple[int, bytes]]()
    while len(found) < count:
        head, separator, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if separator and length is not None and len(rest) >= int(length[1]):
            found.append((int(head[9:12]), rest[: int(length[1])]))
            data = rest[int(length[1]) :]
            continue
        chunk = client.recv(1_000_000)
        assert chunk, f"closed after {len(found)} answers: {data[:200]!r}"
        data += chunk
    assert data == b""
    return found


@pytest.mark.parametrize("coding", ["identity", "gzip", "gzip;q=0.5, br", "*;q=0"])
@pytest.mark.parametrize(
    ("target", "accept"),
    [
        (PAGE, JSON),
        (PAGE, "text/html"),
        (PAGE, "application/vnd.pypi.simple.v1+html"),
        (PAGE, f"{JSON}, text/html;q=0.1"),
        (PAGE, "*/*"),
        (FILE, "*/*"),
        ("/tuf/timestamp.json", "*/*"),
        ("/tuf/7.snapshot.json", "*/*"),
    ],
)
def test_the_answer_on_the_spot_is_the_ordinary_one(filled: FolderIndex, target: str, accept: str, coding: str) -> None:
    headers = {"Accept": accept, "Accept-Encoding": coding}
    with served(filled) as (web, app, _):
        assert not on_the_spot(app, target, headers)
        ordinary = web.request("GET", target, headers)
        assert ordinary.status == 200
        assert on_the_spot(app, target, headers)
        quick = web.request("GET", target, headers)
    assert (quick.status, quick.reason, quick.body) == (ordinary.status, ordinary.reason, ordinary.body)
    assert {**quick.headers, "date": ""} == {**ordinary.headers, "date": ""}


@pytest.mark.parametrize(
    "header",
    [
        {"Range": "bytes=0-1"},
        {"If-None-Match": "*"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Expect": "100-continue"},
        {"Upgrade": "h2c"},
        {"Accept": "image/png"},
    ],
)
def test_what_is_not_plain_goes_the_ordinary_way(filled: FolderIndex, header: dict[str, str]) -> None:
    with served(filled) as (web, app, _):
        web.get(PAGE)
        assert on_the_spot(app, PAGE, {})
        assert not on_the_spot(app, PAGE, header)
        web.get("/tuf/7.snapshot.json")
        assert on_the_spot(app, "/tuf/7.snapshot.json", {"Accept-Encoding": "gzip"})
        assert not on_the_spot(app, "/tuf/7.snapshot.json", {"Accept-Encoding": "gzip, zstd"})
    for target in (
        f"{PAGE}?format=json",
        "/simple/Demo/",
        "/simple/../simple/demo/",
        "/simple/%64emo/",
        "/simple/",
        "/",
    ):
        assert not on_the_spot(app, target, {})


def test_requests_in_a_row_are_answered_in_order(filled: FolderIndex) -> None:
    targets = [PAGE, FILE, "/simple/nothing/", PAGE, "/healthz", FILE, FILE, f"{PAGE}index.json", PAGE, "/nowhere"] * 5
    with served(filled) as (web, _, _):
        expected = [(answer.status, answer.body) for answer in map(web.get, targets)]
        with web.connect() as client:
            client.sendall(b"".join(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for target in targets))
            got = read_answers(client, len(targets))
    assert [status for status, _ in got] == [status for status, _ in expected]
    assert [body for status, body in got if status == 200] == [body for status, body in expected if status == 200]


def test_a_head_that_comes_in_pieces_is_answered_once(filled: FolderIndex) -> None:
    with served(filled) as (web, _, _):
        body = web.get(PAGE).body
        with web.connect() as client:
            for byte in f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 2:
                client.sendall(bytes((byte,)))
            assert read_answers(client, 2) == [(200, body)] * 2


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: %d\r\n\r\n%b",
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n",
    ],
)
def test_a_request_hidden_in_a_body_is_not_answered(filled: FolderIndex, framing: bytes) -> None:
    hidden = f"GET {FILE} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with served(filled) as (web, _, _):
        page, wheel = web.get(PAGE).body, web.get(FILE).body
        with web.connect() as client:
            client.sendall(f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n".encode() + framing % (len(hidden), hidden))
            assert read_answers(client, 1) == [(200, page)]
            client.sendall(hidden)
            assert read_answers(client, 1) == [(200, wheel)]


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: +5\r\n",
        b"Host : x\r\n",
    ],
)
def test_a_head_with_two_readings_is_refused_and_the_connection_closed(filled: FolderIndex, lines: bytes) -> None:
    with served(filled) as (web, _, _):
        web.get(PAGE)
        with web.connect() as client:
            client.sendall(f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n".encode() + lines + b"\r\nGET / HTTP/1.1\r\n\r\n")
            received = b""
            while chunk := client.recv(65_536):
                received += chunk
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_client_that_only_asks_does_not_fill_the_memory(filled: FolderIndex) -> None:
    for number in range(600):
        filled.add(f"many-{number}.tar.gz", b"%d" % number)
    with served(filled) as (web, app, server):
        length = len(web.get("/simple/many/").body)
        assert on_the_spot(app, "/simple/many/", {})
        with web.connect() as client:
            client.setblocking(False)
            ask, asked = b"GET /simple/many/ HTTP/1.1\r\nHost: x\r\n\r\n" * 50, 0
            for _ in range(400):
                try:
                    client.sendall(ask)
                    asked += 50
                except BlockingIOError:
                    break
            time.sleep(0.5)
            [busy] = [each for each in server.server_state.connections if each.transport.get_write_buffer_size()]
            assert busy.transport.get_write_buffer_size() < 3 * length
            assert asked * length > 50_000_000


def test_an_idle_connection_is_closed(filled: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "KEEP_ALIVE_SECONDS", 0.3)
    with served(filled) as (web, _, _):
        web.get(PAGE)
        with web.connect() as client:
            for _ in range(4):
                client.sendall(f"GET {PAGE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert read_answers(client, 1)[0][0] == 200
                time.sleep(0.1)
            started = time.monotonic()
            assert client.recv(1) == b""
            assert time.monotonic() - started < 5


def test_what_the_page_disowns_is_gone_at_once_though_its_file_is_open(filled: FolderIndex) -> None:
    with served(filled) as (web, app, _):
        assert [web.get(FILE).status for _ in range(2)] == [200, 200]
        assert on_the_spot(app, FILE, {})
        filled.put_page(ProjectPage(ProjectName("demo"), "upload", ()))
        assert web.get(FILE).status == 404
        assert web.get(PAGE).text.count(WHEEL) == 0


def test_a_blob_that_was_taken_away_or_put_back_is_seen_at_once(filled: FolderIndex) -> None:
    data = build_wheel("demo", "1.0")
    page = filled.page("demo")
    assert page is not None
    blob = filled.blobs.path(page.files[0].sha256)
    with served(filled) as (web, _, _):
        assert [web.get(FILE).status for _ in range(2)] == [200, 200]
        blob.unlink()
        assert web.get(FILE).status >= 500
        blob.write_bytes(data[:-1])
        assert web.get(FILE).status >= 500
        blob.write_bytes(data)
        assert [web.get(FILE).body for _ in range(2)] == [data, data]


def test_a_private_index_answers_nobody_on_the_spot(filled: FolderIndex) -> None:
    with served(filled, read_access=filled.authenticate) as (web, app, _):
        assert web.get(PAGE).status == 401
        assert not on_the_spot(app, PAGE, {})


def test_files_are_closed_in_the_end(filled: FolderIndex) -> None:
    def open_blobs() -> int:
        links = Path("/proc/self/fd").iterdir()
        return sum(str(filled.root) in str(link.readlink()) for link in links if link.is_symlink())

    with served(filled) as (web, _, _):
        for _ in range(3):
            web.get(FILE)
        assert open_blobs() == 1
    assert open_blobs() == 0


def test_what_is_answered_on_the_spot_is_counted(filled: FolderIndex) -> None:
    metrics = Metrics()
    with served(filled) as (web, app, _):
        web.get(PAGE)
        find = metrics.measured_find(app.find_quick)
        assert find(PAGE.encode(), []) is not None
        assert find(b"/simple/nothing/", []) is None
    labels = {"route": "simple", "status": "2xx"}
    assert metrics.registry.get_sample_value("assay_http_requests_total", labels) == 1


def test_A5_names_of_what_is_not_there_are_not_remembered(filled: FolderIndex) -> None:
    app = build_app(filled.services())
    tracemalloc.start()
    try:
        for number in range(300):
            for target in (f"/simple/{number}{'a' * 60_000}/", f"/tuf/{number}{'a' * 60_000}"):
                assert not on_the_spot(app, target, {})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 3_000_000
