"""Uploads over a real socket: replies, limits, and what is left on disk (nothing)."""

import base64
import hashlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assay.formats.upload_form import FormLimits
from assay.index.web.server import Tls
from assay.index.web.services import UploadLimits
from assay.model.errors import AssayError, KeyUnavailable, NotAllowed, SignerRefused, StorageUnavailable, TooMany
from index.web.folder_index import TOKEN, FolderIndex
from index.web.forms import BYTES, CONTENT_TYPE, FIELDS, WHEEL, body, field, file, parts
from index.web.running import Address, Answer, running

BASIC = "Basic " + base64.b64encode(f"__token__:{TOKEN}".encode()).decode()
HEADERS = {"Authorization": BASIC, "Content-Type": CONTENT_TYPE}
WHOLE = body(parts())


def post(web: Address, data: bytes = WHOLE, **headers: str) -> Answer:
    return web.request("POST", "/legacy/", HEADERS | {k.replace("_", "-"): v for k, v in headers.items()}, data)


@contextmanager
def limited(index: FolderIndex, **limits: object) -> Iterator[Address]:
    with running(index.services(upload_limits=UploadLimits(**limits))) as web:  # type: ignore[arg-type]
        yield web


@pytest.fixture(autouse=True)
def nothing_is_left(index: FolderIndex) -> Iterator[None]:
    yield
    assert index.leftovers() == []


# --- who may ask ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["token", "Bearer", "bearer", "Token"])
def test_schemes_of_authorization(scheme: str, index: FolderIndex, web: Address) -> None:
    assert post(web, Authorization=f"{scheme} {TOKEN}").status == 200


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


WRONG = ["", "Basic", "Basic ???", "Basic Zm9v", "Digest x", "token", "Bearer wrong", f"Bearer {'x' * 2000}"]


def test_who_may_not_upload(index: FolderIndex, web: Address) -> None:
    for credentials in (*WRONG, basic(f"alice:{TOKEN}"), basic("__token__:wrong"), basic("__token__:"), basic("é:x")):
        answer = post(web, Authorization=credentials)
        assert (answer.status, TOKEN in answer.text) == (403, False), credentials
    answer = web.request("POST", "/legacy/", {"Content-Type": CONTENT_TYPE}, WHOLE)
    assert answer.status == 403
    assert "__token__" in answer.text
    assert index.page("demo") is None


def test_the_body_is_not_waited_for_before_the_token_is_checked(web: Address) -> None:
    with web.connect() as client:
        client.sendall(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 403 authentication is needed")


# --- what is answered -----------------------------------------------------------------------------------------


def test_published_when_answered(index: FolderIndex, web: Address) -> None:
    answer = post(web)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert WHEEL in answer.text
    assert web.get(f"/packages/demo/1.0/{WHEEL}").body == BYTES
    again = post(web, Accept="application/json")
    assert json.loads(again.body) == {
        "project": "demo",
        "version": "1.0",
        "filename": WHEEL,
        "sha256": hashlib.sha256(BYTES).hexdigest(),
        "notes": [],
    }


def test_all_digests_are_compared(web: Address) -> None:
    digests = {
        "md5_digest": hashlib.md5(BYTES).hexdigest(),
        "blake2_256_digest": hashlib.blake2b(BYTES, digest_size=32).hexdigest(),
    }
    for name in digests:
        wrong = digests | {name: "0" * len(digests[name])}
        answer = post(web, body(parts({**FIELDS, **wrong})))
        assert (answer.status, answer.reason.partition(":")[0]) == (400, name)
    assert post(web, body(parts({**FIELDS, **digests}))).status == 200


def test_other_bytes_are_409_and_say_already_exist(index: FolderIndex, web: Address) -> None:
    index.add(WHEEL, b"other bytes")
    answer = post(web)
    assert answer.status == 409
    assert "already exist" in answer.reason
    assert "already exist" in answer.text


def test_a_problem_document_for_who_asks_for_one(web: Address) -> None:
    answer = post(web, body(parts({**FIELDS, "version": "2.0"})), Accept="application/json;q=0.9, text/plain;q=0.8")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["subject"], problem["rule"]) == (400, "version", "upload-field")
    assert (problem["expected"], problem["found"]) == ("1.0", "2.0")
    assert problem["type"] == "urn:assay:refusal:upload-field"
    assert answer.reason == problem["detail"]


