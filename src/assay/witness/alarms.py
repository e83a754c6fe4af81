"""How a witness cries out: a log line always, a webhook and mail where they are configured.

Alarms never hold up an answer: they are queued (bounded) and delivered by one task. The same alarm is told again only
after a while, with how often it came meanwhile; one that cannot be delivered is logged and tried again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiohttp

from assay.http1.dialling import system_tls
from assay.mail import MailServer, compose, send
from assay.model.errors import AssayError, Unreachable

log = logging.getLogger(__name__)

MAX_QUEUED = 1000
ATTEMPTS = 3
RETRY_S = 5.0
TIMEOUT_S = 20.0
AGAIN_AFTER = timedelta(hours=1)
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class MailConfig:
    """``[alarm.mail]``: an SMTP server (STARTTLS unless ``tls`` is off), the sender, the recipients."""

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 25
    tls: bool = True


@dataclass(frozen=True, slots=True)
class AlarmConfig:
    """``[alarm]``: ``webhook``: where each alarm is posted as JSON; ``mail``: who gets it as a message."""

    webhook: str | None = None
    mail: MailConfig | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is told. ``missed``: how often the same came since it was told last."""

    witness: str
    time: datetime
    rule: str
    text: str
    missed: int

    def to_json(self) -> dict[str, object]:
        """As the webhook gets it; ``text`` is what chat services show."""
        facts = {"witness": self.witness, "time": self.time.isoformat(), "rule": self.rule, "missed": self.missed}
        return facts | {"text": f"[witness {self.witness}] {self.text} [{self.rule}]"}


@dataclass(slots=True)
class Alarms:
    """The alarm bell of one witness. ``clock`` gives UTC; run ``deliver`` as a task."""

    witness: str
    config: AlarmConfig
    clock: Callable[[], datetime]
    _queue: asyncio.Queue[Alarm] = field(default_factory=lambda: asyncio.Queue(MAX_QUEUED))
    _told: dict[tuple[str, str | None], tuple[datetime, int]] = field(default_factory=dict)

    def ring(self, error: AssayError) -> None:
        """Tell everybody of ``error``."""
        now = self.clock()
        key = (error.rule, error.subject)
        last, missed = self._told.get(key, (None, 0))
        if last is not None and now - last < AGAIN_AFTER:
            self._told[key] = last, missed + 1
            log.warning("again: %s [%s]", error, error.rule)
            return
        if len(self._told) >= MAX_REMEMBERED:
            self._told.clear()
        self._told[key] = now, 0
        log.error("ALARM: %s [%s]", error, error.rule)
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(Alarm(self.witness, now, error.rule, str(error), missed))

    async def deliver(self) -> None:
        """Deliver alarms for ever."""
        while True:
            alarm = await self._queue.get()
            await asyncio.gather(self._with_retries(alarm, self._post), self._with_retries(alarm, self._mail))
            self._queue.task_done()

    async def drain(self) -> None:
        """Return once everything queued was delivered or given up."""
        await self._queue.join()

    async def _with_retries(self, alarm: Alarm, send: Callable[[Alarm], Awaitable[None]]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await send(alarm)
            except (aiohttp.ClientError, Unreachable, OSError, TimeoutError) as error:
                log.error("the alarm could not be delivered: %s", error)  # noqa: TRY400
                await asyncio.sleep(RETRY_S * attempt)
            else:
                return

    async def _post(self, alarm: Alarm) -> None:
        if self.config.webhook is None:
            return
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(ssl=system_tls())
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True, connector=connector) as session,
            session.post(self.config.webhook, json=alarm.to_json()) as response,
        ):
            response.raise_for_status()

    async def _mail(self, alarm: Alarm) -> None:
        if self.config.mail is not None:
            await asyncio.to_thread(_send_mail, self.config.mail, alarm)


def _send_mail(config: MailConfig, alarm: Alarm) -> None:
    lines = [f"{alarm.time:%Y-%m-%d %H:%M:%S} UTC", "", alarm.text, "", f"rule: {alarm.rule}"]
    if alarm.missed:
        lines.append(f"it came {alarm.missed} more times since it was told last")
    subject = f"[assay witness {alarm.witness}] {alarm.rule}"
    send(MailServer(config.host, config.port, config.tls), [compose(config.sender, config.to, subject, lines)])
