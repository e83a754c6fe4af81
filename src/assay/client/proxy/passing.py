"""Hosts that the policy allows: passed through without verification, over the user's own proxy where there is one."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from assay.client.proxy.location import Origin
from assay.fetch import system_tls
from assay.model.errors import OperatorError, Unreachable

CONNECT_TIMEOUT_S: Final = 30
READ_TIMEOUT_S: Final = 300
MAX_PROXY_HEAD_BYTES: Final = 16_384
_CHUNK_BYTES: Final = 64 * 1024
_NOT_PASSED_ON: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "host"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection"}
)


def user_proxy_for(origin: Origin, environ: Mapping[str, str]) -> str | None:
    """The proxy that the user's own environment names for ``origin`` (``HTTPS_PROXY`` and the like), or None."""

    def setting(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name.upper()) or ""

    direct = [
        entry.strip().lower().lstrip("*").lstrip(".") for entry in setting("no_proxy").split(",") if entry.strip()
    ]
    if any(entry in ("", origin.host) or origin.host.endswith(f".{entry}") for entry in direct):
        return None
    proxy = setting(f"{origin.scheme}_proxy") or setting("all_proxy")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


class Passing:
    """The way out for allowed hosts. ``environ`` is the user's own environment, not the child's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._session: aiohttp.ClientSession | None = None
        self.hosts: dict[str, int] = {}

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def dial(self, origin: Origin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to ``origin`` for a blind tunnel. Raises Unreachable."""
        self._count(origin)
        proxy = user_proxy_for(origin, self._environ)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if proxy is None:
                    return await asyncio.open_connection(origin.host, origin.port)
                return await _dial_through(proxy, origin)
        except (OSError, TimeoutError) as error:
            raise Unreachable(
                "the host did not answer", subject=origin.host, found=str(error) or type(error).__name__
            ) from error

    async def forward(self, request: web.BaseRequest, origin: Origin) -> web.StreamResponse:
        """Pass a plain http request on and stream the answer back. Raises Unreachable."""
        self._count(origin)
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _NOT_PASSED_ON}
        try:
            async with self._open_session().request(
                request.method,
                URL(request.raw_path, encoded=True),
                headers=headers,
                data=request.content if request.body_exists else None,
                proxy=user_proxy_for(origin, self._environ),
                allow_redirects=False,
            ) as answer:
                kept = [(key, value) for key, value in answer.headers.items() if key.lower() not in _NOT_PASSED_ON]
                response = web.StreamResponse(status=answer.status, reason=answer.reason)
                response.headers.extend(kept)
                response.content_length = answer.content_length
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable("the host did not answer", subject=origin.host, found=str(error)) from error

    def _count(self, origin: Origin) -> None:
        self.hosts[origin.host] = self.hosts.get(origin.host, 0) + 1

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=False)
        return self._session


async def _dial_through(proxy: str, origin: Origin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(proxy)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OperatorError(
            "this kind of proxy is not supported for allowed hosts",
            rule="user-proxy",
            subject=f"{parts.scheme}://{parts.hostname}",
            expected="an http or https proxy",
        )
    context = system_tls() if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=MAX_PROXY_HEAD_BYTES)
    try:
        writer.write(_connect_head(origin, parts.username, parts.password))
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1:2]
        if status != [b"200"]:
            raise ConnectionRefusedError(f"the proxy {parts.hostname} answered {head.splitlines()[0][:100]!r}")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise ConnectionRefusedError(f"the proxy {parts.hostname} gave no sound answer") from error
    except BaseException:
        writer.close()
        raise
    return reader, writer


def _connect_head(origin: Origin, username: str | None, password: str | None) -> bytes:
    place = f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if username is not None:
        pair = f"{unquote(username)}:{unquote(password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
