"""HTTP towards indexes: every answer bounded in bytes and time, by the system's trust store and the user's proxy."""

import hashlib
import os
import platform
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import truststore

from assay import __version__
from assay.model.digests import Sha256
from assay.model.errors import Unreachable, VerificationFailed

CONNECT_TIMEOUT_S = 15.0
STALL_TIMEOUT_S = 30.0
GRACE_S = 60.0
MIN_BYTES_PER_S = 20_000
CHUNK_BYTES = 256 * 1024
MAX_CONNECTIONS = 32


OK, NOT_MODIFIED, NOT_FOUND, REFUSED = 200, 304, 404, 451
SERVER_REFUSED = "server-refused"
"""Rule of the Unreachable for a server that has the thing and will not give it (451), with its reason in ``found``."""
MAX_REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``url`` is where it came from, after redirects."""

    status: int
    body: bytes
    url: str
    etag: str | None


@cache
def system_tls() -> ssl.SSLContext:
    """TLS that trusts what this system trusts; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured on every system."""
    if platform.system() == "Linux":
        return ssl.create_default_context()  # OpenSSL reads the system's store and both variables by itself
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if extra := os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(cafile=extra)
    return context


class Fetcher:
    """A pool of connections. Use as an async context manager."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
        self._session = aiohttp.ClientSession(
            connector=connector, trust_env=True, headers={"User-Agent": f"assay/{__version__}"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, *, max_bytes: int, headers: Mapping[str, str] | None = None) -> bytes | None:
        """The body at ``url``, of at most ``max_bytes``; None for 404. Raises Unreachable, VerificationFailed."""
        answer = await self.ask(url, max_bytes=max_bytes, headers=headers or {})
        return answer.body if answer.status == OK else None

    async def ask(self, url: str, *, max_bytes: int, headers: Mapping[str, str]) -> Reply:
        """The answer of ``url`` where its status is 200, 304 or 404. Raises Unreachable, VerificationFailed."""
        async with self._open(url, max_bytes, headers) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise _too_long(url, max_bytes)
            return Reply(response.status, bytes(body), str(response.url), response.headers.get("ETag"))

    async def download(self, url: str, path: Path, *, length: int) -> Sha256 | None:
        """Write exactly ``length`` bytes from ``url`` to the new file ``path``; returns their SHA-256, None for 404.

        Raises VerificationFailed as soon as there are more bytes, or when there are fewer.
        """
        async with self._open(url, length, {"Accept-Encoding": "identity"}) as response:
            if response.status != OK:
                return None
            digest, received = hashlib.sha256(), 0
            with path.open("xb") as file:
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    received += len(chunk)
                    if received > length:
                        raise _too_long(url, length)
                    digest.update(chunk)
                    file.write(chunk)
            if received < length:
                raise VerificationFailed(
                    "the answer is shorter than vouched for",
                    subject=url,
                    rule="length",
                    expected=f"{length} bytes",
                    found=f"{received} bytes",
                )
            return Sha256(digest.hexdigest())

    def _tls_for(self, url: str) -> ssl.SSLContext | bool:
        """TLS for ``url``; reading the system's certificates takes tens of milliseconds: once, and only for https."""
        if not url.startswith("https:"):
            return True
        if self._tls is None:
            self._tls = system_tls()
        return self._tls

    @asynccontextmanager
    async def _open(
        self, url: str, max_bytes: int, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the fetcher is not open")
        deadline = aiohttp.ClientTimeout(
            total=GRACE_S + max_bytes / MIN_BYTES_PER_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=STALL_TIMEOUT_S
        )
        try:
            async with self._session.get(url, headers=headers, timeout=deadline, ssl=self._tls_for(url)) as response:
                if response.status not in (OK, NOT_MODIFIED, NOT_FOUND):
                    raise _not_given(url, response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(
                f"no answer: {error or type(error).__name__}",
                subject=url,
                next_step="check the address and the network; nothing was changed",
            ) from error


def _not_given(url: str, response: aiohttp.ClientResponse) -> Unreachable:
    reason = "".join(char if char.isprintable() else "?" for char in (response.reason or "")[:MAX_REASON_CHARS])
    if response.status == REFUSED:
        return Unreachable("the server refuses to give this", subject=url, rule=SERVER_REFUSED, found=reason)
    found = f"{response.status} {reason}".strip()
    return Unreachable("the server did not give this", subject=url, expected="status 200", found=found)


def _too_long(url: str, max_bytes: int) -> VerificationFailed:
    return VerificationFailed(
        "the answer is longer than it may be",
        subject=url,
        rule="length",
        expected=f"at most {max_bytes} bytes",
        found="more",
    )
