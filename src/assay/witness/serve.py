"""The witness on the network: one question from the index, and read-only answers for everybody.

Whoever asks proves nothing by the connection: a candidate is authentic by the index's signature on it. Bodies, times
and the number of candidates at work are bounded.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import orjson
from aiohttp import web

from assay import __version__
from assay.fetch import Fetcher
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import AssayError, TooLarge, VerificationFailed, WitnessRefused
from assay.trust.candidate import (
    BODY_CLAIM,
    Lacking,
    decode_candidate,
    encode_answer,
    encode_refusal,
    verify_body_claim,
)
from assay.trust.layout import ROOT, SNAPSHOT
from assay.witness.alarms import Alarms
from assay.witness.catchup import render_listing
from assay.witness.config import WitnessConfig
from assay.witness.follow import Follower, stop
from assay.witness.keys import WitnessKeys
from assay.witness.peers import Peer
from assay.witness.store import WitnessStore
from assay.witness.witness import Witness

log = logging.getLogger(__name__)

LACKING, REFUSED = 409, 403
MAX_LOG_ENTRIES = 1000
MAX_BUSY = 2
"""Candidates of the index that are in memory at once; strangers' (and those under a root not seen yet): one."""

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a witness answers."""

    host: str
    port: int
    tls_cert: Path | None = None
    tls_key: Path | None = None


class Service:
    """The routes of one witness."""

    def __init__(self, witness: Witness, config: WitnessConfig) -> None:
        self._witness = witness
        self._config = config
        self._index = asyncio.Semaphore(MAX_BUSY)
        self._strangers = asyncio.Semaphore(1)

    def application(self) -> web.Application:
        """The application to run."""
        app = web.Application(client_max_size=self._config.limits.max_body_bytes, middlewares=[_errors])
        app.router.add_post("/cosign", self.cosign)
        app.router.add_get("/", self.status)
        app.router.add_get("/view", self.view)
        app.router.add_get("/log", self.log)
        app.router.add_get("/copies/", self.listing)
        app.router.add_get("/copies/{name}", self.copy)
        return app

    async def cosign(self, request: web.Request) -> web.Response:
        """``POST /cosign``: 200 with signatures, 409 with what is lacking, 403 with the rule that refuses."""
        limits = self._config.limits
        if request.content_length is not None and request.content_length > limits.max_body_bytes:
            raise TooLarge("this candidate is too large", expected=f"at most {limits.max_body_bytes} bytes")
        announced = self._announced(request)
        async with self._index if announced is not None else self._strangers:
            async with asyncio.timeout(limits.body_timeout_s):
                body = await request.read()
            if announced is not None and sha256_of(body) != announced:
                raise VerificationFailed("not the body that was announced", rule="body-hash", expected=announced)
            answer = await self._witness.cosign(await asyncio.to_thread(decode_candidate, body))
        status = LACKING if isinstance(answer, Lacking) else web.HTTPOk.status_code
        return web.Response(body=encode_answer(answer), content_type=_JSON, status=status)

    def _announced(self, request: web.Request) -> Sha256 | None:
        """The hash of a body that the index says is its own; None for a stranger's, which waits in another line."""
        root, value = self._witness.root(), request.headers.get(BODY_CLAIM)
        if root is None or value is None or request.content_length is None:
            return None
        return verify_body_claim(value, request.content_length, root)

    async def status(self, _request: web.Request) -> web.Response:
        """``GET /``: who this is, what it follows and how far."""
        witness, store = self._witness, self._witness.store
        newest, stamp = witness.view_of_newest(), store.stamp
        refusals = store.refusals(None, 1)
        facts = {
            "witness": witness.keys.public.name,
            "release": __version__,
            "index": store.index,
            "root": store.fact("fingerprint"),
            "keys": witness.keys.public.keyids(),
            "snapshot": {"version": newest.snapshot, "view": newest.digest} if newest else None,
            "timestamp": stamp.to_dict() if stamp else None,
            "last": store.last_time(),
            "answer_ms": None if witness.answer_s is None else round(witness.answer_s * 1000, 1),
            "halted": store.halted,
            "last_refusal": asdict(refusals[0]) if refusals else None,
            "peers": {peer.config.name: "up" if peer.down_since is None else "down" for peer in witness.peers},
        }
        return web.Response(body=orjson.dumps(facts, option=orjson.OPT_INDENT_2), content_type=_JSON)

    async def view(self, request: web.Request) -> web.Response:
        """``GET /view?snapshot=N&nonce=X``: what clients of that snapshot are shown, signed; for other witnesses."""
        try:
            snapshot, nonce = int(request.query["snapshot"]), request.query["nonce"]
        except (KeyError, ValueError):
            raise web.HTTPBadRequest(text="snapshot and nonce are needed") from None
        if not 0 <= snapshot < 1 << 62 or len(nonce) > 64:
            raise web.HTTPBadRequest(text="out of range")
        statement = self._witness.statement(snapshot).to_dict(nonce)
        return web.Response(body=self._witness.keys.state(statement), content_type=_JSON)

    async def log(self, request: web.Request) -> web.Response:
        """``GET /log?before=ID&count=N``: what was refused, newest first, and the removals that were recorded."""
        try:
            before = int(request.query.get("before", 1 << 62))
            count = min(max(int(request.query.get("count", 100)), 1), MAX_LOG_ENTRIES)
        except ValueError:
            raise web.HTTPBadRequest(text="before and count are numbers") from None
        store = self._witness.store
        found = {"refusals": [asdict(each) for each in store.refusals(before, count)], "removals": store.removals()}
        return web.Response(body=orjson.dumps(found, option=orjson.OPT_INDENT_2), content_type=_JSON)

    async def listing(self, _request: web.Request) -> web.Response:
        """``GET /copies/``: every role this witness has a copy of."""
        data = await asyncio.to_thread(render_listing, self._witness.store)
        return web.Response(body=data, content_type=_JSON)

    async def copy(self, request: web.Request) -> web.Response:
        """``GET /copies/<role>.json`` or ``<version>.root.json``: the file, with this witness's signature."""
        name = unquote(request.match_info["name"]).removesuffix(".json")
        store = self._witness.store
        version, dot, role = name.partition(".")
        if dot and role == ROOT and version.isascii() and version.isdigit() and len(version) < 10:
            data = next(iter(store.roots(int(version))), None)
        else:
            data = store.snapshot_file() if name == SNAPSHOT else store.role_file(name)
        if data is None:
            raise web.HTTPNotFound(text="no such copy")
        return web.Response(body=data, content_type=_JSON)


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
    """Errors become statuses in one place."""
    try:
        response = await handler(request)  # type: ignore[misc]
    except TimeoutError:
        return web.Response(status=408, text="too slow")
    except AssayError as error:
        log.warning("refused: %s [%s]", error, error.rule)
        status = 413 if isinstance(error, TooLarge) else REFUSED
        return web.Response(status=status, body=encode_refusal(error), content_type=_JSON)
    if not isinstance(response, web.StreamResponse):
        raise TypeError("not a response")
    return response


