"""The permanent address on loopback: when it looks again whom, and what, it may trust."""

import asyncio
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from assay.client.policed import PolicedSource
from assay.client.proxy.answers import Answers
from assay.client.proxy.endpoint import USERNAME, Endpoint, EndpointPlace
from assay.client.proxy.passing import Passing
from assay.client.proxy.refusals import Refusals
from assay.client.proxy.routes import cover
from assay.fetch import Fetcher
from assay.model.errors import NotFresh, Unreachable
from assay.policy.model import Policy
from client.memory_source import NOW, OWN_URL
from client.proxied import small_source


@pytest.mark.parametrize("days", [-2, 2])
def test_B14_a_clock_that_was_set_stops_the_endpoint_until_it_has_looked_again(tmp_path: Path, days: int) -> None:
    now, covered = NOW, cover(OWN_URL, ())

    async def renew() -> Answers:
        if now != NOW:
            raise NotFresh("this machine's clock was set", rule="clock")
        source = PolicedSource([small_source(tmp_path)], Policy(), lambda: now, print)
        return Answers(source, covered, Policy(), Refusals(), Passing({}), lambda: now)

    async def asked() -> None:
        nonlocal now
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        endpoint = Endpoint(EndpointPlace(port, "secret"), covered.own, renew, lambda: now)
        await endpoint.start()
        page = f"http://{USERNAME}:secret@127.0.0.1:{port}/simple/demo/"
        async with Fetcher({}) as fetcher:
            assert await fetcher.get(page, max_bytes=100_000)
            now += timedelta(days=days)
            with pytest.raises(Unreachable, match="clock was set"):
                await fetcher.get(page, max_bytes=100_000)
        await endpoint.close()

    asyncio.run(asked())
