"""The witness as its operator meets it: configuration, command line, alarms, and what it answers to strangers."""

import asyncio
import json
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from assay.cli.witness import command
from assay.index.config import load_config
from assay.model.errors import OperatorError, WitnessRefused
from assay.trust.witness_memory import quorum_advice
from assay.witness.alarms import AGAIN_AFTER, AlarmConfig, Alarms, MailConfig
from assay.witness.config import WitnessFolder
from assay.witness.keys import read_public
from assay.witness.store import WitnessStore
from witness.live import witnessed_index

FINGERPRINT = "sha256:" + "0" * 64


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_init_prints_the_keys_to_enrol_and_writes_a_configuration_that_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "w1"
    _, output = invoke("init", "--folder", str(folder), "--insecure-dev-keys")
    public = read_public(WitnessFolder(folder).public_keys)
    assert all(key.keyid in output for name, key in public.keys.items() if name != "log")
    assert str(public.log) in output
    assert WitnessFolder(folder).load_config().name == "w1"
    assert WitnessFolder(folder).keys.path("bin").stat().st_mode & 0o077 == 0
    with pytest.raises(OperatorError) as refused:
        invoke("init", "--folder", str(folder), "--insecure-dev-keys")
    assert refused.value.rule == "witness-exists"


def test_a_witness_follows_one_index_for_life_at_whatever_url(tmp_path: Path) -> None:
    folder = str(tmp_path / "w1")
    invoke("init", "--folder", folder, "--insecure-dev-keys")
    invoke("follow", "--folder", folder, "--index", "http://one/", "--fingerprint", FINGERPRINT)
    invoke("follow", "--folder", folder, "--index", "http://moved/", "--fingerprint", FINGERPRINT)
    assert WitnessStore.open(WitnessFolder(Path(folder)).database).index == "http://moved/"
    with pytest.raises(OperatorError) as refused:
        invoke("follow", "--folder", folder, "--index", "http://one/", "--fingerprint", "sha256:" + "1" * 64)
    assert refused.value.rule == "root-fingerprint"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('name = "w1"\npoll = 3', "poll"),
        ("", "name"),
        ('name = "w1"\n[rule]\ntimestamp_hours = "day"', "rule.timestamp_hours"),
        ('name = "w1"\n[[peer]]\nname = "w2"\nkeys = [1]', "peer[0].keys[0]"),
        ('name = "w1"\n[alarm.mail]\nhost = "x"\nsender = "y"\nto = []\nuser = "z"', "alarm.mail.user"),
    ],
)
def test_a_configuration_that_is_not_understood_is_refused_by_its_key(tmp_path: Path, text: str, key: str) -> None:
    folder = WitnessFolder(tmp_path)
    folder.config_file.write_text(text)
    with pytest.raises(OperatorError) as refused:
        folder.load_config()
    assert str(refused.value.subject).endswith(f": {key}")


def test_the_index_knows_its_witnesses_from_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[[witness]]\nname = "w1"\nurl = "http://w1/"\n[[witness]]\nname = "w2"\nurl = "http://w2/"')
    assert [(one.name, one.url) for one in load_config(file).witness] == [("w1", "http://w1/"), ("w2", "http://w2/")]


def test_strangers_get_read_only_answers_and_bounded_patience(tmp_path: Path) -> None:
    with witnessed_index(tmp_path / "world", ("w1",)) as index:
        witness = index.witnesses[0]
        status = witness.status()
        assert status["root"] == index.fingerprint
        assert status["keys"] == witness.public.keyids()
        for path, code in (
            ("/copies/nothing.json", 404),
            ("/view", 400),
            ("/log?count=x", 400),
            ("/../etc/passwd", 404),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                witness.get(path)
            assert refused.value.code == code
            refused.value.close()
        for body, code in ((b"{}", 403), (b"x" * 1000, 403)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(f"{witness.url}/cosign", body), timeout=10)
            assert refused.value.code == code
            assert json.loads(refused.value.read())["refused"]["rule"] == "malformed"
            refused.value.close()
        assert witness.refusals() == []


# --- alarms ---------------------------------------------------------------------------------------------------------


@contextmanager
def mailbox() -> Iterator[tuple[int, list[str]]]:
    """A mail server that keeps what it gets."""
    received: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            while line := self.rfile.readline().decode().strip():
                verb = line.split(" ")[0].upper()
                if verb == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = ""
                    while (part := self.rfile.readline().decode()) != ".\r\n":
                        text += part
                    received.append(text)
                self.wfile.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
                if verb == "QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], received
        server.shutdown()
        thread.join()


def test_an_alarm_is_mailed_once_an_hour_with_how_often_it_came() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    moment = [now]

    async def ring(port: int) -> None:
        mail = MailConfig("127.0.0.1", "witness@example.org", ("ana@example.org", "ben@example.org"), port, tls=False)
        alarms = Alarms("w1", AlarmConfig(mail=mail), lambda: moment[0])
        delivery = asyncio.create_task(alarms.deliver())
        for _ in range(3):
            alarms.ring(WitnessRefused("a path would change", rule="second-hash", subject="packages/demo"))
        await alarms.drain()
        moment[0] += AGAIN_AFTER + timedelta(seconds=1)
        alarms.ring(WitnessRefused("a path would change", rule="second-hash", subject="packages/demo"))
        await alarms.drain()
        delivery.cancel()

    with mailbox() as (port, received):
        asyncio.run(ring(port))
    assert len(received) == 2
    assert "Subject: [assay witness w1] second-hash" in received[0]
    assert "packages/demo: a path would change" in received[0]
    assert "To: ana@example.org, ben@example.org" in received[0]
    assert "2 more times" in received[1]


@pytest.mark.parametrize(
    ("witnesses", "needed", "said"),
    [(0, 1, []), (1, 1, ["one is down"]), (2, 1, ["two futures"]), (2, 2, ["one is down"]), (3, 1, ["two futures"]),
     (3, 2, []), (4, 2, ["two futures"]), (5, 3, [])],
)  # fmt: skip
def test_quorums_that_do_not_meet_or_bear_nothing_are_advised_against(
    witnesses: int, needed: int, said: list[str]
) -> None:
    advice = quorum_advice(witnesses, needed)
    assert len(advice) == len(said)
    assert all(word in line for word, line in zip(said, advice, strict=True))
