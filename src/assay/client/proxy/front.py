"""The listening side: authentication, CONNECT, TLS, and the hand-over to aiohttp's HTTP protocol.

Every tunnel to a host that the policy does not allow is ended here, whether the host is covered or not: so a refusal
can name the whole URL, and no byte leaves the machine.
"""

import asyncio
import base64
import binascii
import hmac
import secrets
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from aiohttp import web

from assay.client.policy import Policy
from assay.client.proxy.answers import Answers
from assay.client.proxy.authority import Authority
from assay.client.proxy.gate import Gate
from assay.client.proxy.location import Origin, parse_authority
from assay.client.proxy.passing import Passing
from assay.client.proxy.refusals import Refusals, reason_line
from assay.client.proxy.routes import Covered
from assay.model.errors import AssayError, CallerError, RefusedByPolicy

MAX_HEAD_BYTES: Final = 16_384
HEAD_TIMEOUT_S: Final = 15.0
TLS_TIMEOUT_S: Final = 15.0
IDLE_TIMEOUT_S: Final = 120.0
MAX_CONNECTIONS: Final = 512
USERNAME: Final = "assay"
_SHUTDOWN_S: Final = 1.0
_CHUNK_BYTES: Final = 64 * 1024


class Front:
    """The proxy's listener. ``url`` is its address with this run's credential, for ``HTTPS_PROXY``."""

    def __init__(
        self,
        answers: Answers,
        authority: Authority,
        covered: Covered,
        policy: Policy,
        passing: Passing,
        refusals: Refusals,
        clock: Callable[[], datetime],
    ) -> None:
        self._answers = answers
        self._authority = authority
        self._covered = covered
        self._policy = policy
        self._passing = passing
        self._refusals = refusals
        self._clock = clock
        self._secret = secrets.token_urlsafe(32)
        self._origins: dict[asyncio.BaseProtocol, Origin] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._http = web.Server(
            self._answer,
            access_log=None,
            keepalive_timeout=IDLE_TIMEOUT_S,
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
        )
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{USERNAME}:{self._secret}@127.0.0.1:{port}"

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        await self._http.shutdown(_SHUTDOWN_S)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self) -> Gate:
        gate = Gate()
        task = asyncio.get_running_loop().create_task(self._serve(gate))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        return gate

    async def _serve(self, gate: Gate) -> None:
        """One connection, from its first byte to its last."""
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                _reply(gate, 503, "too many connections")
                return
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await gate.head(MAX_HEAD_BYTES)
            if head is None:
                _reply(gate, 431, "the head is too long")
            elif head.startswith(b"CONNECT "):
                await self._connect(gate, head)
            elif gate.transport is not None:
                await self._hand_over(gate, gate.transport, None)
        except (OSError, TimeoutError):
            pass  # the other side went away, or never said anything: nothing was asked
        finally:
            if gate.transport is not None:
                gate.transport.close()

    async def _connect(self, gate: Gate, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if not self._knows_credential(headers.get("proxy-authorization")):
            _reply(gate, 407, "this proxy serves one run of assay only", 'Proxy-Authenticate: Basic realm="assay"\r\n')
            return
        try:
            origin = parse_authority(lines[0].split(" ")[1], "https")
        except CallerError as error:
            _reply(gate, 400, reason_line(error))
            return
        if not gate.drop_head(len(head)):
            _reply(gate, 400, "bytes before the tunnel was there")
        elif self._policy.allows_host(origin.host) and not self._covered.has_host(origin.host):
            await self._tunnel(gate, origin)
        else:
            await self._end_tunnel_here(gate, origin)

    async def _end_tunnel_here(self, gate: Gate, origin: Origin) -> None:
        """Be the host that the child wants to speak to."""
        if gate.transport is None:
            return
        context = self._authority.context_for(origin.host)
        gate.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner = Gate()
        try:
            transport = await asyncio.get_running_loop().start_tls(
                gate.transport, inner, context, server_side=True, ssl_handshake_timeout=TLS_TIMEOUT_S
            )
        except (ssl.SSLError, ConnectionAbortedError) as error:  # no TLS, not with us, or none in time
            self._record_broken_handshake(origin, error)
            return
        if transport is not None:
            await self._hand_over(inner, transport, origin)

    async def _hand_over(self, gate: Gate, transport: asyncio.Transport, origin: Origin | None) -> None:
        handler = self._http()
        if origin is not None:
            self._origins[handler] = origin
        try:
            gate.open(handler, transport)
            await gate.closed
        finally:
            self._origins.pop(handler, None)
            transport.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        origin = self._origins.get(request.protocol)
        if origin is None and not self._knows_credential(request.headers.get("Proxy-Authorization")):
            return web.Response(
                status=407,
                reason="this proxy serves one run of assay only",
                headers={"Proxy-Authenticate": 'Basic realm="assay"'},
            )
        return await self._answers.answer(origin, request)

    async def _tunnel(self, gate: Gate, origin: Origin) -> None:
        """Pass bytes both ways, unseen."""
        if gate.transport is None:
            return
        try:
            reader, writer = await self._passing.dial(origin)
        except AssayError as error:
            self._refusals.record(error, str(origin), self._clock(), package=False)
            _reply(gate, 502, reason_line(error))
            return
        gate.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        child_reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
        protocol = asyncio.StreamReaderProtocol(child_reader)
        gate.open(protocol, gate.transport)
        child_writer = asyncio.StreamWriter(gate.transport, protocol, child_reader, asyncio.get_running_loop())
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(child_reader, writer))
                both.create_task(_pump(reader, child_writer))
        finally:
            writer.close()
            child_writer.close()

    def _record_broken_handshake(self, origin: Origin, error: BaseException) -> None:
        """Something opened a tunnel and then did not speak TLS with us: it may have wanted another protocol."""
        refusal = RefusedByPolicy(
            "the command did not accept the run's certificate, or spoke something else than HTTPS",
            rule="tunnel-handshake",
            subject=str(origin),
            found=str(error) or type(error).__name__,
            next_step="it must honour SSL_CERT_FILE; or allow the host in assay-policy.toml, without verification",
        )
        self._refusals.record(refusal, str(origin), self._clock(), package=False)

    def _knows_credential(self, header: str | None) -> bool:
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            pair = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(pair, f"{USERNAME}:{self._secret}".encode())


def _reply(gate: Gate, status: int, reason: str, headers: str = "") -> None:
    """A last answer on a connection that was not handed over."""
    if gate.transport is not None and not gate.transport.is_closing():
        gate.transport.write(
            f"HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n".encode("latin-1")
        )


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end; then tell the other side that there is no more."""
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
