"""What readers get: pages, files, metadata, over a real socket."""

import asyncio
import gzip
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from assay.formats.negotiation import PageType
from assay.formats.pages import PageFile
from assay.index.web.services import LocatedFile
from assay.model.digests import Sha256
from assay.model.errors import NotFound, Unreachable, UpstreamChanged
from assay.model.names import ProjectName
from client.small_distributions import build_wheel, wheel_metadata
from index.web.folder_index import FINGERPRINT, FolderIndex
from index.web.running import Address, running

JSON, HTML, TEXT = (page_type.value for page_type in PageType)
WHEEL = "demo-1.0-py3-none-any.whl"
BYTES = build_wheel("demo", "1.0", requires=["other"])
PAGE = "/simple/demo/"


@pytest.fixture(autouse=True)
def demo(index: FolderIndex) -> PageFile:
    return index.add(WHEEL, BYTES, wheel_metadata("demo", "1.0", ["other"]), requires_python=">=3.9")


def signed_page(index: FolderIndex) -> bytes:
    data = index.published.read("simple/demo/index.json")
    assert data is not None
    return data


# --- pages ----------------------------------------------------------------------------------------------------


def test_the_json_page_is_the_signed_bytes_and_its_etag_their_hash(index: FolderIndex, web: Address) -> None:
    answer = web.get(PAGE, Accept=JSON)
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    assert answer.body == signed_page(index)
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.body).hexdigest()}"'
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert "max-age=0" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("accept", "content_type"), [(HTML, HTML), (TEXT, TEXT), ("*/*", TEXT)])
def test_html_pages(accept: str, content_type: str, web: Address) -> None:
    answer = web.get(PAGE, Accept=accept)
    assert answer.headers["content-type"] == f"{content_type}; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert f'href="../../packages/demo/1.0/{WHEEL}#sha256=' in answer.text


def test_format_in_the_query_wins(web: Address) -> None:
    assert web.get(f"{PAGE}?format={JSON}", Accept="text/html").headers["content-type"] == JSON
    assert web.get(f"{PAGE}?format=nothing", Accept="text/html").status == 406


def test_what_no_representation_satisfies(web: Address) -> None:
    answer = web.get(PAGE, Accept="image/png")
    assert answer.status == 406
    assert JSON in answer.text


def test_every_representation_has_its_own_etag(web: Address) -> None:
    etags = {
        web.get(PAGE, Accept=accept, Accept_Encoding=encoding).headers["etag"]
        for accept in (JSON, HTML, TEXT)
        for encoding in ("gzip", "identity")
    }
    assert len(etags) == 6


def test_gzip_unpacks_to_the_same_page(index: FolderIndex, web: Address) -> None:
    answer = web.get(PAGE, Accept=JSON, Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == signed_page(index)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_not_modified(encoding: str, web: Address) -> None:
    first = web.get(PAGE, Accept=JSON, Accept_Encoding=encoding)
    again = web.get(PAGE, Accept=JSON, Accept_Encoding=encoding, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["vary"] == first.headers["vary"]
    other_type = web.get(PAGE, Accept=HTML, Accept_Encoding=encoding, If_None_Match=first.headers["etag"])
    assert other_type.status == 200


def test_the_page_hash_is_enough_for_not_modified_whatever_the_coding(index: FolderIndex, web: Address) -> None:
    etag = f'"{hashlib.sha256(signed_page(index)).hexdigest()}"'
    answer = web.get(PAGE, Accept=JSON, Accept_Encoding="gzip", If_None_Match=etag)
    assert (answer.status, answer.headers["etag"]) == (304, etag)


def test_a_new_page_is_seen_at_once(index: FolderIndex, web: Address) -> None:
    old = web.get(PAGE, Accept=JSON)
    index.add("demo-2.0-py3-none-any.whl", b"two")
    new = web.get(PAGE, Accept=JSON, If_None_Match=old.headers["etag"])
    assert new.status == 200
    assert json.loads(new.body)["versions"] == ["1.0", "2.0"]
    assert "demo-2.0" in web.get(PAGE, Accept=HTML).text


def test_head_is_get_without_a_body(web: Address) -> None:
    for path in (PAGE, f"/packages/demo/1.0/{WHEEL}", "/simple/", "/", "/pypi/demo/json"):
        got, headed = web.get(path), web.request("HEAD", path)
        assert (headed.status, headed.body) == (200, b"")
        assert headed.headers["content-length"] == got.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "simple/"),
        ("/simple/demo", "demo/"),
        ("/simple/Demo", "demo/"),
        ("/simple/DEMO/", "../demo/"),
        ("/simple/De.__m-o/?format=x", "../de-m-o/?format=x"),
        ("/legacy/+simple/demo/", "../../../simple/demo/"),
        ("/+simple/demo", "../simple/demo/"),
    ],
)
def test_redirects(path: str, location: str, web: Address) -> None:
    answer = web.get(path)
    assert (answer.status, answer.headers["location"]) == (301, location)


