"""deploy/nginx.conf as it is shipped, in front of a running index: clients get what Assay itself would answer."""

import gzip
import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from assay.cli.demo.programs import ASSAY
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import JSON, PROGRAMS, House, running_house

pytestmark = pytest.mark.e2e

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
CONFIG = '[proxy]\ntrusted = ["127.0.0.1"]\nblobs = "/+blobs/"\n'
WHEEL = "fronted-1.0-py3-none-any.whl"
FILE = f"packages/fronted/1.0/{WHEEL}"
COMPARED = ("content-type", "cache-control", "x-content-type-options", "content-security-policy", "accept-ranges")
VALIDATORS = ("etag", "content-range", "content-length")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Fronted:
    """The house, and its two addresses."""

    house: House
    assay: str
    nginx: str

    def both(self, path: str, method: str = "GET", **headers: str) -> tuple[Answer, Answer]:
        """What Assay and nginx answer; ``headers`` with underscores for dashes."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(self.assay, path, method, lines), ask(self.nginx, path, method, lines)


def ask(url: str, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
        connection.request(method, f"/{path}", headers={"Host": "index.example", **headers})
        response = connection.getresponse()
        lines = {name.lower(): value for name, value in response.getheaders()}
        body = response.read()
        return Answer(response.status, lines, gzip.decompress(body) if "content-encoding" in lines and body else body)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_nginx(folder: Path, data: Path, upstream: str) -> Iterator[str]:
    """The shipped configuration with this run's addresses and folder; its own user where we are root."""
    port = free_port()
    site = SHIPPED.read_text(encoding="utf-8")
    for shipped, ours in (
        ("127.0.0.1:8421", urlsplit(upstream).netloc),
        ("127.0.0.1:8080", f"127.0.0.1:{port}"),
        ("/var/lib/assay", str(data)),
    ):
        assert shipped in site
        site = site.replace(shipped, ours)
    (folder / "assay.conf").write_text(site)
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "main.conf"
    main.write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\ninclude {folder}/assay.conf; }}\n"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([program, "-c", str(main)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                ask(f"http://127.0.0.1:{port}", "healthz", "GET", {})
                break
            except OSError:
                assert time.monotonic() < deadline, (folder / "error.log").read_text()
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)
        if process.stderr:
            process.stderr.close()


@pytest.fixture(scope="module")
def fronted() -> Iterator[Fronted]:
    with open_folder() as folder, running_house(folder, config=CONFIG) as house:
        assert house.upload(WHEEL, build_wheel("fronted", "1.0")).status == 200
        with running_nginx(folder, house.index.data, house.index.url) as nginx:
            yield Fronted(house, house.index.url, nginx)


@pytest.mark.parametrize(
    "accept", [JSON, "text/html", "application/vnd.pypi.simple.v1+html", f"{JSON};q=0.1, text/html", "*/*", "image/png"]
)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_pages_are_negotiated_as_ever(fronted: Fronted, accept: str, coding: str) -> None:
    for path in ("simple/fronted/", "simple/", "simple/Fronted/", "simple/nothing/"):
        ours, theirs = fronted.both(path, accept=accept, accept_encoding=coding)
        assert (theirs.status, theirs.body) == (ours.status, ours.body)
        kept = (*COMPARED, *VALIDATORS, "vary", "location", "content-encoding")
        assert {name: theirs.headers.get(name) for name in kept} == {name: ours.headers.get(name) for name in kept}
        if "etag" in ours.headers:
            known = {"accept": accept, "accept_encoding": coding, "if_none_match": ours.headers["etag"]}
            assert [answer.status for answer in fronted.both(path, **known)] == [304, 304]


def test_static_files_are_the_same_under_headers_of_the_same_meaning(fronted: Fronted) -> None:
    published = fronted.house.index.data / "published"
    names = [path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()]
    served = [name for name in names if name.startswith(("tuf/", "log/")) or "index.json" in name]
    assert len(served) > 10
    for name in served:
        ours, theirs = fronted.both(name, accept_encoding="gzip")
        assert (theirs.status, theirs.body) == (ours.status, ours.body), name
        if ours.status == 404:  # earlier checkpoints: the signer's own
            assert name.startswith("log/checkpoints/")
            continue
        same = ("content-type", "cache-control", "x-content-type-options")
        assert [theirs.headers.get(each) for each in same] == [ours.headers.get(each) for each in same], name
        again = ask(fronted.nginx, name, "GET", {"If-None-Match": theirs.headers["etag"], "Accept-Encoding": "gzip"})
        assert again.status == 304, name


