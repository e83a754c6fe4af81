"""The application behind a real socket, in a thread, and a client that sends exactly what a test says."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from assay.index.web.app import build_app
from assay.index.web.server import Tls, make_server
from assay.index.web.services import WebServices


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/"

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            lines = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, response.reason, lines, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """``headers`` with underscores for dashes."""
        return self.request("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=20)


@contextmanager
def running(services: WebServices, *, tls: Tls | None = None, max_connections: int | None = None) -> Iterator[Address]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = make_server(build_app(services), "127.0.0.1", 0, tls=tls, max_connections=max_connections)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield Address("127.0.0.1", listener.getsockname()[1], "https" if tls else "http")
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