ABSENT = [
    "/simple/none/",
    "/simple/-/",
    "/simple/demo/other",
    "/simple/Demo/index.json",
    "/simple/demo/x/y",
    "/simple/%2e%2e/",
    "/simple/..%2f..%2fetc/",
    "/simple/demo%00/",
    f"/simple/demo/{'0' * 64}.index.json",
    f"/simple/{'d' * 3000}/",
    "/nothing",
    "//",
    "/healthz/x",
    "/legacy/x",
    "/simple//",
    "/%ff/",
]


def test_what_is_not_there(web: Address) -> None:
    for path in ABSENT:
        answer = web.get(path)
        assert answer.status == 404, path
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"


def test_the_page_as_a_tuf_target(index: FolderIndex, web: Address) -> None:
    signed = signed_page(index)
    plain = web.get(f"{PAGE}index.json")
    hashed = web.get(f"{PAGE}{hashlib.sha256(signed).hexdigest()}.index.json")
    assert plain.body == hashed.body == signed
    assert "max-age=0" in plain.headers["cache-control"]
    assert "immutable" in hashed.headers["cache-control"]


def test_a_damaged_page_is_an_error_of_ours_that_installers_do_not_retry(index: FolderIndex, web: Address) -> None:
    index.published.path("simple/demo/index.json").unlink()
    index.published.write({"simple/demo/index.json": b"{}"})
    answer = web.get(PAGE, Accept=HTML)
    assert (answer.status, answer.reason.partition(",")[0]) == (451, "this page was not written by an Assay index")


def test_project_list(index: FolderIndex, web: Address) -> None:
    index.add("a_b-1.0.tar.gz", b"x")
    assert json.loads(web.get("/simple/", Accept=JSON).body)["projects"] == [{"name": "a-b"}, {"name": "demo"}]
    answer = web.get("/simple/", Accept="text/html")
    assert '<a href="a-b/">a-b</a>' in answer.text
    again = web.get("/simple/", Accept="text/html", If_None_Match=answer.headers["etag"])
    assert again.status == 304


# --- files ----------------------------------------------------------------------------------------------------

FILE = f"/packages/demo/1.0/{WHEEL}"


def test_a_file(demo: PageFile, web: Address) -> None:
    for path in (
        FILE,
        f"/packages/demo/1.0/{demo.sha256}.{WHEEL}",
        FILE.replace("-", "%2D"),
    ):
        answer = web.get(path)
        assert (answer.status, answer.body) == (200, BYTES)
        assert answer.headers["etag"] == f'"{demo.sha256}"'
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.get(FILE, If_None_Match=f'"{demo.sha256}"').status == 304


def test_the_sidecar_is_the_metadata_inside(web: Address) -> None:
    answer = web.get(f"{FILE}.metadata")
    assert answer.body == wheel_metadata("demo", "1.0", ["other"])
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.body).hexdigest()}"'
    hashed = f"/packages/demo/1.0/{hashlib.sha256(answer.body).hexdigest()}.{WHEEL}.metadata"
    assert web.get(hashed).body == answer.body


NO_FILES = [
    f"/packages/demo/1.1/{WHEEL}",
    f"/packages/demo/1.0/{'0' * 64}.{WHEEL}",
    "/packages/demo/1.0/x.whl",
    f"/packages/Demo/1.0/{WHEEL}",
    f"/packages/other/1.0/{WHEEL}",
    f"/packages/demo/1.0/{WHEEL}.asc",
    f"/packages/demo/1.0/{WHEEL}.metadata.metadata",
    f"/packages/demo/1.0/{WHEEL}/",
    "/packages/demo/1.0/",
    f"/packages/demo/1.0/..%2f1.0%2f{WHEEL}",
    f"/packages/demo/./1.0/{WHEEL}",
    "/packages/",
]


def test_no_such_file(web: Address) -> None:
    for path in NO_FILES:
        assert web.get(path).status == 404, path


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=0-3", slice(0, 4)), ("bytes=10-", slice(10, None)), ("bytes=-7", slice(-7, None))],
)
def test_ranges(header: str, part: slice, demo: PageFile, web: Address) -> None:
    answer = web.get(FILE, Range=header)
    assert (answer.status, answer.body) == (206, BYTES[part])
    start, stop, _ = part.indices(len(BYTES))
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BYTES)}"
    assert web.get(FILE, Range=header, If_Range=f'"{demo.sha256}"').status == 206
    assert web.get(FILE, Range=header, If_Range='"other"').body == BYTES