STATUSES: list[tuple[AssayError, int]] = [
    (NotAllowed("no role"), 403),
    (TooMany("too many new projects"), 429),
    (StorageUnavailable("disk full"), 507),
    (KeyUnavailable("the signer is locked"), 503),
    (SignerRefused("contradiction"), 500),
]


def test_statuses_of_a_refused_publication(index: FolderIndex, web: Address) -> None:
    for error, status in STATUSES:
        index.refusal = error
        answer = post(web)
        assert (answer.status, answer.reason) == (status, error.what)
        assert ("retry-after" in answer.headers) is (status in (429, 503))


def test_operators_secrets_stay_with_the_operator(index: FolderIndex, web: Address) -> None:
    index.refusal = KeyUnavailable("the signer is locked", subject="/data/keys/online", found="wrong passphrase")
    answer = post(web)
    assert "keys" not in answer.text + answer.reason
    assert "passphrase" not in answer.text + answer.reason


def test_a_reason_phrase_is_one_line_of_latin_1(index: FolderIndex, web: Address) -> None:
    index.refusal = NotAllowed("été \u2026 two\r\nX-Evil: lines\x00" + "x" * 1_000)
    answer = post(web)
    assert answer.reason.startswith("été ? two X-Evil: lines?xxx")
    assert len(answer.reason) <= 400
    assert "x-evil" not in answer.headers


def test_no_slash_is_a_permanent_redirect_that_keeps_the_method(web: Address) -> None:
    answer = web.request("POST", "/legacy", HEADERS, WHOLE)
    assert (answer.status, answer.headers["location"]) == (308, "legacy/")


# --- what is refused on the wire ------------------------------------------------------------------------------


def test_malformed_forms(web: Address) -> None:
    for data in (b"", b"x", WHOLE[:-10], WHOLE.replace(b"7f9a", b"xxxx"), b"\r\n" * 1_000):
        assert post(web, data).status == 400
    assert post(web, Content_Type="application/json").status == 400
    assert post(web, body([*parts(), file("extra", "x", b"y")])).status == 400


def test_sizes(index: FolderIndex) -> None:
    form = FormLimits(max_fields=20, max_field_bytes=1_000, max_text_bytes=3_000)
    with limited(index, max_file_bytes=len(BYTES), form=form) as web:
        assert post(web, body(parts(data=BYTES + b"x"))).status == 413
        assert post(web, body([*parts(), field("description", "x" * 1_001)])).status == 413
        assert post(web, body([*parts(), *[field("classifiers", "x")] * 20])).status == 413
        assert post(web, body(parts()) + b"x" * 100_000).status == 413
        assert post(web).status == 200


def test_a_chunked_body_is_stopped_at_the_limit(index: FolderIndex) -> None:
    with limited(index, max_file_bytes=100_000) as web, web.connect() as client:
        head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        endless = body([file("content", WHEEL, b"x" * 60_000)])[:50_000]
        client.sendall(b"%x\r\n%b\r\n" % (len(endless), endless))
        for _ in range(4):
            client.sendall(b"%x\r\n%b\r\n" % (50_000, b"y" * 50_000))
        assert client.recv(1000).startswith(b"HTTP/1.1 413 content: the file is too large")


def test_no_room(index: FolderIndex) -> None:
    with limited(index, min_free_bytes=10**18) as web:
        answer = post(web)
    assert (answer.status, answer.reason) == (507, "the index has no room for this upload")


