"""``assay log monitor``: a project's owners hear of every event, from a real mail server, in a real mailbox."""

import json
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler
from aiosmtpd.smtp import AuthResult, LoginPassword

from assay.mail import MailServer, compose, send
from assay.model.errors import Unreachable
from log.living import LivingIndex
from log.test_command_line import environment
from witness.live import free_port

__all__ = ["environment"]


class Mailbox(MessageHandler):
    """What arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.received.append(message)

    def take(self) -> list[tuple[str, str, str]]:
        """Recipient, subject and text of each message since the last time."""
        found = [(str(m["To"]), str(m["Subject"]), _text(m)) for m in self.received]
        self.received.clear()
        return sorted(found)


def _text(message: Message) -> str:
    data = message.get_payload(decode=True)
    assert isinstance(data, bytes)
    return data.decode()


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


CONFIG = """
sender = "log@example.org"
[mail]
host = "127.0.0.1"
port = {port}
tls = false
[[watch]]
project = "demo"
to = ["ana@example.org", "ben@example.org"]
[[watch]]
project = "oth*"
to = ["ben@example.org"]
[[watch]]
project = "*"
to = ["admin@example.org"]
"""


def monitor(environment: dict[str, str], folder: Path, port: int, *options: str) -> subprocess.CompletedProcess[str]:
    config = folder / "monitor.toml"
    config.write_text(CONFIG.format(port=port))
    command = [sys.executable, "-m", "assay", "log", "monitor", str(config), "--once", *options]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


def test_owners_hear_of_each_event_once(
    environment: dict[str, str], index: LivingIndex, mailbox: tuple[Mailbox, int], tmp_path: Path
) -> None:
    box, port = mailbox
    assert monitor(environment, tmp_path, port).returncode == 0
    assert box.take() == [], "what was there before is not news"

    index.upload(("demo", "2.0"), ("other", "2.0"))
    index.publish()
    index.yank("demo", "2.0", "broken\nSubject: forged")
    index.publish()
    done = monitor(environment, tmp_path, port)
    assert (done.returncode, done.stdout) == (0, "3 new entries, 3 mails\n"), done.stderr
    admin, ana, ben = box.take()
    assert (ana[0], ana[1]) == ("ana@example.org", "[assay] demo: file-published and 1 more")
    assert "file-yanked  demo  by" in ana[2]
    assert "other-2.0" not in ana[2]
    assert ("demo-2.0" in ben[2], "other-2.0" in ben[2], "\nSubject: forged" in ben[2]) == (True, True, False)
    assert "other-2.0" in admin[2]

    assert monitor(environment, tmp_path, port).stdout == "0 new entries, 0 mails\n"
    assert box.take() == []


def test_mail_that_was_not_sent_is_sent_the_next_time(
    environment: dict[str, str], index: LivingIndex, mailbox: tuple[Mailbox, int], tmp_path: Path
) -> None:
    box, port = mailbox
    monitor(environment, tmp_path, port)
    index.upload(("demo", "2.0"))
    index.publish()
    nobody = monitor(environment, tmp_path, 1)
    assert (nobody.returncode, "mail-not-sent" in nobody.stderr) == (13, True)
    assert monitor(environment, tmp_path, port).returncode == 0
    assert [recipient for recipient, _, _ in box.take()] == ["admin@example.org", "ana@example.org", "ben@example.org"]


def test_a_log_that_was_rewritten_is_cried_out(
    environment: dict[str, str], index: LivingIndex, mailbox: tuple[Mailbox, int], tmp_path: Path
) -> None:
    box, port = mailbox
    assert monitor(environment, tmp_path, port).returncode == 0
    told = tmp_path / "monitor.told.json"
    document = json.loads(told.read_bytes())
    told.write_text(json.dumps({**document, "root": "00" * 32}))
    done = monitor(environment, tmp_path, port)
    assert (done.returncode, "log-entries" in done.stderr) == (10, True)
    mails = box.take()
    assert {subject for _, subject, _ in mails} == {"[assay] ALARM: log-entries"}
    assert len(mails) == 3


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_a_password_is_used_and_a_server_without_encryption_is_refused(tmp_path: Path) -> None:
    def check(_server: object, _session: object, _envelope: object, mechanism: str, data: object) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ana", b"secret")
        return AuthResult(success=right and mechanism in ("LOGIN", "PLAIN"), handled=False)

    box, port = Mailbox(), free_port()
    controller = Controller(
        box, hostname="127.0.0.1", port=port, authenticator=check, auth_required=True, auth_require_tls=False
    )
    controller.start()
    password = tmp_path / "password"
    password.write_text("secret\n")
    message = compose("log@example.org", ["ana@example.org"], "hello", ["text"])
    try:
        assert send(MailServer("127.0.0.1", port, False, "ana", str(password)), [message]) == []
        password.write_text("wrong\n")
        with pytest.raises(Unreachable, match="SMTPAuthenticationError"):
            send(MailServer("127.0.0.1", port, False, "ana", str(password)), [message])
        with pytest.raises(Unreachable, match="STARTTLS"):
            send(MailServer("127.0.0.1", port), [message])
    finally:
        controller.stop()
    assert [subject for _, subject, _ in box.take()] == ["hello"]
