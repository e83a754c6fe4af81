"""Running the application: uvicorn on uvloop and httptools, over connections that are bounded."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from assay.index.web.asgi import ASGIApp
from assay.index.web.connection import BoundedProtocol

KEEP_ALIVE_SECONDS: Final = 15
SHUTDOWN_SECONDS: Final = 30
MAX_CONNECTIONS: Final = 4_000
BACKLOG: Final = 2_048


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the server's certificate chain and private key."""

    certificate: Path
    key: Path


def make_server(
    app: ASGIApp, host: str, port: int, *, tls: Tls | None = None, max_connections: int = MAX_CONNECTIONS
) -> uvicorn.Server:
    """A server that has not started. ``server.run(sockets=[...])`` blocks; set ``server.should_exit`` to end it."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        limit_concurrency=max_connections,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, host: str, port: int, *, tls: Tls | None = None, sock: socket.socket | None = None) -> None:
    """Serve until SIGINT or SIGTERM. ``sock``: one that listens already, in the place of ``host`` and ``port``."""
    make_server(app, host, port, tls=tls).run(sockets=[sock] if sock is not None else None)