@pytest.mark.parametrize(
    "name", ["tuf/9999.root.json", "tuf/root.json", "tuf/..%2Fledger.json", "log/tile/0/x", "log/x"]
)
def test_what_is_not_there_is_explained_by_assay(fronted: Fronted, name: str) -> None:
    ours, theirs = fronted.both(name)
    assert theirs.status == ours.status == 404
    assert theirs.headers["content-type"] == ours.headers["content-type"]


@pytest.mark.parametrize(
    "path", ["ledger/ledger.db", "keys/online/bin.pem", "config.toml", "tuf/../../config.toml", "+blobs/aa/aa"]
)
def test_nothing_else_of_the_data_folder_can_be_had(fronted: Fronted, path: str) -> None:
    assert ask(fronted.nginx, path, "GET", {}).status in (400, 404)


def test_files_are_sent_by_nginx_under_assays_headers(fronted: Fronted) -> None:
    wheel = build_wheel("fronted", "1.0")
    sha256 = next(
        path.name
        for path in (fronted.house.index.data / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() == wheel
    )
    for path in (FILE, f"packages/fronted/1.0/{sha256}.{WHEEL}"):
        for _ in range(2):  # the second is answered on the spot
            decided, sent = fronted.both(path)
            assert "x-accel-redirect" in decided.headers
            assert "x-accel-redirect" not in sent.headers
            assert (sent.status, sent.body, sent.headers["etag"]) == (200, wheel, f'"{sha256}"')
            assert {name: sent.headers.get(name) for name in COMPARED} == {
                name: decided.headers[name] for name in COMPARED
            }
        assert "last-modified" not in sent.headers
    head = ask(fronted.nginx, FILE, "HEAD", {})
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(wheel)), b"")
    known = ask(fronted.nginx, FILE, "GET", {"If-None-Match": f'"{sha256}"'})
    assert (known.status, known.headers["etag"]) == (304, f'"{sha256}"')
    part = ask(fronted.nginx, FILE, "GET", {"Range": "bytes=10-19"})
    assert (part.status, part.body, part.headers["etag"]) == (206, wheel[10:20], f'"{sha256}"')
    for tag, status, body in ((f'"{sha256}"', 206, wheel[10:]), ('"other"', 200, wheel)):
        resumed = ask(fronted.nginx, FILE, "GET", {"Range": "bytes=10-", "If-Range": tag})
        assert (resumed.status, resumed.body) == (status, body)
    sidecar = ask(fronted.nginx, f"{FILE}.metadata", "GET", {})
    assert b"Name: fronted" in sidecar.body
    assert sidecar.headers["content-type"] == "text/plain; charset=utf-8"
    assert ask(fronted.nginx, "packages/fronted/2.0/fronted-2.0.tar.gz", "GET", {}).status == 404


def test_twine_pip_and_assay_through_nginx(fronted: Fronted) -> None:
    house, wheel = fronted.house, fronted.house.folder / "through-1.0-py3-none-any.whl"
    wheel.write_bytes(build_wheel("through", "1.0", files={"big.bin": os.urandom(3_000_000)}))
    words = ("upload", "--non-interactive", "--repository-url", f"{fronted.nginx}legacy/", str(wheel))
    sent = house.developer().run(*PROGRAMS.twine, *words)
    assert sent.code == 0, sent.said
    person = house.stranger()
    trusted = person.run(*ASSAY, "trust", "add", fronted.nginx, "--fingerprint", house.index.fingerprint)
    assert trusted.code == 0, trusted.said
    for installer in ((*PROGRAMS.pip, "install"), (*PROGRAMS.uv, "pip", "install")):
        done = person.run(*ASSAY, "run", "--", *installer, "--target", installer[-2], "through")
        assert done.code == 0, done.said
    assert (person.folder / "pip" / "through.py").exists() or (person.folder / "pip").is_dir()


def test_the_clients_address_and_scheme_are_those_of_the_client(fronted: Fronted) -> None:
    told = ask(fronted.nginx, "pypi/fronted/json", "GET", {"X-Forwarded-Proto": "gopher", "X-Forwarded-For": "9.9.9.9"})
    assert b"http://index.example/packages/fronted/1.0/" in told.body
