"""A thousand slow uploads of somebody stop nobody else's."""

import asyncio
import contextlib
import dataclasses
import resource
import socket
from collections.abc import Iterator

import pytest

from assay.index.web import places
from assay.index.web.places import Places
from assay.index.web.services import UploadLimits
from assay.model.errors import TooMany, TooSlow
from assay.model.permissions import Action, Principal, Scope
from index.web.folder_index import FolderIndex
from index.web.forms import CONTENT_TYPE, body, parts
from index.web.running import running

SLOW = 1_000


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Both ends of a thousand connections live in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(before[1], 4 * SLOW)), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("users", [1, 4, 40])
def test_a_thousand_slow_uploads_do_not_stop_a_normal_one(index: FolderIndex, users: int) -> None:
    def authenticate(token: str) -> Principal:
        return Principal(token, "token:1", Scope(frozenset({Action.UPLOAD})))

    services = dataclasses.replace(index.services(), authenticate=authenticate)
    data = body(parts())
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(data)}\r\n"
    with running(services, max_connections=SLOW + 100) as web:
        slow: list[socket.socket] = []
        for number in range(SLOW):
            connection = web.connect()
            connection.sendall(f"{head}Authorization: Bearer mallory{number % users}\r\n\r\n".encode() + data[:10])
            slow.append(connection)
        try:
            headers = {"Authorization": "Bearer alice", "Content-Type": CONTENT_TYPE}
            answer = web.request("POST", "/legacy/", headers, data)
        finally:
            for connection in slow:
                connection.close()
    assert answer.status == 200, answer.text


@pytest.mark.parametrize(
    ("there", "newcomer", "gone"),
    [
        ("mm a", "b", "m1"),  # whose many uploads fill the places makes room
        ("ma", "m", None),
        ("mab", "c", None),  # all have one, and nobody has trickled yet
        ("M am", "b", "m2"),  # what has come in whole stays
        ("M M a", "b", None),
    ],
)
def test_who_makes_room(there: str, newcomer: str, gone: str | None) -> None:
    limits = UploadLimits(max_receiving=len(there.replace(" ", "")), max_receiving_per_user=2)

    async def story() -> str | None:
        places, ended = Places(limits), list[str]()

        async def upload(name: str, *, is_whole: bool) -> None:
            try:
                async with places.take(name[0]) as place:
                    place.is_whole = is_whole
                    await asyncio.sleep(3_600)
            except TooSlow:
                ended.append(name)

        tasks = []
        for number, letter in enumerate(there.replace(" ", ""), start=1):
            tasks.append(asyncio.create_task(upload(f"{letter.lower()}{number}", is_whole=letter.isupper())))
            await asyncio.sleep(0)
        with contextlib.suppress(TooMany):
            async with places.take(newcomer):
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return ended[0] if ended else None

    found = asyncio.run(story())
    assert (found is None) == (gone is None)
    assert found is None or found[0] == str(gone)[0]


def test_of_many_single_uploads_the_slowest_that_trickles_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "TRICKLE_AFTER_S", 0.0)

    async def story() -> list[str]:
        taken, ended = Places(UploadLimits(max_receiving=3)), list[str]()

        async def upload(user: str, received: int) -> None:
            try:
                async with taken.take(user) as place:
                    place.received = received
                    await asyncio.sleep(3_600)
            except TooSlow:
                ended.append(user)

        speeds = {"fast": 10**9, "slow": 500, "slower": 10}
        tasks = [asyncio.create_task(upload(user, received)) for user, received in speeds.items()]
        await asyncio.sleep(0.01)
        async with taken.take("newcomer"):
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return ended

    assert asyncio.run(story()) == ["slower"]
