"""Reminders before an offline signature ends: at 90, 30 and 7 days, as facts, sentences and a calendar. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

STEPS_DAYS: Final = (90, 30, 7)
_MOMENT: Final = "%Y%m%dT%H%M%SZ"
_MAX_LINE_BYTES: Final = 75


@dataclass(frozen=True, slots=True)
class Reminder:
    """An offline role whose signature ends soon. ``days_left`` below 0: it ended; ``step``: the 90, 30 or 7 reached."""

    role: str
    expires: datetime
    days_left: int
    step: int

    @property
    def urgent(self) -> bool:
        """True in the last week and afterwards."""
        return self.step == STEPS_DAYS[-1]

    def __str__(self) -> str:
        """One sentence for a banner, a mail or a terminal."""
        when = f"{self.expires:%Y-%m-%d %H:%M} UTC"
        if self.days_left < 0:
            return f"the {self.role} signature ended on {when}: clients refuse this index until a ceremony renews it"
        return f"the {self.role} signature ends in {self.days_left} days ({when}): hold a ceremony before"


def reminders(
    expiries: Mapping[str, datetime], lifetimes: Mapping[str, timedelta], now: datetime
) -> tuple[Reminder, ...]:
    """The reminders that are due for ``expiries`` (role -> end), the most urgent first.

    A step as long as half of the role's life is left out: a role of 90 days would be due all the time.
    """
    due = []
    for role, expires in expiries.items():
        left = expires - now
        steps = [days for days in steps_for(lifetimes.get(role)) if left <= timedelta(days=days)]
        if steps:
            due.append(Reminder(role, expires, left.days, min(steps)))
    return tuple(sorted(due, key=lambda reminder: reminder.expires))


def steps_for(lifetime: timedelta | None) -> tuple[int, ...]:
    """The steps in days that make sense for a role that lives so long."""
    return tuple(days for days in STEPS_DAYS if lifetime is None or timedelta(days=days) < lifetime / 2)


def render_calendar(
    index: str, expiries: Mapping[str, datetime], lifetimes: Mapping[str, timedelta], now: datetime
) -> bytes:
    """An iCalendar file (RFC 5545): one event for each role's end, with an alarm at each step."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Assay//ceremony reminders//EN"]
    for role, expires in expiries.items():
        lines += [
            "BEGIN:VEVENT",
            f"UID:{role}-{expires.strftime(_MOMENT)}@{_escape(index)}",
            f"DTSTAMP:{now.strftime(_MOMENT)}",
            f"DTSTART:{expires.strftime(_MOMENT)}",
            f"SUMMARY:{_escape(f'{index}: the {role} signature ends')}",
            f"DESCRIPTION:{_escape('Clients refuse the index from now on unless a ceremony renewed it.')}",
        ]
        for days in steps_for(lifetimes.get(role)):
            summary = _escape(f"{index}: {days} days until the {role} signature ends: hold a ceremony")
            lines += ["BEGIN:VALARM", "ACTION:DISPLAY", f"TRIGGER:-P{days}D", f"DESCRIPTION:{summary}", "END:VALARM"]
        lines.append("END:VEVENT")
    lines.append("END:VCALENDAR")
    return "".join(f"{_fold(line)}\r\n" for line in lines).encode()


def _escape(text: str) -> str:
    for char in "\\;,":
        text = text.replace(char, f"\\{char}")
    return text.replace("\n", "\\n")


def _fold(line: str) -> str:
    """Lines of at most 75 octets (RFC 5545 section 3.1)."""
    parts, current = [], ""
    for char in line:
        if len((current + char).encode()) > _MAX_LINE_BYTES:
            parts.append(current)
            current = " "
        current += char
    return "\r\n".join([*parts, current])