def test_a_range_outside_the_file(web: Address) -> None:
    answer = web.get(FILE, Range=f"bytes={len(BYTES)}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(BYTES)}")
    assert web.request("HEAD", FILE, {"Range": "bytes=0-3"}).status == 200


def test_curl_resumes_a_download(web: Address, tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(BYTES[:100])
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "-C", "-", "-o", "part"]
    subprocess.run([*command, f"{web.url}{FILE[1:]}"], cwd=tmp_path, check=True, timeout=20)
    assert (tmp_path / "part").read_bytes() == BYTES


def test_a_file_of_many_chunks_and_an_empty_one(index: FolderIndex, web: Address) -> None:
    data = bytes(range(256)) * 8_000 + b"end"
    index.add("big-1.0.tar.gz", data)
    index.add("empty-1.0.tar.gz", b"")
    assert web.get("/packages/big/1.0/big-1.0.tar.gz").body == data
    assert web.get("/packages/big/1.0/big-1.0.tar.gz", Range="bytes=262143-600000").body == data[262_143:600_001]
    assert web.get("/packages/empty/1.0/empty-1.0.tar.gz").body == b""


def test_a_blob_of_another_length_is_not_served(index: FolderIndex, demo: PageFile, web: Address) -> None:
    path = index.blobs.path(demo.sha256)
    path.chmod(0o644)
    path.write_bytes(BYTES + b"x")
    answer = web.get(FILE)
    assert answer.status == 507
    assert "another length" in answer.text


# --- metadata, JSON API, front page ---------------------------------------------------------------------------


def test_tuf_metadata(index: FolderIndex, web: Address) -> None:
    body = json.dumps({"signed": ["x" * 100] * 10}).encode()
    index.published.write({"tuf/timestamp.json": body, "tuf/12.bin-0a.json": body, "tuf/3.a%2Fb.json": body})
    for name in ("timestamp.json", "12.bin-0a.json", "3.a%2Fb.json"):
        answer = web.get(f"/tuf/{name}")
        assert (answer.status, answer.body) == (200, body), name
        assert answer.headers["content-type"] == "application/json"
        assert ("immutable" in answer.headers["cache-control"]) is (name != "timestamp.json")
    assert gzip.decompress(web.get("/tuf/12.bin-0a.json", Accept_Encoding="gzip").body) == body


HOSTILE_NAMES = [
    "",
    "snapshot.json",
    "0.root.json",
    "1.root",
    "01.root.json",
    "-1.root.json",
    "1..json/../x",
    "../simple/x.json",
    "%2e%2e/tuf/timestamp.json",
    "..%2Ftimestamp.json",
    "1.root.json/",
    "1.x%00.json",
    "99999999999.root.json",
]


def test_hostile_metadata_names(index: FolderIndex, web: Address) -> None:
    index.published.write({"tuf/snapshot.json": b"{}", "tuf/0.root.json": b"{}", "tuf/timestamp.json": b"{}"})
    for name in HOSTILE_NAMES:
        assert web.get(f"/tuf/{name}").status == 404, name


def test_json_api(web: Address) -> None:
    document = json.loads(web.get("/pypi/Demo/json").body)
    assert document["info"]["version"] == "1.0"
    assert document["info"]["requires_dist"] == ["other"]
    assert document["urls"][0]["url"] == f"{web.url}packages/demo/1.0/{WHEEL}"
    one = json.loads(web.get("/pypi/demo/1.0.0/json").body)
    assert one["info"]["version"] == "1.0"
    assert web.get("/pypi/demo/2.0/json").status == 404
    assert web.get("/pypi/none/json").status == 404
    hostile = json.loads(web.get("/pypi/demo/json", Host='evil"><script>').body)
    assert hostile["urls"][0]["url"].startswith("/packages/")


def test_front_page_and_health(index: FolderIndex, web: Address) -> None:
    assert FINGERPRINT in web.get("/").text
    assert "<p>Assay" in web.get("/", Accept="text/html").text
    assert web.get("/healthz").status == 503
    index.published.write({"tuf/timestamp.json": b"{}"})
    assert web.get("/healthz").text == "ok\n"


