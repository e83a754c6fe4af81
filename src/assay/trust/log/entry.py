"""Log entries: one event each, as canonical JSON.

Canonical here is RFC 8785 (JCS) restricted to what entries may hold: objects with ASCII keys, lists, strings, booleans,
null and integers of 53 bits. Invariant: decoding and encoding an entry gives the same bytes; other bytes are no entry.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from assay.model.errors import VerificationFailed
from assay.trust.log.tiles import MAX_ENTRY_BYTES

VERSION = 1
MAX_FACTS_BYTES = 60_000
MAX_CUSTOM_BYTES = 40_000
MAX_PAGE_BYTES = 15_000
"""The share of a published file's ``custom``, and of what its page says, in the facts of its entry."""

MAX_DEPTH = 8

FILE_PUBLISHED = "file-published"
FILE_REMOVED = "file-removed"
FILE_RESTORED = "file-restored"
FILE_YANKED = "file-yanked"
FILE_UNYANKED = "file-unyanked"
PROJECT_STATUS = "project-status"
PROJECT_REMOVED = "project-removed"
FILE_SIGNED = "file-signed"
SIGNERS_CHANGED = "signers-changed"
CLAIM_PUBLISHED = "claim-published"
ROLE_PUBLISHED = "role-published"
EVENT_UNREADABLE = "event-unreadable"
SIGNER_KINDS = frozenset(
    {
        FILE_PUBLISHED,
        FILE_REMOVED,
        FILE_RESTORED,
        CLAIM_PUBLISHED,
        FILE_YANKED,
        FILE_UNYANKED,
        PROJECT_STATUS,
        PROJECT_REMOVED,
        FILE_SIGNED,
        SIGNERS_CHANGED,
        ROLE_PUBLISHED,
        EVENT_UNREADABLE,
    }
)
"""What the signer logs of its own signing; every other kind is the ledger's word."""

SIGNER = "signer"
"""The actor of what nobody else is named for."""

UNFIT = "unfit_sha256"
"""The key that stands alone in the place of facts that no entry can hold."""

_KIND = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_MAX_INT = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What happened: ``kind`` (a slug; unknown ones are legal), ``time`` in UTC, by whom, to which project.

    ``facts`` are JSON. Which facts each kind has: docs/log.md.
    """

    kind: str
    time: datetime
    actor: str
    project: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def encode_entry(entry: LogEntry) -> bytes:
    """The entry's canonical bytes. Raises ValueError where it has none, or too many."""
    document = {
        "actor": entry.actor,
        "facts": dict(entry.facts),
        "kind": entry.kind,
        "time": entry.time.astimezone(UTC).strftime(_TIME),
        "v": VERSION,
    }
    if entry.project is not None:
        document["project"] = entry.project
    if not _KIND.match(entry.kind):
        raise ValueError(f"not a kind of event: {entry.kind!r}")
    data = _canonical(document)
    if len(data) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(data)} bytes; at most {MAX_ENTRY_BYTES}")
    return data


def decode_entry(data: bytes) -> LogEntry:
    """The inverse of ``encode_entry``. Raises VerificationFailed for bytes that it would not have written."""
    try:
        document = orjson.loads(data)
        entry = LogEntry(
            document["kind"],
            datetime.strptime(document["time"], _TIME).replace(tzinfo=UTC),
            document["actor"],
            document.get("project"),
            document["facts"],
        )
        known = isinstance(entry.actor, str) and isinstance(entry.project, str | None)
        if known and isinstance(entry.facts, dict) and encode_entry(entry) == data:
            return entry
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _malformed(f"{type(error).__name__}: {error}") from error
    raise _malformed(repr(data[:80]))


def fitted_facts(facts: Mapping[str, Any], max_bytes: int = MAX_FACTS_BYTES) -> Mapping[str, Any]:
    """``facts`` where an entry can hold them, else the SHA-256 of their JSON: an event is never left out.

    Equal facts are fitted alike, whatever the order of their keys.
    """
    try:
        size = len(_canonical(dict(facts)))
    except ValueError:
        size = max_bytes + 1
    if size <= max_bytes:
        return facts
    return {UNFIT: hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()}


def _canonical(document: dict[str, Any]) -> bytes:
    _require_plain(document, MAX_DEPTH)
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # text that is no Unicode: lone surrogates
        raise ValueError(str(error)) from error


def _require_plain(value: object, depth: int) -> None:
    """Only what has one canonical form in every language."""
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int) and abs(value) <= _MAX_INT:
        return
    if isinstance(value, dict) and depth and all(map(_is_plain_key, value)):
        for each in value.values():
            if type(each) is not str:
                _require_plain(each, depth - 1)
        return
    if isinstance(value, list | tuple) and depth:
        for each in value:
            _require_plain(each, depth - 1)
        return
    raise ValueError(f"a {type(value).__name__} has no canonical form here")


def _is_plain_key(key: object) -> bool:
    return isinstance(key, str) and key.isascii()


def _malformed(found: str) -> VerificationFailed:
    return VerificationFailed(
        "not an entry of the log", rule="malformed", expected="canonical JSON of an event", found=found
    )
