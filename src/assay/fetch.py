"""HTTP towards indexes: every answer bounded in bytes and time, by the system's trust store and the user's proxy."""

import asyncio
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from assay import __version__
from assay.http1.connection import AnswerHead, BrokenMessage, Connection, encode_request
from assay.http1.dialling import (
    DEFAULT_PORTS,
    Place,
    basic,
    connect,
    proxy_authorization,
    system_tls,
    user_proxy_for,
)
from assay.model.digests import Sha256
from assay.model.errors import AssayError, StorageUnavailable, Unreachable, VerificationFailed

STALL_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 32
MAX_IDLE_PER_HOST = 16
MAX_REDIRECTS = 10
MAX_BREAKS = 2
"""So often a download that broke off begins again."""

OK, NOT_MODIFIED, NOT_FOUND, REFUSED = 200, 304, 404, 451
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
SERVER_REFUSED = "server-refused"
"""Rule of the Unreachable for a server that has the thing and will not give it (451), with its reason in ``found``."""
MAX_REASON_CHARS = 400
PACKING_BYTES: Final = 4_096
"""What packing may add to bytes that do not compress."""
_GZIP: Final = zlib.MAX_WBITS | 16
_IN_A_TARGET: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What a request's target may hold as it is; the rest is percent-encoded."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``url`` is where it came from, after redirects."""

    status: int
    body: bytes
    url: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """An older version of what is asked for: the server may send what differs (RFC 9842). ``id``: the server's own."""

    id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Opened:
    head: AnswerHead
    connection: Connection
    url: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer may take in all: ``grace_s``, and as long as its size takes at the least rate (threat A6)."""

    grace_s: float = 60.0
    min_bytes_per_s: int = 20_000

    def for_bytes(self, count: int) -> float:
        """The deadline in seconds of an answer of at most ``count`` bytes."""
        return self.grace_s + count / self.min_bytes_per_s


PATIENCE = Patience()


class Fetcher:
    """A pool of connections. Use as an async context manager, in one event loop.

    ``environ`` is read for the user's proxy and for where netrc lies.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, patience: Patience = PATIENCE) -> None:
        self._environ = environ
        self._patience = patience
        self._idle: dict[tuple[Place, str | None], list[Connection]] = {}
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def get(self, url: str, *, max_bytes: int, headers: Mapping[str, str] | None = None) -> bytes | None:
        """The body at ``url``, of at most ``max_bytes``; None for 404. Raises Unreachable, VerificationFailed."""
        answer = await self.ask(url, max_bytes=max_bytes, headers=headers or {})
        return answer.body if answer.status == OK else None

    async def get_packed(self, url: str, *, max_bytes: int, known: Known | None = None) -> bytes | None:
        """As ``get``, for what compresses well: as Zstandard, or as what differs from ``known`` if the server can."""
        from assay.formats.zstd import available_dictionary

        headers = {"Accept-Encoding": "zstd, gzip"}
        if known is not None:
            dictionary = {"Available-Dictionary": available_dictionary(known.data), "Dictionary-ID": f'"{known.id}"'}
            headers = {"Accept-Encoding": "dcz, zstd, gzip", **dictionary}
        answer = await self.ask(url, max_bytes=max_bytes, headers=headers, known=known)
        return answer.body if answer.status == OK else None

    async def ask(self, url: str, *, max_bytes: int, headers: Mapping[str, str], known: Known | None = None) -> Reply:
        """The answer of ``url`` where its status is 200, 304 or 404. Raises Unreachable, VerificationFailed."""
        async with self._open(url, max_bytes, {"Accept-Encoding": "gzip", **headers}) as opened:
            body = bytearray()
            async for chunk in _decoded(opened, max_bytes, known):
                body += chunk
                if len(body) > max_bytes:
                    raise _too_long(url, max_bytes)
            return Reply(opened.head.status, bytes(body), opened.url, opened.head.get("etag"))

    async def download(self, url: str, path: Path, *, length: int) -> Sha256 | None:
        """Write exactly ``length`` bytes from ``url`` to the new file ``path``; returns their SHA-256, None for 404.

        Raises VerificationFailed as soon as there are more bytes, or when there are fewer: at once where the server
        says so, else when it hangs up twice at the same place, which networks do not.
        """
        broke_off: list[int] = []
        while True:
            digest, received = hashlib.sha256(), 0
            async with self._open(url, length, {"Accept-Encoding": "identity"}) as opened:
                if opened.head.status != OK:
                    return None
                with _new_file(path) as write:
                    try:
                        while chunk := await _read(opened.connection):
                            received += len(chunk)
                            if received > length:
                                raise _too_long(url, length)
                            digest.update(chunk)
                            write(chunk)
                    except ConnectionError:
                        broke_off.append(received)
                        if len(broke_off) > MAX_BREAKS:
                            raise
                if received == length:
                    return Sha256(digest.hexdigest())
                if not broke_off or broke_off.count(received) > 1:
                    raise _too_short(url, length, received)
            await asyncio.to_thread(path.unlink)

    @asynccontextmanager
    async def _open(self, url: str, max_bytes: int, headers: Mapping[str, str]) -> AsyncIterator[_Opened]:
        """The answer's head, after redirects; its body is read within the block."""
        if not self._is_open:
            raise RuntimeError("the fetcher is not open")
        opened: _Opened | None = None
        try:
            async with self._places, asyncio.timeout(self._patience.for_bytes(max_bytes)):
                opened = await self._follow(url, headers)
                if opened.head.status not in (OK, NOT_MODIFIED, NOT_FOUND):
                    raise _not_given(url, opened.head)
                yield opened
        except AssayError:
            raise
        except (TimeoutError, OSError) as error:
            raise Unreachable(
                f"no answer: {error or type(error).__name__}",
                subject=url,
                next_step="check the address and the network; nothing was changed",
            ) from error
        finally:
            if opened is not None:
                self._give_back(opened)

    async def _follow(self, url: str, headers: Mapping[str, str]) -> _Opened:
        asked = url
        for _ in range(MAX_REDIRECTS + 1):
            opened = await self._ask_once(url, headers)
            location = opened.head.get("location")
            if opened.head.status not in REDIRECTS or location is None:
                return opened
            opened.connection.abort()
            target = urljoin(url, location)
            if urlsplit(target).scheme not in ("https", urlsplit(url).scheme):
                raise Unreachable("the server leads to an insecure place", subject=asked, found=target)
            url = target
        raise Unreachable("the server leads from place to place", subject=asked, found=f"{MAX_REDIRECTS} redirects")

    async def _ask_once(self, url: str, headers: Mapping[str, str]) -> _Opened:
        parts = _split(url)
        place = _place(parts)
        proxy = user_proxy_for(place.scheme, place.host, self._environ)
        request = self._request(parts, place, proxy, headers)
        while True:
            connection, is_new = await self._connection(place, proxy)
            try:
                connection.send(request)
                async with asyncio.timeout(STALL_TIMEOUT_S):
                    return _Opened(await connection.head(), connection, url)
            except ConnectionError:
                connection.abort()
                if is_new or connection.was_answered:
                    raise
                # an idle connection that the server ended meanwhile: the request never arrived
            except BaseException:
                connection.abort()
                raise

    async def _connection(self, place: Place, proxy: str | None) -> tuple[Connection, bool]:
        idle = self._idle.get((place, proxy), [])
        while idle:
            connection = idle.pop()
            if connection.is_reusable:
                return connection, False
        return await connect(place, proxy, system_tls() if place.scheme == "https" else None), True

    def _give_back(self, opened: _Opened) -> None:
        parts = _split(opened.url)
        place = _place(parts)
        idle = self._idle.setdefault((place, user_proxy_for(place.scheme, place.host, self._environ)), [])
        if opened.connection.is_reusable and self._is_open and len(idle) < MAX_IDLE_PER_HOST:
            idle.append(opened.connection)
        else:
            opened.connection.abort()

    def _request(self, parts: SplitResult, place: Place, proxy: str | None, headers: Mapping[str, str]) -> bytes:
        target = quote(parts.path or "/", safe=_IN_A_TARGET) + (
            f"?{quote(parts.query, safe=_IN_A_TARGET)}" if parts.query else ""
        )
        fields = {"Host": place.authority, "User-Agent": f"assay/{__version__}", "Accept": "*/*", **headers}
        if proxy is not None and place.scheme == "http":
            target = f"http://{place.authority}{target}"
            if (credentials := proxy_authorization(proxy)) is not None:
                fields["Proxy-Authorization"] = credentials
        if (credentials := self._credentials(parts)) is not None:
            fields.setdefault("Authorization", credentials)
        return encode_request("GET", target, fields)

    def _credentials(self, parts: SplitResult) -> str | None:
        """Those in the URL, else those in netrc, as pip and uv do."""
        if parts.username is not None:
            return basic(unquote(parts.username), unquote(parts.password or ""))
        found = _netrc_entry(parts.hostname or "", self._environ)
        return basic(*found) if found else None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise Unreachable("not an address", subject=url, found=str(error)) from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise Unreachable("not an address", subject=url, expected="http(s)://host[:port]/")
    return parts


