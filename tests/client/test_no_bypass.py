"""What would lead an installer past the proxy, or somebody else through it: each is verified, or refused with its rule.

The attackers: a requirements file or a project from a pull request, a build script that talks to the proxy itself,
another user of the machine, and an index that leads elsewhere.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from assay.client.enclosing import HOST
from assay.client.run import run_verified
from assay.http1.connection import BrokenMessage, Connection, encode_request
from assay.http1.dialling import proxy_authorization
from assay.model.errors import RefusedByPolicy
from client.memory_source import UPSTREAM_FILES, UPSTREAM_SIMPLE
from client.proxied import DEMO, FORGED, Asker, Bench
from client.small_distributions import build_wheel
from client.test_installers import Installer, install, installers, pip, uv, uv_program

__all__ = ["installers", "pip", "uv"]
T = TypeVar("T")
SECOND = '[[tool.uv.index]]\nname = "second"\nurl = "https://second.example/simple"\n'


def ask(bench: Bench, question: Callable[[Asker], Awaitable[T]]) -> T:
    async def asking() -> T:
        async with bench.proxy() as asker:
            return await question(asker)

    return asyncio.run(asking())


@pytest.fixture
def bench(bench: Bench) -> Bench:
    environ = {"PIP_INDEX_URL": UPSTREAM_SIMPLE, "UV_DEFAULT_INDEX": UPSTREAM_SIMPLE, "PIP_RETRIES": "0"}
    return replace(bench, environ=environ)


# --- a requirements file from a pull request ------------------------------------------------------------------


def evil_wheel(folder: Path) -> Path:
    links = folder / "links"
    links.mkdir()
    path = links / "demo-9.0-py3-none-any.whl"
    path.write_bytes(build_wheel("demo", "9.0"))
    return path


def rules_of(bench: Bench, installer: Installer, *words: str) -> set[str]:
    """The rules by which this is refused, before or after the start; "verified" when the genuine file came."""
    try:
        report, installed = install(bench, installer, *words)
    except RefusedByPolicy as refusal:
        return {refusal.rule}
    if (report.exit_code, installed) == (12, set()):
        return {refusal.error.rule for refusal in report.refusals}
    genuine = "1.1" in (bench.folder / "target" / "demo.py").read_text()
    return {"verified"} if report.exit_code == 0 and genuine else set()


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["pip", "uv"])
@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("--find-links {links}\ndemo", "detour"),
        ("-f ./links\ndemo", "detour"),
        ("{wheel}", "detour"),
        ("demo @ file://{wheel}", "detour"),
        ("--index-url https://evil.example/simple\ndemo", "host-not-covered"),
        ("--extra-index-url https://evil.example/simple\ndemo", "host-not-covered"),
        ("--trusted-host evil.example\n--index-url http://evil.example/simple\ndemo", "host-not-covered"),
        ("demo @ https://evil.example/demo-9.0-py3-none-any.whl", "host-not-covered"),
        ("demo @ git+https://evil.example/demo", "host-not-covered"),
        ("demo @ git+ssh://git@evil.example/demo", "policy-repository"),
        ("-r more.txt", "detour"),
    ],
)
def test_a_requirements_file_leads_nowhere(
    bench: Bench, installers: dict[str, Installer], name: str, line: str, rule: str
) -> None:
    installer = installers["uv" if name == "uv" else "pip-of-ensurepip"]
    wheel = evil_wheel(bench.folder)
    (bench.folder / "more.txt").write_text(f"demo @ file://{wheel}\n")
    requirements = bench.folder / "requirements.txt"
    requirements.write_text(line.format(links=wheel.parent, wheel=wheel) + "\n")
    if name == "uv" and "--index-url" in line:
        rule = "verified"  # uv prefers the index in its environment, which is covered
    assert rule in rules_of(bench, installer, "-r", str(requirements))


@pytest.mark.e2e
def test_who_says_so_may_take_files_from_disk_and_they_are_named(bench: Bench, uv: Installer) -> None:
    wheel = evil_wheel(bench.folder)
    bench = replace(bench, allows_detours=True)
    report, installed = install(bench, uv, "--find-links", str(wheel.parent), "demo")
    assert (report.exit_code, installed) == (0, {"demo"})
    assert any("--find-links" in detour for detour in report.detours)


@pytest.mark.e2e
@pytest.mark.parametrize("option", ["--proxy=http://127.0.0.1:9", "--isolated", "--no-index", "--cache-dir=/tmp/x"])
def test_options_that_lead_around_the_proxy_are_refused(bench: Bench, pip: Installer, option: str) -> None:
    with pytest.raises(RefusedByPolicy) as refused:
        install(bench, pip, option, "demo")
    assert refused.value.rule == "detour"
    assert bench.source.asked == []


@pytest.mark.e2e
@pytest.mark.parametrize(
    "index",
    [
        SECOND,
        SECOND + 'explicit = true\n[tool.uv.sources]\ndemo = { index = "second" }\n',
        '[tool.uv]\nextra-index-url = ["https://second.example/simple"]\n',
    ],
)
def test_a_second_index_in_pyproject_is_refused(bench: Bench, index: str) -> None:
    project = bench.folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["demo"]\n{index}'
    )
    report = bench.run(uv_program(), "sync", "--no-install-project", "--project", str(project))
    assert report.exit_code == 12
    assert {"host-not-covered"} == {refusal.error.rule for refusal in report.refusals}


# --- the environment that the user comes with -----------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["pip-of-ensurepip", "uv"])
def test_inherited_proxies_and_exemptions_count_for_nothing(
    bench: Bench, installers: dict[str, Installer], name: str
) -> None:
    inherited = {
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "PIP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "*",
        "no_proxy": "upstream.example,files.example,.example",
        "PIP_TRUSTED_HOST": "upstream.example",
        "UV_INSECURE_HOST": "upstream.example",
        "SSL_CERT_DIR": "/nowhere",
    }
    report, installed = install(replace(bench, environ={**bench.environ, **inherited}), installers[name], "demo")
    assert (report.exit_code, installed) == (0, {"demo", "dep"})


@pytest.mark.e2e
@pytest.mark.parametrize("url", ["ssh://git@127.0.0.1:9/demo", "git://127.0.0.1:9/demo", "file:///demo.git"])
def test_git_fetches_over_nothing_that_the_proxy_does_not_see(
    bench: Bench, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Wherever the address comes from: a lock file, a build script."""
    assert bench.run("git", "ls-remote", url).exit_code == 128
    assert "not allowed" in capfd.readouterr().err


