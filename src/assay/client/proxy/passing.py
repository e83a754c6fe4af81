"""Hosts that the policy allows: passed through without verification, over the user's own proxy where there is one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from assay.client.proxy.location import Origin
from assay.http1.connection import Connection, encode_request
from assay.http1.dialling import Place, connect, dial_through, proxy_authorization, user_proxy_for
from assay.http1.serving import Request, Response
from assay.model.errors import Unreachable

CONNECT_TIMEOUT_S: Final = 30
READ_TIMEOUT_S: Final = 300
_NOT_PASSED_ON: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "host"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection"}
)


def way_out(origin: Origin, environ: Mapping[str, str]) -> str | None:
    """The user's own proxy for ``origin``, or None."""
    return user_proxy_for(origin.scheme, origin.host, environ)


class Passing:
    """The way out for allowed hosts. ``environ`` is the user's own environment, not the child's."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.hosts: dict[str, int] = {}

    async def dial(self, origin: Origin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to ``origin`` for a blind tunnel. Raises Unreachable."""
        self._count(origin)
        proxy = way_out(origin, self._environ)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if proxy is None:
                    return await asyncio.open_connection(origin.host, origin.port)
                return await dial_through(proxy, origin.host, origin.port)
        except (OSError, TimeoutError) as error:
            raise _silent(origin, error) from error

    async def forward(self, request: Request, origin: Origin) -> Response:
        """Pass a plain http request on, over a connection of its own, its answer streamed back. Raises Unreachable."""
        self._count(origin)
        proxy = way_out(origin, self._environ)
        try:
            connection = await connect(Place(origin.scheme, origin.host, origin.port), proxy, None)
            await _pass_on(connection, request, origin, proxy)
            async with asyncio.timeout(READ_TIMEOUT_S):
                head = await connection.head()
        except (OSError, TimeoutError) as error:
            raise _silent(origin, error) from error
        fields = {name: value for name, value in head.fields if name not in _NOT_PASSED_ON}
        length = head.get("content-length")
        if request.method == "HEAD":
            connection.close()
            return Response(head.status, fields, reason=head.reason, length=int(length) if length else None)
        return Response(head.status, fields, _body(connection), head.reason, int(length) if length else None)

    def _count(self, origin: Origin) -> None:
        self.hosts[origin.host] = self.hosts.get(origin.host, 0) + 1


async def _pass_on(connection: Connection, request: Request, origin: Origin, proxy: str | None) -> None:
    target = request.target if proxy else "/" + request.target.partition("://")[2].partition("/")[2]
    fields = {"Host": str(origin).partition("://")[2]}
    fields |= {name: value for name, value in request.fields.items() if name not in _NOT_PASSED_ON}
    fields["Connection"] = "close"
    if proxy and (credentials := proxy_authorization(proxy)) is not None:
        fields["Proxy-Authorization"] = credentials
    length = request.get("content-length")
    has_body = length is not None or request.get("transfer-encoding") is not None
    if has_body:
        fields |= {"Content-Length": length} if length is not None else {"Transfer-Encoding": "chunked"}
    connection.send(encode_request(request.method, target, fields), without_body=request.method == "HEAD")
    if has_body:
        async for part in request.body:
            await connection.send_more(part if length is not None else b"%x\r\n%b\r\n" % (len(part), part))
        if length is None:
            await connection.send_more(b"0\r\n\r\n")


async def _body(connection: Connection) -> AsyncIterator[bytes]:
    try:
        while True:
            async with asyncio.timeout(READ_TIMEOUT_S):
                data = await connection.read()
            if not data:
                return
            yield data
    finally:
        connection.close()


def _silent(origin: Origin, error: Exception) -> Unreachable:
    return Unreachable("the host did not answer", subject=origin.host, found=str(error) or type(error).__name__)
