"""A private index: who reads with which token, what everybody else is told, and what caches may keep."""

import base64
import dataclasses
from collections.abc import Iterator

import pytest

from assay.index.web.rates import Rate
from assay.model.errors import NotAllowed, TooMany
from assay.model.names import parse_project_name
from assay.model.permissions import Action, Principal, Scope
from client.small_distributions import build_wheel
from index.web.folder_index import FolderIndex
from index.web.forms import CONTENT_TYPE, body, parts
from index.web.running import Address, running

WHEEL = "demo-1.0-py3-none-any.whl"
PAGE = "/simple/demo/"
FILE = f"/packages/demo/1.0/{WHEEL}"
SCOPES = {
    "reader": Scope(frozenset({Action.READ})),
    "uploader": Scope(frozenset({Action.UPLOAD})),
    "demo-reader": Scope(frozenset({Action.READ}), frozenset({parse_project_name("demo")})),
    "other-reader": Scope(frozenset({Action.READ}), frozenset({parse_project_name("other")})),
}


def basic(token: str, user: str = "__token__") -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


@pytest.fixture
def private(index: FolderIndex) -> Iterator[Address]:
    index.add(WHEEL, build_wheel("demo", "1.0"), b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")

    def authenticate(token: str) -> Principal:
        if token not in SCOPES:
            raise NotAllowed("this token is not known here", rule="token-unknown")
        return Principal("alice", f"token:{token}", SCOPES[token])

    services = dataclasses.replace(index.services(), read_access=authenticate)
    with running(services) as address:
        yield address


@pytest.mark.parametrize("path", ["/simple/", PAGE, FILE, f"{FILE}.metadata", "/pypi/demo/json", "/tuf/timestamp.json"])
@pytest.mark.parametrize("authorization", [None, basic("unknown"), basic("reader", "somebody"), "Bearer ", "Digest x"])
def test_without_a_token_that_may_read_the_answer_is_a_challenge(
    private: Address, path: str, authorization: str | None
) -> None:
    answer = private.get(path, **({"authorization": authorization} if authorization else {}))
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert b"demo" not in answer.body


@pytest.mark.parametrize("path", ["/", "/.well-known/pytp"])
def test_what_names_no_project_is_open(private: Address, path: str) -> None:
    assert private.get(path).status != 401


@pytest.mark.parametrize("authorization", [basic("reader"), "Bearer reader", "token reader", basic("demo-reader")])
@pytest.mark.parametrize("path", [PAGE, FILE, f"{FILE}.metadata"])
def test_a_reader_reads_and_no_shared_cache_keeps_it(private: Address, path: str, authorization: str) -> None:
    answer = private.get(path, authorization=authorization)
    assert answer.status == 200
    assert "public" not in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [
        ("uploader", PAGE, 403),
        ("other-reader", PAGE, 403),
        ("other-reader", FILE, 403),
        ("other-reader", "/pypi/demo/json", 403),
        ("other-reader", "/simple/DEMO/", 403),
        ("demo-reader", "/simple/other/", 403),
        ("demo-reader", "/simple/demo", 301),
    ],
)
def test_a_token_reads_within_its_scope(private: Address, token: str, path: str, status: int) -> None:
    assert private.get(path, authorization=basic(token)).status == status


def test_an_open_index_asks_nobody(web: Address, index: FolderIndex) -> None:
    index.add(WHEEL, build_wheel("demo", "1.0"))
    answer = web.get(PAGE)
    assert answer.status == 200
    assert "public" in answer.headers["cache-control"]


# --- rates ----------------------------------------------------------------------------------------------------


def test_failed_attempts_of_an_address_are_limited(index: FolderIndex) -> None:
    with running(dataclasses.replace(index.services(), failures_per_minute=3)) as web:
        headers = {"Authorization": basic("wrong"), "Content-Type": CONTENT_TYPE}
        statuses = [web.request("POST", "/legacy/", headers, body(parts())).status for _attempt in range(5)]
    assert statuses == [403, 403, 403, 429, 429]


def test_uploads_of_a_user_are_limited(index: FolderIndex) -> None:
    from index.web.folder_index import TOKEN

    with running(dataclasses.replace(index.services(), uploads_per_minute=2)) as web:
        headers = {"Authorization": basic(TOKEN), "Content-Type": CONTENT_TYPE}
        answers = [web.request("POST", "/legacy/", headers, body(parts())) for _attempt in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert "retry-after" in answers[-1].headers


def test_a_rate_refills_by_and_by_and_forgets_the_quiet_ones() -> None:
    now = [0.0]
    rate = Rate("attempts", 2, 60.0, lambda: now[0], max_keys=2)
    rate.take("a")
    rate.take("a")
    with pytest.raises(TooMany):
        rate.take("a")
    now[0] += 30.0
    rate.take("a")
    with pytest.raises(TooMany):
        rate.take("a")
    rate.take("b")
    rate.take("c")
    rate.take("a")