# --- who talks to the proxy itself ----------------------------------------------------------------------------


def opened(asker: Asker) -> tuple[str, int]:
    host, _, port = asker.proxy.front.url.rpartition("@")[2].partition(":")
    return host, int(port)


def credential(asker: Asker) -> str:
    return f"Proxy-Authorization: {proxy_authorization(asker.proxy.front.url)}\r\n"


async def tunnel(asker: Asker, host: str = "upstream.example") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TLS connection to what pretends to be ``host``."""
    reader, writer = await asyncio.open_connection(*opened(asker))
    writer.write(f"CONNECT {host}:443 HTTP/1.1\r\n{credential(asker)}\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    await writer.start_tls(asker.tls, server_hostname=host)
    return reader, writer


async def said(asker: Asker, data: bytes) -> bytes:
    """Everything that is answered to ``data`` inside a tunnel."""
    reader, writer = await tunnel(asker)
    writer.write(data)
    answer = b""
    with suppress(ConnectionError, asyncio.TimeoutError):
        while part := await asyncio.wait_for(reader.read(65_536), 3):
            answer += part
    writer.close()
    return answer


PAGE = "GET /simple/demo/ HTTP/1.1\r\nHost: upstream.example\r\n"


@pytest.mark.parametrize(
    "request_text",
    [
        f"{PAGE}Host: evil.example\r\n\r\n",
        f"{PAGE}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{PAGE}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        f"{PAGE}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        f"{PAGE}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "GET /simple/demo/ HTTP/1.1\r\nHost: upstream.example\r\n X: folded\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /simple/demo/ HTTP/9.9\r\nHost: upstream.example\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_ends_the_connection(bench: Bench, request_text: str) -> None:
    smuggled = "GET /simple/dep/ HTTP/1.1\r\nHost: upstream.example\r\n\r\n"
    answer = ask(bench, lambda asker: said(asker, (request_text + smuggled).encode("latin-1")))
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 200" not in answer
    assert "dep" not in bench.source.asked


def test_another_tunnel_inside_the_tunnel_is_refused(bench: Bench) -> None:
    inner = b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"
    answer = ask(bench, lambda asker: said(asker, inner))
    assert answer.split(b" ")[1] in (b"400", b"451")


@pytest.mark.parametrize("path", ["https://evil.example/x.whl", "http://upstream.example/simple/demo/", "*"])
def test_inside_a_tunnel_a_request_names_no_other_place(bench: Bench, path: str) -> None:
    text = f"GET {path} HTTP/1.1\r\nHost: upstream.example\r\nConnection: close\r\n\r\n"
    answer = ask(bench, lambda asker: said(asker, text.encode()))
    assert answer.split(b" ")[1] in (b"400", b"451")
    assert bench.source.asked == []


def test_one_connection_reused_for_another_host_stays_at_its_own(bench: Bench) -> None:
    first = f"{PAGE}\r\n"
    second = "GET /simple/demo/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    answer = ask(bench, lambda asker: said(asker, (first + second).encode()))
    statuses = [part.split(b" ")[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"451"]


def test_an_upgrade_to_http2_is_not_taken(bench: Bench) -> None:
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    answer = ask(bench, lambda asker: said(asker, (PAGE + upgrade + "PRI * HTTP/2.0\r\n\r\n").encode()))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_client_that_offers_http2_gets_http1(bench: Bench) -> None:
    async def negotiated(asker: Asker) -> str | None:
        asker.tls.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await tunnel(asker)
        protocol: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.close()
        return protocol

    assert ask(bench, negotiated) == "http/1.1"


def test_an_endless_head_is_cut_off(bench: Bench) -> None:
    answer = ask(bench, lambda asker: said(asker, (PAGE + "X: " + "a" * 400_000).encode()))
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431")


def test_ranges_of_two_versions_cannot_be_stitched(bench: Bench) -> None:
    """The second range is of the same verified bytes as the first, or there is none."""
    whole = (bench.source.folder / DEMO).read_bytes()

    async def halves(asker: Asker) -> tuple[bytes, int, bytes]:
        first = await asker.get(UPSTREAM_FILES + DEMO, Range="bytes=0-99")
        bench.source.failures[DEMO] = FORGED
        second = await asker.get(UPSTREAM_FILES + DEMO, Range="bytes=100-", If_Range=first.headers["ETag"])
        other = await asker.get(UPSTREAM_FILES + DEMO, Range="bytes=100-")
        return first.body, second.status, other.body

    body, status, other = ask(bench, halves)
    assert body == whole[:100]
    assert status == 451
    assert b"not what was vouched for" in other or b"after a refusal" in other


def test_several_ranges_at_once_get_the_whole_file(bench: Bench) -> None:
    answer = ask(bench, lambda asker: asker.get(UPSTREAM_FILES + DEMO, Range="bytes=0-1,5-9"))
    assert (answer.status, answer.body) == (200, (bench.source.folder / DEMO).read_bytes())


def test_what_a_run_says_of_itself_is_for_those_within(bench: Bench) -> None:
    async def both(asker: Asker) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(*opened(asker))
        writer.write(f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        stranger = await reader.read()
        writer.close()
        return stranger, (await asker.get(f"http://{HOST}/")).body

    stranger, within = ask(bench, both)
    assert stranger.startswith(b"HTTP/1.1 407")
    assert isinstance(json.loads(within), dict)


def children(name: str) -> list[str]:
    done = subprocess.run(["pgrep", "-P", str(os.getpid()), name], capture_output=True, text=True, check=False)
    return done.stdout.split()


@pytest.mark.e2e
def test_another_user_of_the_machine_reads_nothing_of_the_run(bench: Bench) -> None:
    """The credential stands in the environment of the command, which only its own user can read."""
    if os.getuid() != 0:
        pytest.skip("needs two users")

    def read_by_another() -> int:
        deadline = time.monotonic() + 20
        while not (pids := children("sleep")) and time.monotonic() < deadline:
            time.sleep(0.05)
        done = subprocess.run(["cat", f"/proc/{pids[0]}/environ"], user=65534, capture_output=True, check=False)
        return done.returncode

    async def look() -> int:
        running = asyncio.create_task(run_verified(["sleep", "3"], bench.setting))
        code = await asyncio.to_thread(read_by_another)
        await running
        return code

    assert asyncio.run(look()) != 0


# --- an index that leads elsewhere ----------------------------------------------------------------------------


async def answered(raw: bytes, **limits: bool) -> tuple[int, bytes]:
    """What ``Connection`` makes of a server that says ``raw`` and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
        connection.send(encode_request("GET", "/", {"Host": "x"}), **limits)
        head = await connection.head()
        body = b""
        while part := await connection.read():
            body += part
        return head.status, body
    finally:
        server.close()


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", b""),
    ],
)
def test_answers_are_read(raw: bytes, body: bytes) -> None:
    assert asyncio.run(answered(raw))[1] == body


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
        b"not http at all\r\n\r\n",
        b"",
    ],
)
def test_answers_that_are_cut_off_or_ambiguous_are_errors(raw: bytes) -> None:
    with pytest.raises((BrokenMessage, ConnectionError)):
        asyncio.run(answered(raw))
