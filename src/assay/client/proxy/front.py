"""The listening side: authentication, CONNECT, TLS, and one answer after the other.

Every tunnel to a host that the policy does not allow is ended here, whether the host is covered or not: so a refusal
can name the whole URL, and no byte leaves the machine.
"""

import asyncio
import base64
import binascii
import hmac
import secrets
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from assay.client.enclosing import HOST, USERNAME
from assay.client.proxy.answers import Answers
from assay.client.proxy.authority import Authority
from assay.client.proxy.location import Origin, parse_authority
from assay.client.proxy.passing import Passing
from assay.client.proxy.refusals import Refusals, reason_line
from assay.client.proxy.routes import Covered
from assay.http1.serving import BadRequest, Request, Response, ServedConnection
from assay.model.errors import AssayError, CallerError, RefusedByPolicy
from assay.policy.model import Policy

HEAD_TIMEOUT_S: Final = 15.0
TLS_TIMEOUT_S: Final = 15.0
IDLE_TIMEOUT_S: Final = 120.0
MAX_CONNECTIONS: Final = 512
FOR_ONE_RUN: Final = "this proxy serves one run of assay only"
CHALLENGE: Final = 'Basic realm="assay"'
_CHUNK_BYTES: Final = 64 * 1024


class Front:
    """The proxy's listener. ``url`` is its address with this run's credential, for ``HTTPS_PROXY``.

    ``description``: what the run says of itself to a run within (``client.enclosing``).
    """

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
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""
        self.description = b"{}"

    async def start(self, listener: socket.socket | None = None) -> None:
        """Listen on ``listener``, or on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        if listener is not None:
            self._server = await loop.create_server(self._accept, sock=listener)
        else:
            self._server = await loop.create_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{USERNAME}:{self._secret}@127.0.0.1:{port}"

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self) -> ServedConnection:
        connection = ServedConnection()
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        return connection

    async def _serve(self, connection: ServedConnection) -> None:
        """One connection, from its first byte to its last."""
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                connection.say(503, "too many connections")
                return
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                request = await connection.request()
            if request is not None and request.method == "CONNECT":
                await self._connect(connection, request)
            elif request is not None:
                await self._converse(connection, request, None)
        except BadRequest as error:
            connection.say(error.status, str(error))
        except (OSError, TimeoutError):
            pass  # the other side went away, or never said anything: nothing was asked
        finally:
            connection.close()

    async def _converse(self, connection: ServedConnection, first: Request | None, origin: Origin | None) -> None:
        """Answer one request after the other; ``origin``: where the CONNECT led."""
        request = first
        while True:
            if request is None:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    request = await connection.request()
            if request is None or not await connection.answer(request, await self._answer(request, origin)):
                return
            request = None

    async def _connect(self, connection: ServedConnection, request: Request) -> None:
        if not self._knows_credential(request.get("proxy-authorization")):
            connection.say(407, FOR_ONE_RUN, {"Proxy-Authenticate": CHALLENGE})
            return
        try:
            origin = parse_authority(request.target, "https")
        except CallerError as error:
            raise BadRequest(400, reason_line(error)) from error
        if connection.tail():
            raise BadRequest(400, "bytes before the tunnel was there")
        if self._policy.allows_host(origin.host) and not self._covered.has_host(origin.host):
            await self._tunnel(connection, origin)
        else:
            await self._end_tunnel_here(connection, origin)

    async def _end_tunnel_here(self, connection: ServedConnection, origin: Origin) -> None:
        """Be the host that the child wants to speak to."""
        outer = connection.transport
        if outer is None:
            return
        context = self._authority.context_for(origin.host)
        inner = ServedConnection()
        connection.establish()
        try:
            inner.transport = await asyncio.get_running_loop().start_tls(
                outer, inner, context, server_side=True, ssl_handshake_timeout=TLS_TIMEOUT_S
            )
        except (ssl.SSLError, ConnectionAbortedError) as error:  # no TLS, not with us, or none in time
            self._record_broken_handshake(origin, error)
            return
        try:
            await self._converse(inner, None, origin)
        except BadRequest as error:
            inner.say(error.status, str(error))
        finally:
            inner.close()

    async def _answer(self, request: Request, origin: Origin | None) -> Response:
        if origin is None and not self._knows_credential(request.get("proxy-authorization")):
            return Response(407, {"Proxy-Authenticate": CHALLENGE}, reason=FOR_ONE_RUN)
        if origin is None and request.target == f"http://{HOST}/" and request.method == "GET":
            return Response(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, self.description)
        return await self._answers.answer(origin, request)

    async def _tunnel(self, connection: ServedConnection, origin: Origin) -> None:
        """Pass bytes both ways, unseen."""
        transport = connection.transport
        if transport is None:
            return
        try:
            reader, writer = await self._passing.dial(origin)
        except AssayError as error:
            self._refusals.record(error, str(origin), self._clock(), package=False)
            raise BadRequest(502, reason_line(error)) from error
        child_reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
        protocol = asyncio.StreamReaderProtocol(child_reader)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        child_writer = asyncio.StreamWriter(transport, protocol, child_reader, asyncio.get_running_loop())
        connection.establish()
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


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end; then tell the other side that there is no more."""
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