@asynccontextmanager
async def running(
    store: WitnessStore,
    keys: WitnessKeys,
    config: WitnessConfig,
    listening: Listening,
    clock: Callable[[], datetime],
) -> AsyncIterator[str]:
    """A witness that answers, follows and alarms while the block runs; gives its URL."""
    alarms = Alarms(keys.public.name, config.alarm, clock)
    async with Fetcher() as fetcher:
        peers = [Peer(peer, config.limits.peer_timeout_s) for peer in config.peer]
        witness = Witness(store, keys, peers, config.rule.limits(), alarms, fetcher, clock)
        tasks = [asyncio.create_task(alarms.deliver())]
        if store.index is not None:
            follower = Follower(witness, fetcher, store.index)
            with suppress(TimeoutError):
                async with asyncio.timeout(config.limits.peer_timeout_s):
                    await follower.look()
            tasks.append(asyncio.create_task(follower.run(config.poll_s)))
        if store.halted is not None:
            alarms.ring(WitnessRefused("this witness signs no more", rule="amnesia", found=store.halted))
        runner = web.AppRunner(Service(witness, config).application(), access_log=None, keepalive_timeout=75)
        await runner.setup()
        try:
            site = web.TCPSite(runner, listening.host, listening.port, ssl_context=_tls(listening), backlog=64)
            await site.start()
            yield _url(runner, listening)
        finally:
            await runner.cleanup()
            for task in tasks:
                await stop(task)


def _tls(listening: Listening) -> ssl.SSLContext | None:
    if listening.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(listening.tls_cert, listening.tls_key)
    return context


def _url(runner: web.AppRunner, listening: Listening) -> str:
    host, port = runner.addresses[0][:2]
    scheme = "https" if listening.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
