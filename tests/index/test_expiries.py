"""When roles end: what metrics show, what the front page says, what a long-running server renews."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assay.index.config import IndexConfig
from assay.index.expiries import due_reminders, role_expiries
from assay.index.upkeep.housekeeping import start_housekeeping
from assay.index.web.asgi import Message, request_of
from assay.index.web.front import answer_front
from assay.trust.layout import Lifetimes
from index.ledger_index import LedgerIndex

LIFE = Lifetimes()


def front_page(notices: tuple[str, ...]) -> str:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": []}
    asyncio.run(answer_front(request_of(scope), send, "0" * 64, notices))
    return b"".join(message.get("body", b"") for message in sent).decode()


def test_every_role_and_its_end(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path)
    ends = role_expiries(index.published)
    assert {"root", "targets", "bins", "timestamp", "snapshot"} <= ends.keys()
    assert ends["root"] == index.now + LIFE.root
    assert due_reminders(index.published, index.now, LIFE) == ()


def test_the_front_page_says_what_ends_soon(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path)
    soon = due_reminders(index.published, index.now + timedelta(days=85), LIFE)
    assert {reminder.role for reminder in soon} == {"targets", "bins"}
    page = front_page(tuple(map(str, soon)))
    assert "the targets signature ends in 5 days" in page
    assert "hold a ceremony" in page
    assert "signature ends" not in front_page(())


def test_a_server_that_runs_for_months_renews_what_its_local_keys_sign(tmp_path: Path) -> None:
    """The keys lie here, and the real clock is long past half of their roles' lives: the inbox gets new versions."""
    index = LedgerIndex(tmp_path, now=datetime.now(UTC).replace(microsecond=0) - timedelta(days=60))
    stopping = threading.Event()
    start_housekeeping(index.data, IndexConfig(), None, stopping, every_s=0.01)
    try:
        deadline = time.monotonic() + 60
        while not (index.data.inbox / "2.targets.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stopping.set()