def _place(parts: SplitResult) -> Place:
    return Place(parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme])


def _netrc_entry(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User name and password for ``host`` in the user's netrc; None without, or when it cannot be read."""
    home, named = environ.get("HOME") or environ.get("USERPROFILE"), environ.get("NETRC")
    usual = [Path(home, ".netrc"), Path(home, "_netrc")] if home else []
    for path in [Path(named)] if named else usual:
        if path.is_file():
            from netrc import NetrcParseError, netrc  # few users have one

            try:
                found = netrc(str(path)).authenticators(host)
            except (NetrcParseError, OSError, UnicodeDecodeError):
                return None
            return (found[0], found[2] or "") if found else None
    return None


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that appends to the new file ``path``. Raises StorageUnavailable."""
    try:
        file = path.open("xb")
    except OSError as error:
        raise _not_kept(path, error) from error

    def write(data: bytes) -> None:
        try:
            file.write(data)
        except OSError as error:
            raise _not_kept(path, error) from error

    try:
        yield write
    finally:
        try:
            file.close()
        except OSError as error:
            raise _not_kept(path, error) from error


def _not_kept(path: Path, error: OSError) -> StorageUnavailable:
    return StorageUnavailable(f"cannot keep the file: {error.strerror}", subject=str(path))


async def _read(connection: Connection) -> bytes:
    async with asyncio.timeout(STALL_TIMEOUT_S):
        return await connection.read()


async def _decoded(opened: _Opened, max_bytes: int, known: Known | None) -> AsyncIterator[bytes]:
    """The body without its content coding; no step makes more than one byte past ``max_bytes``."""
    coding = (opened.head.get("content-encoding") or "identity").lower()
    if coding == "zstd" or (coding == "dcz" and known is not None):
        yield await _unpacked(opened, max_bytes, known if coding == "dcz" else None)
        return
    if coding not in ("identity", "gzip", "x-gzip"):
        raise Unreachable("the answer is encoded in a way that was not asked for", subject=opened.url, found=coding)
    decoder = zlib.decompressobj(_GZIP) if coding != "identity" else None
    while chunk := await _read(opened.connection):
        if decoder is None:
            yield chunk
            continue
        try:
            yield decoder.decompress(chunk, max_bytes + 1)
        except zlib.error as error:
            raise BrokenMessage(f"not gzip: {error}") from error
        if decoder.unconsumed_tail:
            raise _too_long(opened.url, max_bytes)
    if decoder is not None and not decoder.eof and opened.head.status == OK:
        raise BrokenMessage("the compressed answer is cut off")


async def _unpacked(opened: _Opened, max_bytes: int, known: Known | None) -> bytes:
    from assay.formats.zstd import NotZstd, TooLong, decompress

    packed = bytearray()
    while chunk := await _read(opened.connection):
        packed += chunk
        if len(packed) > max_bytes + PACKING_BYTES:
            raise _too_long(opened.url, max_bytes)
    try:
        return decompress(bytes(packed), max_bytes, known.data if known is not None else None)
    except TooLong as error:
        raise _too_long(opened.url, max_bytes) from error
    except NotZstd as error:
        raise BrokenMessage(f"not Zstandard: {error}") from error


def _not_given(url: str, head: AnswerHead) -> Unreachable:
    reason = "".join(char if char.isprintable() else "?" for char in head.reason[:MAX_REASON_CHARS])
    if head.status == REFUSED:
        return Unreachable("the server refuses to give this", subject=url, rule=SERVER_REFUSED, found=reason)
    found = f"{head.status} {reason}".strip()
    return Unreachable("the server did not give this", subject=url, expected="status 200", found=found)


def _too_short(url: str, length: int, received: int) -> VerificationFailed:
    return VerificationFailed(
        "the answer is shorter than vouched for",
        subject=url,
        rule="length",
        expected=f"{length} bytes",
        found=f"{received} bytes",
    )


def _too_long(url: str, max_bytes: int) -> VerificationFailed:
    return VerificationFailed(
        "the answer is longer than it may be",
        subject=url,
        rule="length",
        expected=f"at most {max_bytes} bytes",
        found="more",
    )
