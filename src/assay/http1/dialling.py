"""The way to a host: direct, or over the user's own proxy where the environment names one."""

import asyncio
import base64
import os
import platform
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import truststore

from assay.http1.connection import Connection
from assay.model.errors import OperatorError

CONNECT_TIMEOUT_S: Final = 15.0
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
MAX_PROXY_HEAD_BYTES: Final = 16_384


class Place(NamedTuple):
    """Where a connection leads. ``host`` without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host:port``, without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@cache
def system_tls() -> ssl.SSLContext:
    """TLS that trusts what this system trusts; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured on every system."""
    if platform.system() == "Linux":
        return ssl.create_default_context()  # OpenSSL reads the system's store and both variables by itself
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if extra := os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(cafile=extra)
    return context


def user_proxy_for(scheme: str, host: str, environ: Mapping[str, str]) -> str | None:
    """The proxy that ``environ`` names for ``host`` (``HTTPS_PROXY`` and the like, ``NO_PROXY``), or None."""

    def setting(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name.upper()) or ""

    direct = [
        entry.strip().lower().lstrip("*").lstrip(".") for entry in setting("no_proxy").split(",") if entry.strip()
    ]
    if any(entry in ("", host) or host.endswith(f".{entry}") for entry in direct):
        return None
    proxy = setting(f"{scheme}_proxy") or setting("all_proxy")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_authorization(proxy: str) -> str | None:
    """The value of ``Proxy-Authorization`` for the credentials in the proxy's URL."""
    parts = urlsplit(proxy)
    return None if parts.username is None else basic(unquote(parts.username), unquote(parts.password or ""))


def basic(username: str, password: str) -> str:
    """HTTP Basic credentials (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def connect(place: Place, proxy: str | None, tls: ssl.SSLContext | None) -> Connection:
    """A connection that speaks HTTP with ``place``; ``tls`` is for https. Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        if proxy is None:
            _, connection = await loop.create_connection(
                Connection, place.host, place.port, ssl=tls, server_hostname=place.host if tls else None
            )
            return connection
        if place.scheme == "http":
            return await _to_proxy(proxy)
        _, writer = await dial_through(proxy, place.host, place.port)
        connection = Connection()
        connection.transport = await loop.start_tls(
            writer.transport, connection, tls or system_tls(), server_hostname=place.host
        )
        return connection


async def _to_proxy(proxy: str) -> Connection:
    host, port, tls = _read_proxy(proxy)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port, ssl=tls)
    return connection


def _read_proxy(proxy: str) -> tuple[str, int, ssl.SSLContext | None]:
    parts = urlsplit(proxy)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise OperatorError(
            "this kind of proxy is not supported",
            rule="user-proxy",
            subject=f"{parts.scheme}://{parts.hostname}",
            expected="an http or https proxy",
        )
    tls = system_tls() if parts.scheme == "https" else None
    return parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme], tls


async def dial_through(proxy: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A tunnel to ``host`` through ``proxy`` (CONNECT). Raises OSError, OperatorError for an unknown kind of proxy."""
    proxy_host, proxy_port, tls = _read_proxy(proxy)
    reader, writer = await asyncio.open_connection(proxy_host, proxy_port, ssl=tls, limit=MAX_PROXY_HEAD_BYTES)
    try:
        writer.write(_connect_head(host, port, proxy_authorization(proxy)))
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise ConnectionRefusedError(f"the proxy {proxy_host} answered {head.splitlines()[0][:100]!r}")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise ConnectionRefusedError(f"the proxy {proxy_host} gave no sound answer") from error
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _connect_head(host: str, port: int, authorization: str | None) -> bytes:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if authorization is not None:
        lines.append(f"Proxy-Authorization: {authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