@pytest.mark.parametrize("length", ["-1", "x", "1" * 30])
def test_strange_lengths(length: str, web: Address) -> None:
    with web.connect() as client:
        head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        client.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 400")


# --- slow and absent clients ----------------------------------------------------------------------------------


def begin(web: Address, data: bytes = WHOLE[:300], length: int = len(WHOLE)) -> socket.socket:
    client = web.connect()
    head = f"POST /legacy/ HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC}\r\nContent-Type: {CONTENT_TYPE}\r\n"
    client.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + data)
    return client


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_client_that_stalls(index: FolderIndex) -> None:
    with limited(index, stall_s=0.2) as web, begin(web) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 408 the upload stalled")


def test_a_client_that_trickles(index: FolderIndex) -> None:
    with limited(index, grace_s=0.2, min_bytes_per_s=10_000) as web, begin(web) as client:
        client.settimeout(0.05)
        answer = b""
        for position in range(300, 400):
            try:
                client.sendall(WHOLE[position : position + 1])
                answer = client.recv(1000)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 the upload is too slow")


def test_a_client_that_hangs_up(index: FolderIndex, web: Address) -> None:
    cut = WHOLE.index(BYTES) + 100
    with begin(web, WHOLE[:cut]):
        eventually(lambda: len(index.leftovers()) == 1)
    eventually(lambda: index.leftovers() == [])
    assert index.page("demo") is None
    assert post(web).status == 200


@pytest.mark.parametrize(
    ("came_from", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_another_web_site_cannot_use_a_browsers_credentials(web: Address, came_from: str, status: int) -> None:
    assert post(web, Sec_Fetch_Site=came_from).status == status


def test_uploads_wait_for_their_turn_and_not_for_ever(index: FolderIndex) -> None:
    with limited(index, max_uploads=1, queue_s=0.3) as web:
        index.held.clear()
        first = threading.Thread(target=post, args=(web,))
        first.start()
        assert index.publishing.acquire(timeout=10)
        second = post(web)
        assert (second.status, second.reason) == (429, "too many uploads are under way")
        assert web.get("/").status == 200, "readers do not wait for uploads"
        index.held.set()
        first.join()
        assert post(web).status == 200


def test_an_upload_under_way_is_answered_before_the_server_ends(index: FolderIndex) -> None:
    answers: list[Answer] = []
    index.held.clear()
    with running(index.services()) as web:
        uploading = threading.Thread(target=lambda: answers.append(post(web)))
        uploading.start()
        assert index.publishing.acquire(timeout=10)
        threading.Timer(0.3, index.held.set).start()
    uploading.join()
    assert [answer.status for answer in answers] == [200]


def make_certificate(folder: Path) -> Tls:
    tls = Tls(folder / "cert.pem", folder / "key.pem")
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(tls.key)]
    command = ["openssl", "req", "-x509", *key, "-out", str(tls.certificate), *name]
    subprocess.run(command, check=True, capture_output=True)
    return tls


def test_tls(index: FolderIndex, tmp_path: Path) -> None:
    tls = make_certificate(tmp_path)
    with running(index.services(), tls=tls) as web:
        context = ssl.create_default_context(cafile=str(tls.certificate))
        with web.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"POST /legacy/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 403 authentication is needed")


@pytest.mark.parametrize("first", ["name", "content"])
@pytest.mark.parametrize(("room", "status"), [(len(BYTES), 200), (len(BYTES) - 1, 413), (-5, 413)])
def test_a_project_without_room_refuses_the_file_while_it_comes(
    index: FolderIndex, first: str, room: int, status: int
) -> None:
    asked: list[str] = []

    def project_room(name: str) -> int:
        asked.append(name)
        return room

    sent = sorted(parts(), key=lambda part: ('name="name"' in part[0]) if first == "content" else 0)
    with running(index.services(project_room=project_room)) as web:
        answer = post(web, body(sent))
    assert answer.status == status
    assert asked == ["demo"]
    if status == 413:
        assert "the project has no room for this file" in answer.reason
