"""Hostile connections: heads that never end, readers that never read, bodies nobody asked for."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.index.web import connection
from client.small_distributions import build_wheel
from index.web.folder_index import FolderIndex
from index.web.running import Address, running

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, index: FolderIndex) -> Iterator[Address]:
    for name in ("HEAD_SECONDS", "DRAIN_SECONDS", "STALL_SECONDS"):
        monkeypatch.setattr(connection, name, 0.4)
    with running(index.services()) as address:
        yield address


def closed_after(client: socket.socket) -> float:
    """Seconds until the server closes; what it says until then is dropped."""
    started = time.monotonic()
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - started


def test_a_client_that_says_nothing(hasty: Address) -> None:
    with hasty.connect() as client:
        assert closed_after(client) < 5


@pytest.mark.parametrize("head", [b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nX: y"])
def test_a_head_that_never_ends(head: bytes, hasty: Address) -> None:
    with hasty.connect() as client:
        client.sendall(GET)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(head)
        assert closed_after(client) < 5


def test_a_head_that_is_too_large(web: Address) -> None:
    with web.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        answer = b""
        for _ in range(40):
            try:
                client.sendall(b"X-Long: " + b"y" * 8_000 + b"\r\n")
            except ConnectionError:
                break
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 431")


def test_one_header_that_is_too_large(web: Address) -> None:
    with web.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            client.sendall(b"y" * 100_000_000)


def test_large_heads_in_good_order_are_served_one_after_the_other(web: Address) -> None:
    with web.connect() as client:
        for _ in range(4):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 30_000 + b"\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(web: Address) -> None:
    with web.connect() as client:
        client.sendall(
            GET
            + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
            + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        received = b""
        while chunk := client.recv(65_536):
            received += chunk
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404", b"200"]
    assert b"HTTP/1.1 404 no such address\r\n" in received


def test_the_answer_can_be_read_though_the_body_was_not_wanted(web: Address) -> None:
    with web.connect() as client:
        client.sendall(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        for _ in range(30):
            client.sendall(b"x" * 100_000)
        assert client.recv(1000).startswith(b"HTTP/1.1 403 authentication is needed")
        client.sendall(GET)
        received = b""
        while b"Assay" not in received:
            received += client.recv(65_536)


def test_a_body_that_nobody_wants_does_not_keep_the_connection(hasty: Address) -> None:
    with hasty.connect() as client:
        client.sendall(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 403")
        assert closed_after(client) < 5


def test_a_reader_that_does_not_read_is_cut_off(index: FolderIndex, hasty: Address) -> None:
    data = b"x" * 20_000_000
    index.add("big-1.0.tar.gz", data)
    with hasty.connect() as client:
        client.sendall(b"GET /packages/big/1.0/big-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        received = 0
        try:
            while chunk := client.recv(1_000_000):
                received += len(chunk)
        except ConnectionError:
            pass
    assert received < len(data)


def test_a_slow_reader_is_served(index: FolderIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.5)
    data = b"x" * 12_000_000
    index.add("big-1.0.tar.gz", data)
    with running(index.services()) as web, web.connect() as client:
        client.sendall(b"GET /packages/big/1.0/big-1.0.tar.gz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = 0
        while chunk := client.recv(1_000_000):
            received += len(chunk)
            time.sleep(0.1)
    assert received > len(data)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_closed_when_readers_leave(index: FolderIndex, web: Address) -> None:
    index.add("big-1.0.tar.gz", b"x" * 20_000_000)
    index.add("demo-1.0-py3-none-any.whl", build_wheel("demo", "1.0"))
    web.get("/packages/demo/1.0/demo-1.0-py3-none-any.whl")
    before = open_descriptors()
    for _ in range(20):
        with web.connect() as client:
            client.sendall(b"GET /packages/big/1.0/big-1.0.tar.gz HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)
    deadline = time.monotonic() + 5
    while open_descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert open_descriptors() <= before


def test_too_many_connections(index: FolderIndex) -> None:
    with running(index.services(), max_connections=8) as web:
        held = [web.connect() for _ in range(8)]
        time.sleep(0.1)
        assert web.get("/").status == 503
        held += [web.connect() for _ in range(10)]
        dropped = sum(is_dropped(client) for client in held)
        assert dropped >= 8
        for client in held:
            client.close()
        deadline = time.monotonic() + 5
        while web.get("/").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def is_dropped(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_an_early_refusal_of_a_large_body_can_be_read(web: Address, connection: str) -> None:
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: 20000000\r\n\r\n"
    with web.connect() as client:
        client.sendall(head.encode())
        for _ in range(200):
            client.sendall(b"x" * 100_000)
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 403 authentication is needed")
        if connection == "close":
            assert closed_after(client) < 5


def test_a_refused_body_that_never_ends_is_drained_for_a_while_only(hasty: Address) -> None:
    with hasty.connect() as client:
        client.sendall(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 403")
        assert closed_after(client) < 5
