"""The proxy as a command sees it, over real sockets and TLS."""

import asyncio
import base64
import json
import ssl
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import pytest
from cryptography import x509

from assay.model.errors import AssayError, NotFresh, Unreachable
from assay.model.names import parse_project_name
from client.memory_source import OWN_URL, UPSTREAM_FILES, UPSTREAM_SIMPLE
from client.proxied import DEMO, DEMO_OLD, DEP, FORGED, NO_SIDECAR, OWN, SDIST, Asker, Bench, add_young
from client.small_distributions import wheel_metadata

NAME = parse_project_name("demo")
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
T = TypeVar("T")


def ask(bench: Bench, question: Callable[[Asker], Awaitable[T]]) -> T:
    """Start a proxy, ask, stop it."""

    async def asking() -> T:
        async with bench.proxy() as asker:
            return await question(asker)

    return asyncio.run(asking())


# --- pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", ["demo", "demo/", "Demo/"])
def test_a_page_of_the_upstream_keeps_the_upstreams_urls(bench: Bench, project: str) -> None:
    answer = ask(bench, lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/{project}", Accept=JSON_TYPE))
    page = json.loads(answer.body)
    assert answer.headers["Content-Type"] == JSON_TYPE
    assert answer.headers["Cache-Control"] == "max-age=0"
    assert [file["url"] for file in page["files"]] == [UPSTREAM_FILES + DEMO_OLD, UPSTREAM_FILES + DEMO]


def test_a_file_that_is_no_upstreams_is_shown_at_the_trusted_index(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/own/", Accept=JSON_TYPE))
    assert json.loads(answer.body)["files"][0]["url"] == f"{OWN_URL}packages/own/1.0/{OWN}"


def test_the_indexs_own_page_is_answered_as_it_was_signed(bench: Bench) -> None:
    async def both(asker: Asker) -> tuple[bytes, bytes]:
        page = await bench.source.page(NAME)
        return (await asker.get(f"{OWN_URL}simple/demo/", Accept=JSON_TYPE)).body, page.data if page else b""

    answered, signed = ask(bench, both)
    assert answered == signed


def test_html_is_for_those_who_ask_for_it(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/demo/", Accept="text/html"))
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f'href="{UPSTREAM_FILES}{DEMO}#sha256='.encode() in answer.body


def test_a_known_page_is_not_sent_again(bench: Bench) -> None:
    async def twice(asker: Asker) -> tuple[int, bytes]:
        first = await asker.get(f"{UPSTREAM_SIMPLE}/demo/")
        again = await asker.get(f"{UPSTREAM_SIMPLE}/demo/", If_None_Match=first.headers["ETag"])
        return again.status, again.body

    assert ask(bench, twice) == (304, b"")


def test_head_of_a_page_has_no_body(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/demo/", method="HEAD"))
    assert (answer.status, answer.body) == (200, b"")


def test_no_such_project_is_no_refusal(bench: Bench) -> None:
    async def missing(asker: Asker) -> tuple[int, list[str]]:
        return (await asker.get(f"{UPSTREAM_SIMPLE}/nothing/")).status, list(asker.rules())

    assert ask(bench, missing) == (404, [])


def test_a_young_file_is_left_out_and_a_forged_one_is_not(bench: Bench) -> None:
    young = add_young(bench.source)
    bench.source.failures[DEMO] = FORGED
    answer = ask(
        bench.with_policy(cooldown_days=3), lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/demo/", Accept=JSON_TYPE)
    )
    shown = [file["filename"] for file in json.loads(answer.body)["files"]]
    assert DEMO in shown
    assert young not in shown


def test_an_exempt_project_has_no_cooldown(bench: Bench) -> None:
    young = add_young(bench.source)
    policy = bench.with_policy(cooldown_days=3, except_=("de*",))
    answer = ask(policy, lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/demo/", Accept=JSON_TYPE))
    assert young.encode() in answer.body


# --- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [f"{UPSTREAM_FILES}{DEMO}", f"{OWN_URL}packages/demo/1.1/{DEMO}"])
def test_a_file_arrives_whole(bench: Bench, url: str) -> None:
    answer = ask(bench, lambda asker: asker.get(url))
    assert (answer.status, answer.body) == (200, (bench.source.folder / DEMO).read_bytes())
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"), [("bytes=0-9", 0, 10), ("bytes=-7", -7, None), ("bytes=5-", 5, None)]
)
def test_a_range_of_a_file(bench: Bench, asked: str, start: int, stop: int | None) -> None:
    answer = ask(bench, lambda asker: asker.get(UPSTREAM_FILES + DEMO, Range=asked))
    whole = (bench.source.folder / DEMO).read_bytes()
    assert (answer.status, answer.body) == (206, whole[start:stop])
    assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")


def test_a_range_past_the_end_is_said_to_be_so(bench: Bench) -> None:
    assert ask(bench, lambda asker: asker.get(UPSTREAM_FILES + DEMO, Range="bytes=999999-")).status == 416


def test_head_of_a_file_tells_its_size_without_fetching_it(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get(UPSTREAM_FILES + NO_SIDECAR, method="HEAD"))
    assert answer.headers["Content-Length"] == str((bench.source.folder / NO_SIDECAR).stat().st_size)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert NO_SIDECAR not in bench.source.asked


def test_the_sidecar_is_the_verified_one(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get(f"{UPSTREAM_FILES}{DEP}.metadata"))
    assert answer.body == wheel_metadata("dep", "1.0")


def test_who_reads_the_metadata_gets_the_wheel_sooner(bench: Bench) -> None:
    async def look(asker: Asker) -> list[str]:
        await asker.get(f"{UPSTREAM_FILES}{DEP}.metadata")
        return list(bench.source.asked)

    assert DEP in ask(bench, look)


def test_the_same_file_on_a_host_that_no_page_names_is_refused(bench: Bench) -> None:
    async def elsewhere(asker: Asker) -> tuple[int, list[str]]:
        return (await asker.get(f"https://elsewhere.example/{DEMO}")).status, list(asker.rules())

    assert ask(bench, elsewhere) == (403, ["host-not-covered"])


@pytest.mark.parametrize(("error", "code"), [(FORGED, 10), (NotFresh("expired"), 11), (Unreachable("no answer"), 13)])
def test_a_failure_is_one_line_that_installers_show(bench: Bench, error: AssayError, code: int) -> None:
    bench.source.failures[DEMO] = error

    async def failing(asker: Asker) -> None:
        answer = await asker.get(UPSTREAM_FILES + DEMO)
        assert (answer.status, answer.reason) == (451, str(error))
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert json.loads(answer.body)["detail"] == str(error)
        assert [refusal.exit_code for refusal in asker.proxy.refusals.all()] == [code]

    ask(bench, failing)


def test_after_a_refused_page_no_file_is_handed_out(bench: Bench) -> None:
    async def both(asker: Asker) -> tuple[int, int, str, list[str]]:
        page = await asker.get("https://private.example/simple/demo/", Accept=JSON_TYPE)
        file = await asker.get(UPSTREAM_FILES + DEMO)
        return page.status, file.status, json.loads(file.body)["rule"], list(asker.rules())

    assert ask(bench, both) == (403, 451, "after-refusal", ["host-not-covered"])


def test_a_reason_with_line_breaks_stays_one_header_line(bench: Bench) -> None:
    bench.source.failures[DEMO] = Unreachable("first\r\nX-Injected: yes\r\n\r\nbody \N{SNOWMAN}")
    answer = ask(bench, lambda asker: asker.get(UPSTREAM_FILES + DEMO))
    assert "X-Injected" not in answer.headers
    assert answer.reason == "first X-Injected: yes body ?"


# --- the JSON API ---------------------------------------------------------------------------------------------


def test_the_json_api_says_what_page_and_sidecar_say(bench: Bench) -> None:
    async def both(asker: Asker) -> tuple[bytes, bytes]:
        project = await asker.get("https://upstream.example/pypi/demo/json")
        release = await asker.get("https://upstream.example/pypi/demo/1.0/json")
        return project.body, release.body

    project, release = (json.loads(body) for body in ask(bench, both))
    assert (project["info"]["version"], project["info"]["requires_dist"]) == ("1.1", ["dep"])
    assert set(project["releases"]) == {"1.0", "1.1"}
    assert [file["url"] for file in release["urls"]] == [UPSTREAM_FILES + DEMO_OLD]


def test_the_json_api_of_an_sdist_leaves_the_dependencies_open(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get("https://upstream.example/pypi/fromsource/json"))
    assert json.loads(answer.body)["info"]["requires_dist"] is None
    assert SDIST.encode() in answer.body


@pytest.mark.parametrize("path", ["nothing/json", "demo/9.9/json", "demo/not-a-version/json"])
def test_the_json_api_of_what_is_not_there(bench: Bench, path: str) -> None:
    assert ask(bench, lambda asker: asker.get(f"https://upstream.example/pypi/{path}")).status == 404


# --- who may, and what is not HTTP ----------------------------------------------------------------------------


async def raw(asker: Asker, data: bytes) -> bytes:
    """What the proxy answers to these bytes, up to 64 KB, or to silence after them."""
    host, _, port = asker.proxy.front.url.rpartition("@")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    with suppress(ConnectionError):
        writer.write(data)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(65_536), 5)
    writer.close()
    return answer


def credential(asker: Asker) -> str:
    pair = asker.proxy.front.url.partition("//")[2].partition("@")[0]
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"


@pytest.mark.parametrize(
    "header", ["", "Proxy-Authorization: Basic YXNzYXk6eA==\r\n", "Proxy-Authorization: Basic !\r\n"]
)
def test_without_the_runs_credential_there_is_nothing(bench: Bench, header: str) -> None:
    async def both(asker: Asker) -> tuple[bytes, bytes]:
        tunnel = await raw(asker, f"CONNECT upstream.example:443 HTTP/1.1\r\n{header}\r\n".encode())
        plain = f"GET {OWN_URL}simple/demo/ HTTP/1.1\r\nHost: trusted.example:8421\r\n{header}Connection: close\r\n\r\n"
        return tunnel, await raw(asker, plain.encode())

    tunnel, plain = ask(bench, both)
    assert tunnel.startswith(b"HTTP/1.1 407 ")
    assert plain.startswith(b"HTTP/1.1 407 ")
    assert bench.source.asked == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("CONNECT upstream.example:443:1 HTTP/1.1", b"400"),
        ("CONNECT user@upstream.example:443 HTTP/1.1", b"400"),
        ("CONNECT /etc/passwd HTTP/1.1", b"400"),
        ("CONNECT " + "a" * 300 + ":443 HTTP/1.1", b"400"),
        ("CONNECT x HTTP/1.1\r\nX: " + "a" * 20_000, b"431"),
    ],
)
def test_a_malformed_tunnel_is_refused(bench: Bench, request_line: str, status: bytes) -> None:
    answer = ask(bench, lambda asker: raw(asker, f"{request_line}\r\n{credential(asker)}\r\n".encode()))
    assert answer.split(b" ")[1] == status


def test_bytes_before_the_tunnel_stands_are_refused(bench: Bench) -> None:
    """They could be a request that somebody smuggles past TLS."""
    answer = ask(
        bench,
        lambda asker: raw(
            asker, f"CONNECT upstream.example:443 HTTP/1.1\r\n{credential(asker)}\r\nGET / HTTP/1.1\r\n\r\n".encode()
        ),
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "url",
    [
        "https://upstream.example/simple/../simple/demo/",
        "https://upstream.example/simple/de%2fmo/",
        "https://upstream.example/simple/%00/",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(bench: Bench, url: str) -> None:
    path = url.removeprefix("https://upstream.example")
    plain = f"GET http://upstream.example{path} HTTP/1.1\r\nHost: upstream.example\r\nConnection: close\r\n"

    async def ambiguous(asker: Asker) -> tuple[bytes, list[str]]:
        return await raw(asker, f"{plain}{credential(asker)}\r\n".encode()), list(asker.rules())

    answer, rules = ask(bench, ambiguous)
    assert answer.startswith(b"HTTP/1.1 451 ")
    assert rules == ["malformed-url"]


def test_another_host_inside_the_tunnel_is_refused(bench: Bench) -> None:
    async def misdirected(asker: Asker) -> tuple[int, list[str]]:
        answer = await asker.get(f"{UPSTREAM_SIMPLE}/demo/", Host="elsewhere.example")
        return answer.status, list(asker.rules())

    assert ask(bench, misdirected) == (451, ["malformed-url"])


def test_posting_is_refused(bench: Bench) -> None:
    assert ask(bench, lambda asker: asker.get(f"{UPSTREAM_SIMPLE}/demo/", method="POST")).status == 451


def test_who_does_not_accept_the_certificate_gets_nothing(bench: Bench) -> None:
    def distrusting(asker: Asker) -> None:
        opener = build_opener(
            ProxyHandler({"https": asker.proxy.front.url}), HTTPSHandler(context=ssl.create_default_context())
        )
        with pytest.raises(URLError, match="certificate verify failed"):
            opener.open(f"{UPSTREAM_SIMPLE}/demo/")

    async def ask_and_look(asker: Asker) -> list[str]:
        await asyncio.to_thread(distrusting, asker)
        for _ in range(500):  # the alert is read after the client has given up
            if asker.rules():
                break
            await asyncio.sleep(0.01)
        return list(asker.rules())

    assert ask(bench, ask_and_look) == ["tunnel-handshake"]
    assert bench.source.asked == []


def test_no_private_key_is_on_disk(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def look(asker: Asker) -> tuple[dict[str, bytes], int]:
        await asker.get(f"{UPSTREAM_SIMPLE}/demo/")
        folder = asker.proxy.certificates.parent
        return {path.name: path.read_bytes() for path in folder.iterdir()}, stat.S_IMODE(folder.stat().st_mode)

    files, mode = ask(bench, look)
    assert list(files) == ["certificates.pem"]
    assert b"PRIVATE" not in files["certificates.pem"]
    assert x509.load_pem_x509_certificate(files["certificates.pem"])
    assert mode == 0o700
    assert not list(tmp_path.glob("assay-run-*"))
