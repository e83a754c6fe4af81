"""A permanent address on loopback that answers as the index, from verified data, for installers configured once.

Invariants: loopback only; only for who knows the secret in the address (another user of the machine does not); only
where the Host is loopback's own, so that no web page reaches it under another name. Trust, policy and freshness are
renewed while it runs, and where that fails every request is refused with the reason.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from assay.client.proxy.answers import Answers, problem
from assay.client.proxy.location import Location
from assay.http1.serving import BadRequest, Request, Response, ServedConnection
from assay.model.errors import AssayError, OperatorError

HOST: Final = "127.0.0.1"
USERNAME: Final = "assay"
RENEW_AFTER: Final = timedelta(seconds=60)
IDLE_TIMEOUT_S: Final = 120.0
MAX_CONNECTIONS: Final = 256
_STATUS_REFUSED: Final = 451


@dataclass(frozen=True, slots=True)
class EndpointPlace:
    """Where it listens, and the secret that a client must know."""

    port: int
    secret: str

    @property
    def url(self) -> str:
        """The index URL for an installer's configuration: it has the secret in it."""
        return f"http://{USERNAME}:{self.secret}@{HOST}:{self.port}/simple/"


class Endpoint:
    """``own``: the index. ``renew`` brings trust and policy up to date and gives what answers from then on."""

    def __init__(
        self,
        place: EndpointPlace,
        own: Location,
        renew: Callable[[], Awaitable[Answers]],
        clock: Callable[[], datetime],
    ) -> None:
        self._place = place
        self._own = own
        self._renew = renew
        self._clock = clock
        self._answers: Answers | None = None
        self._renewed: datetime | None = None
        self._renewing = asyncio.Lock()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OperatorError where the port is taken."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accept, HOST, self._place.port)
        except OSError as error:
            raise OperatorError(
                "the port is taken",
                rule="endpoint-port",
                subject=f"{HOST}:{self._place.port}",
                found=error.strerror,
                next_step="assay setup --port N chooses another one",
            ) from error

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
        try:
            if len(self._connections) > MAX_CONNECTIONS:
                connection.say(503, "too many connections")
                return
            while True:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    request = await connection.request()
                if request is None or not await connection.answer(request, await self._answer(request)):
                    return
        except BadRequest as error:
            with suppress(OSError):
                connection.say(error.status, str(error))
        except (OSError, TimeoutError):
            pass  # the other side went away
        finally:
            connection.close()

    async def _answer(self, request: Request) -> Response:
        if not self._knows_secret(request.get("authorization")):
            return Response(401, {"WWW-Authenticate": 'Basic realm="assay"'})
        if request.get("host") not in (f"{HOST}:{self._place.port}", f"localhost:{self._place.port}"):
            return Response(421)
        try:
            answers = await self._current()
        except AssayError as error:
            return problem(_STATUS_REFUSED, error)
        base = "".join(f"/{segment}" for segment in self._own.segments)
        authority = str(self._own.origin).partition("://")[2]
        as_asked_there = replace(request, target=base + request.target, fields={**request.fields, "host": authority})
        return await answers.answer(self._own.origin, as_asked_there)

    async def _current(self) -> Answers:
        async with self._renewing:
            now = self._clock()
            if self._answers is None or self._renewed is None or abs(now - self._renewed) > RENEW_AFTER:
                self._answers, self._renewed = await self._renew(), now
            return self._answers

    def _knows_secret(self, header: str | None) -> bool:
        scheme, _, encoded = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            pair = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(pair, f"{USERNAME}:{self._place.secret}".encode())
