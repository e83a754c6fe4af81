"""Watching a log for the people whom it concerns: each new entry, proved, as a message to who watches its project.

Invariants: an entry is told only when the log that has it is believed and begins with what was told before; the place
reached is remembered after the messages are with the mail server, so an event may come twice, and never not at all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from fnmatch import fnmatchcase
from pathlib import Path

from assay import durable
from assay.mail import MailServer, compose
from assay.model.errors import AssayError, OperatorError
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.entry import LogEntry
from assay.trust.log.tree import EMPTY_ROOT, Hash

MAX_TOLD = 200
"""Events in one message; of more only the number is told."""

MAX_FACTS_CHARS = 400
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Watch:
    """``[[watch]]``: who wants to know of ``project``: a name, a pattern, or ``*`` for all events, of the index too."""

    project: str
    to: tuple[str, ...]

    def concerns(self, entry: LogEntry) -> bool:
        """Whether ``entry`` is to be told."""
        return self.project == EVERYTHING or (entry.project is not None and fnmatchcase(entry.project, self.project))


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """monitor.toml: which index (needed when several are trusted), the mail server, who watches what."""

    sender: str
    mail: MailServer
    watch: tuple[Watch, ...]
    index: str | None = None
    every_s: float = 60.0


def read_head(path: Path) -> LogHead | None:
    """The head up to which everything was told; None before the first time. Raises OperatorError."""
    try:
        document = json.loads(path.read_bytes())
        return LogHead(int(document["size"]), Hash(bytes.fromhex(document["root"])))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorError("the monitor's memory cannot be read", subject=str(path), found=str(error)) from error


def write_head(path: Path, head: LogHead) -> None:
    """Remember that everything up to ``head`` was told."""
    durable.write_file(path.absolute(), json.dumps({"size": head.size, "root": head.root.hex()}).encode())


def messages(config: MonitorConfig, index_url: str, entries: Sequence[tuple[int, LogEntry]]) -> list[EmailMessage]:
    """One message for each recipient whom any of ``entries`` concerns."""
    by_recipient: dict[str, dict[int, LogEntry]] = {}
    for watch in config.watch:
        wanted = {number: entry for number, entry in entries if watch.concerns(entry)}
        for recipient in watch.to if wanted else ():
            by_recipient.setdefault(recipient, {}).update(wanted)
    return [
        compose(config.sender, [recipient], _subject(found), _lines(index_url, dict(sorted(found.items()))))
        for recipient, found in sorted(by_recipient.items())
    ]


def alarm(config: MonitorConfig, index_url: str, error: AssayError) -> list[EmailMessage]:
    """One message for everybody: the log itself is not what it was."""
    everybody = sorted({recipient for watch in config.watch for recipient in watch.to})
    lines = [f"The log of {index_url} was refused:", "", str(error), f"rule: {error.rule}"]
    lines += ["", "Install nothing new from it until its operator explains this; compare with others who watch it."]
    return [compose(config.sender, [each], f"[assay] ALARM: {error.rule}", lines) for each in everybody]


def beginning() -> LogHead:
    """The head of the empty log: to be told everything."""
    return LogHead(0, EMPTY_ROOT)


def _subject(entries: Mapping[int, LogEntry]) -> str:
    first = next(iter(entries.values()))
    what = f"{first.project or 'index'}: {first.kind}"
    return f"[assay] {what}" if len(entries) == 1 else f"[assay] {what} and {len(entries) - 1} more"


def _lines(index_url: str, entries: Mapping[int, LogEntry]) -> list[str]:
    lines = [f"New in the log of {index_url}:", ""]
    for number, entry in list(entries.items())[:MAX_TOLD]:
        facts = json.dumps(entry.facts, sort_keys=True)
        shown = facts if len(facts) <= MAX_FACTS_CHARS else f"{facts[:MAX_FACTS_CHARS]}..."
        who = json.dumps(entry.actor, ensure_ascii=False)
        lines += [f"{entry.time:%Y-%m-%d %H:%M:%S} UTC  {entry.kind}  {entry.project or ''}  by {who}"]
        lines += [f"  entry {number}: {shown}"]
    if len(entries) > MAX_TOLD:
        lines.append(f"... and {len(entries) - MAX_TOLD} more: assay log verify --full reads them all")
    lines += ["", "If you do not know of one of these, ask the other owners; then revoke tokens and keys at once."]
    return lines