@pytest.mark.parametrize(("path", "allowed"), [(PAGE, "GET, HEAD"), (FILE, "GET, HEAD"), ("/", "GET, HEAD")])
def test_wrong_methods(path: str, allowed: str, web: Address) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = web.request(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
    assert web.get("/legacy/").status == 405


# --- pull-through ---------------------------------------------------------------------------------------------


class Upstream:
    """A pull-through that adds to the folder index what it is asked for."""

    def __init__(self, index: FolderIndex) -> None:
        self.index = index
        self.asked: list[str] = []
        self.late: dict[Sha256, bytes] = {}

    def is_fresh(self, project: ProjectName) -> bool:
        return False

    async def fetch_page(self, project: ProjectName) -> None:
        self.asked.append(project)
        if project == "gone":
            raise Unreachable("the upstream does not answer")
        if project == "pulled" and self.index.page(project) is None:
            entry = self.index.add("pulled-1.0.tar.gz", b"upstream's bytes")
            page = self.index.page(project)
            assert page is not None
            self.index.put_page(replace(page, origin="upstream"))
            self.late[entry.sha256] = b"upstream's bytes"
            self.index.blobs.path(entry.sha256).unlink()

    async def fetch_provenance(self, project: ProjectName, version: str, filename: str) -> None:
        raise NotFound("nothing is announced")

    async def fetch_file(self, project: ProjectName, version: str, filename: str) -> None:
        await asyncio.sleep(0)
        self.asked.append(filename)
        if self.index.refusal is not None:
            raise self.index.refusal
        for data in self.late.values():
            self.index.blobs.store_bytes(data)


@pytest.fixture
def pulling(index: FolderIndex) -> Iterator[tuple[Upstream, Address]]:
    upstream = Upstream(index)
    with running(index.services(pull_through=upstream)) as address:
        yield upstream, address


def test_an_unknown_page_and_its_file_come_from_upstream(pulling: tuple[Upstream, Address]) -> None:
    upstream, web = pulling
    assert web.get("/simple/pulled/", Accept=JSON).status == 200
    assert web.get("/packages/pulled/1.0/pulled-1.0.tar.gz").body == b"upstream's bytes"
    assert web.get("/packages/pulled/1.0/pulled-1.0.tar.gz").status == 200
    assert upstream.asked == ["pulled", "pulled-1.0.tar.gz"]
    web.get("/simple/pulled/", Accept=JSON)
    assert upstream.asked[-1] == "pulled", "the upstream may have a newer page"


def test_a_locked_file_is_found_without_its_page(pulling: tuple[Upstream, Address]) -> None:
    upstream, web = pulling
    assert web.get("/packages/pulled/1.0/pulled-1.0.tar.gz").status == 200
    assert upstream.asked == ["pulled", "pulled-1.0.tar.gz"]


def test_our_own_projects_never_go_upstream(pulling: tuple[Upstream, Address]) -> None:
    upstream, web = pulling
    for path in (PAGE, f"{PAGE}index.json", FILE, "/pypi/demo/json"):
        assert web.get(path).status == 200
    assert upstream.asked == []


def test_upstream_failures(index: FolderIndex, pulling: tuple[Upstream, Address]) -> None:
    _, web = pulling
    assert web.get("/simple/gone/").status == 504
    assert web.get("/simple/unknown/").status == 404
    index.refusal = UpstreamChanged("the upstream shows other bytes", subject="pulled-1.0.tar.gz")
    answer = web.get("/packages/pulled/1.0/pulled-1.0.tar.gz")
    assert (answer.status, answer.reason) == (451, "pulled-1.0.tar.gz: the upstream shows other bytes")


# --- failures of ours -----------------------------------------------------------------------------------------


def test_an_unforeseen_failure_shows_a_reference_and_nothing_else(index: FolderIndex, caplog: object) -> None:
    class Broken:
        def peek(self, project: str, version: str, filename: str) -> LocatedFile | None:
            raise ZeroDivisionError("another secret path")

        async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
            raise ZeroDivisionError("a secret path")

    with running(index.services(catalogue=Broken())) as web:
        answer = web.get(FILE)
    assert answer.status == 500
    assert "reference" in answer.text
    assert "secret" not in answer.text + answer.reason


def test_a_file_that_is_cut_short_is_not_a_whole_answer(index: FolderIndex) -> None:
    sha256 = index.blobs.store_bytes(b"x" * 30_000_000)

    class Shrinking:
        def peek(self, project: str, version: str, filename: str) -> LocatedFile | None:
            return None

        async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
            return LocatedFile(sha256, 30_000_000)

    with running(index.services(catalogue=Shrinking())) as web, web.connect() as client:
        client.sendall(f"GET {FILE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        path = index.blobs.path(sha256)
        path.chmod(0o644)
        received = client.recv(1000)
        path.write_bytes(b"")
        while chunk := client.recv(1_000_000):
            received += chunk
    assert b"content-length: 30000000" in received
