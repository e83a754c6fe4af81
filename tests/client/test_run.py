"""``run_verified`` around the command: when it starts, how it ends, what passes unverified, how much it takes."""

import asyncio
import os
import resource
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.client.proxy.authority import Authority
from assay.client.proxy.location import Origin
from assay.client.proxy.passing import way_out
from assay.client.run import render_report, run_verified
from assay.model.errors import CallerError, NotFresh, OperatorError
from assay.model.outcomes import exit_code_of
from client.memory_source import UPSTREAM_FILES, UPSTREAM_SIMPLE
from client.proxied import Bench

MEGABYTE = 1024 * 1024
LINGERING = (
    "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
    "s.sendall(b'CONNECT half a head'); print('ready', flush=True); s.settimeout(20); s.recv(1)"
)


def python(program: str) -> tuple[str, str, str]:
    return sys.executable, "-c", program


# --- the command ----------------------------------------------------------------------------------------------


def test_without_fresh_metadata_the_command_never_starts(bench: Bench) -> None:
    bench.source.failures["refresh"] = NotFresh("the timestamp expired")
    started = bench.folder / "started"
    with pytest.raises(NotFresh):
        bench.run(*python(f"open({str(started)!r}, 'w')"))
    assert not started.exists()


@pytest.mark.parametrize("code", [0, 1, 42])
def test_the_commands_own_exit_code_is_kept(bench: Bench, code: int) -> None:
    assert bench.run(*python(f"raise SystemExit({code})")).exit_code == code


def test_a_command_that_a_signal_ended(bench: Bench) -> None:
    assert bench.run(*python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).exit_code == 128 + 9


def test_a_command_that_does_not_exist(bench: Bench) -> None:
    with pytest.raises(CallerError, match="cannot be started") as caught:
        bench.run("no-such-command-here")
    assert (caught.value.rule, exit_code_of(caught.value)) == ("command", 2)


def test_a_policy_that_lets_a_covered_index_pass_is_a_contradiction(bench: Bench) -> None:
    with pytest.raises(CallerError, match="covered index") as refused:
        bench.with_policy(allow_hosts=("*.example",)).run(*python(""))
    assert refused.value.rule == "policy-contradiction"
    assert bench.source.refreshed == 0


