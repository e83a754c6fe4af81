"""Running the application: uvicorn on uvloop and httptools, over connections that are bounded."""

import resource
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from assay.index.web.asgi import ASGIApp
from assay.index.web.quick_connection import QuickProtocol

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
    app: ASGIApp,
    host: str,
    port: int,
    *,
    tls: Tls | None = None,
    max_connections: int | None = None,
    proxies: Sequence[str] = (),
) -> uvicorn.Server:
    """A server that has not started. ``server.run(sockets=[...])`` blocks; set ``server.should_exit`` to end it.

    Above ``max_connections`` requests get 503, and above a quarter more, connections are dropped. None: as many as
    the process's descriptors allow. ``proxies``: addresses whose ``X-Forwarded-`` headers say who the client is.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=QuickProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        backlog=BACKLOG,
        limit_concurrency=max_connections or _affordable_connections(),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    return uvicorn.Server(config)


def _affordable_connections() -> int:
    """Each connection may need a descriptor for a file besides its own, and a quarter more may be open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_CONNECTIONS, soft // 3) if soft != resource.RLIM_INFINITY else MAX_CONNECTIONS


def serve(app: ASGIApp, host: str, port: int, *, tls: Tls | None = None, sock: socket.socket | None = None) -> None:
    """Serve until SIGINT or SIGTERM. ``sock``: one that listens already, in the place of ``host`` and ``port``."""
    make_server(app, host, port, tls=tls).run(sockets=[sock] if sock is not None else None)
