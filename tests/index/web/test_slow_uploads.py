"""A thousand slow uploads of somebody stop nobody else's."""

import dataclasses
import resource
import socket
from collections.abc import Iterator

import pytest

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
def test_a_thousand_slow_uploads_do_not_stop_a_normal_one(index: FolderIndex) -> None:
    def authenticate(token: str) -> Principal:
        return Principal(token, "token:1", Scope(frozenset({Action.UPLOAD})))

    services = dataclasses.replace(index.services(), authenticate=authenticate)
    data = body(parts())
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mallory\r\nContent-Type: {CONTENT_TYPE}\r\n"
    head += f"Content-Length: {len(data)}\r\n\r\n"
    with running(services, max_connections=SLOW + 100) as web:
        slow: list[socket.socket] = []
        for _number in range(SLOW):
            connection = web.connect()
            connection.sendall(head.encode() + data[:10])
            slow.append(connection)
        try:
            headers = {"Authorization": "Bearer alice", "Content-Type": CONTENT_TYPE}
            answer = web.request("POST", "/legacy/", headers, data)
        finally:
            for connection in slow:
                connection.close()
    assert answer.status == 200, answer.text