def test_a_working_folder_that_is_gone(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(CallerError) as refused:
        bench.run(*python(""))
    assert refused.value.rule == "working-folder"


def test_where_there_are_no_namespaces_a_strict_run_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS and Windows."""
    setting = replace(bench.setting, is_strict=True)
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(OperatorError) as refused:
        asyncio.run(run_verified(python(""), setting))
    assert refused.value.rule == "strict-unavailable"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_command_and_the_run_outlives_it(bench: Bench, number: signal.Signals) -> None:
    ready = bench.folder / "ready"
    program = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(40))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(30)\n"
    )

    async def interrupted() -> int:
        running = asyncio.create_task(run_verified(python(program), bench.setting))
        async with asyncio.timeout(20):
            while not ready.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.02)
            os.kill(os.getpid(), number)
            return (await running).exit_code

    assert asyncio.run(interrupted()) == 40


def test_a_version_check_elsewhere_is_a_note_and_no_failure(bench: Bench) -> None:
    program = (
        "import ssl, urllib.request, urllib.error\n"
        "try: urllib.request.urlopen('https://telemetry.example/ping')\n"
        "except urllib.error.HTTPError as error: assert error.code == 403, error\n"
    )
    report = bench.run(*python(program))
    assert report.exit_code == 0
    assert "did without it: https://telemetry.example/ping" in render_report(report)


# --- hosts that the policy allows -----------------------------------------------------------------------------


@dataclass
class Outside:
    """Something on the network: answers HTTP, and CONNECT as a proxy that leads to itself."""

    context: ssl.SSLContext | None = None
    asked: list[bytes] = field(default_factory=list)
    port: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                if self.context is not None:
                    await writer.start_tls(self.context)
                self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\noutside")
            await writer.drain()
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Outside"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


def fetching(url: str) -> tuple[str, str, str]:
    return python(f"import urllib.request; assert urllib.request.urlopen({url!r}).read() == b'outside'")


def test_an_allowed_host_is_reached_over_the_users_own_proxy_unseen(bench: Bench) -> None:
    """The host's own certificate arrives: nobody sits in the middle."""
    folder = bench.folder / "outside"
    folder.mkdir()
    authority = Authority(folder, datetime.now(UTC))
    (folder / "roots.pem").write_bytes(authority.certificate_pem())
    outside = Outside(authority.context_for("allowed.example"))

    async def run() -> tuple[int, dict[str, int]]:
        async with outside.listening():
            environ = {
                "HTTPS_PROXY": f"http://me:pass%20word@127.0.0.1:{outside.port}",
                "SSL_CERT_FILE": str(folder / "roots.pem"),
            }
            allowed = replace(bench.with_policy(allow_hosts=("allowed.example",)), environ=environ)
            report = await run_verified(fetching("https://allowed.example/x"), allowed.setting)
            assert "allowed.example was asked without verification" in render_report(report)
            return report.exit_code, dict(report.unverified_hosts)

    assert asyncio.run(run()) == (0, {"allowed.example": 1})
    connect, request = outside.asked
    assert b"Proxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n" in connect
    assert request.startswith(b"GET /x HTTP/1.1")


@pytest.mark.parametrize("over_a_proxy", [False, True])
def test_an_allowed_host_is_reached_over_plain_http(bench: Bench, over_a_proxy: bool) -> None:
    outside = Outside()

    async def run() -> int:
        async with outside.listening():
            place = f"127.0.0.1:{outside.port}"
            environ = {"HTTP_PROXY": f"http://{place}"} if over_a_proxy else {}
            host = "allowed.example" if over_a_proxy else place
            allowed = replace(bench.with_policy(allow_hosts=(host.partition(":")[0],)), environ=environ)
            return (await run_verified(fetching(f"http://{host}/a%2Fb?c=d"), allowed.setting)).exit_code

    assert asyncio.run(run()) == 0
    assert b"a%2Fb?c=d HTTP/1.1" in outside.asked[0]
    assert b"roxy-" not in outside.asked[0]


def test_an_allowed_host_that_does_not_answer_is_unreachable(bench: Bench) -> None:
    allowed = replace(
        bench.with_policy(allow_hosts=("allowed.example",)), environ={"HTTPS_PROXY": "http://127.0.0.1:9"}
    )
    report = allowed.run(*fetching("https://allowed.example/x"))
    assert report.exit_code == 13


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://one:1"}, "http://one:1"),
        ({"https_proxy": "two:2", "HTTPS_PROXY": "http://one:1"}, "http://two:2"),
        ({"ALL_PROXY": "http://all:1", "HTTP_PROXY": "http://one:1"}, "http://all:1"),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "other.example, .example.org"}, None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://one:1", "NO_PROXY": "ample.org"}, "http://one:1"),
    ],
)
def test_the_users_own_proxy(environ: dict[str, str], proxy: str | None) -> None:
    assert way_out(Origin("https", "files.example.org", 443), environ) == proxy


# --- bounds ---------------------------------------------------------------------------------------------------


def test_a_large_file_passes_with_flat_memory(bench: Bench) -> None:
    name, size = "large-1.0-py3-none-any.whl", 200 * MEGABYTE
    bench.source.add_sparse(name, size)

    async def pass_through() -> tuple[int, int]:
        async with bench.proxy() as asker:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            received = 0
            async with asker.session.get(UPSTREAM_FILES + name, proxy=asker.proxy.front.url, ssl=asker.tls) as response:
                async for chunk in response.content.iter_chunked(MEGABYTE):
                    received += len(chunk)
            return received, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    received, grown_kilobytes = asyncio.run(pass_through())
    assert received == size
    assert grown_kilobytes < 32 * 1024


def test_many_at_once(bench: Bench) -> None:
    async def ask_all() -> set[int]:
        async with bench.proxy() as asker:
            answers = await asyncio.gather(*(asker.get(f"{UPSTREAM_SIMPLE}/demo/") for _ in range(100)))
            return {answer.status for answer in answers}

    assert asyncio.run(ask_all()) == {200}


def test_a_command_that_leaves_children_behind_does_not_hold_the_run(bench: Bench) -> None:
    """Their connections end with the run."""
    program = (
        "import os, subprocess, sys\n"
        "from urllib.parse import urlsplit\n"
        "port = urlsplit(os.environ['HTTP_PROXY']).port\n"
        f"child = [sys.executable, '-c', {LINGERING!r}, str(port)]\n"
        "subprocess.Popen(child, stdout=subprocess.PIPE).stdout.read(5)\n"
    )
    started = time.monotonic()
    assert bench.run(*python(program)).exit_code == 0
    assert time.monotonic() - started < 10
