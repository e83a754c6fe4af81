"""Whoever was seen to make a project's files is remembered; a change or loss is an alarm.

Two books: one beside the lock file, which the team reviews with it, and one of this user on this machine, which no pull
request can edit. What either book knows counts. Pure but for ``SeenBook``; format: docs/adr/0097.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from packaging.version import InvalidVersion, Version

from assay import durable
from assay.client.store import MetadataStore
from assay.model.errors import AssayError, CallerError, Reading, RefusedByPolicy
from assay.model.names import ProjectName, parse_project_name
from assay.model.rings import Ring
from assay.policy.model import Facts
from assay.provenance.publishers import Publisher, describe_publisher, parse_publisher, publisher_of, render_publisher

SEEN_FILENAME: Final = "assay-seen.json"
MAX_SEEN_BYTES: Final = 32_000_000
OPENPGP, ATTESTED, CLAIMED = "signature", "attestation", "claim"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one project. ``lines``: for each release line and kind of evidence, since which upload time.

    ``certificates``: OpenPGP fingerprints; ``publishers``: of attestations.
    """

    certificates: frozenset[str] = frozenset()
    publishers: tuple[Publisher, ...] = ()
    lines: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)


def release_line(version: str) -> str:
    """Versions that replace each other: ``1`` of 1.2.3, ``0.4`` of 0.4.1."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return version
    epoch = f"{parsed.epoch}!" if parsed.epoch else ""
    return epoch + (str(parsed.major) if parsed.major else f"0.{parsed.minor}")


def kinds_of(facts: Facts) -> frozenset[str]:
    """The kinds of evidence that a file has."""
    found = {OPENPGP: facts.signed_with is not None, ATTESTED: bool(facts.attested)}
    found[CLAIMED] = Ring.CLAIMED in facts.rings
    return frozenset(kind for kind, is_there in found.items() if is_there)


def alarms(seen: Seen, facts: Facts) -> list[RefusedByPolicy]:
    """What of ``facts``, which are those of a verified file, does not go on from ``seen``."""
    from assay.provenance.expected import is_same_project

    found = []
    if facts.signed_with is not None and seen.certificates and facts.signed_with not in seen.certificates:
        found.append(_changed(facts, ", ".join(sorted(seen.certificates)), facts.signed_with))
    strangers = [
        describe_publisher(publisher_of(each.identity))
        for each in facts.attested
        if not any(is_same_project(publisher_of(each.identity), known) for known in seen.publishers)
    ]
    if strangers and seen.publishers:
        found.append(_changed(facts, " or ".join(map(describe_publisher, seen.publishers)), ", ".join(strangers)))
    kinds, line = kinds_of(facts), release_line(facts.version or "")
    found += [
        _weaker(facts, line, kind)
        for kind, since in sorted(seen.lines.get(line, {}).items())
        if kind not in kinds and (facts.uploaded is None or facts.uploaded >= since)
    ]
    earliest = min((since for by_kind in seen.lines.values() for since in by_kind.values()), default=None)
    if not found and not kinds and earliest is not None and (facts.uploaded is None or facts.uploaded >= earliest):
        found.append(_lost(facts))
    return found


def with_facts(seen: Seen, facts: Facts) -> Seen:
    """``seen``, and what ``facts`` add to it."""
    if not (kinds := kinds_of(facts)):
        return seen
    line, uploaded = release_line(facts.version or ""), facts.uploaded or facts.now
    known = dict(seen.lines.get(line, {}))
    known |= {kind: min(known.get(kind, uploaded), uploaded) for kind in kinds}
    publishers = dict.fromkeys((*seen.publishers, *(publisher_of(each.identity) for each in facts.attested)))
    certificates = seen.certificates | ({facts.signed_with} if facts.signed_with else set())
    return replace(seen, certificates=certificates, publishers=tuple(publishers), lines={**seen.lines, line: known})


def merge(one: Seen, other: Seen) -> Seen:
    """What either knows."""
    lines: dict[str, dict[str, datetime]] = {}
    for each in (one, other):
        for line, kinds in each.lines.items():
            known = lines.setdefault(line, {})
            known |= {kind: min(known.get(kind, since), since) for kind, since in kinds.items()}
    publishers = tuple(dict.fromkeys((*one.publishers, *other.publishers)))
    return Seen(one.certificates | other.certificates, publishers, lines)


def rewritten(old: "Entries", new: "Entries") -> tuple[str, ...]:
    """In words, what of the record ``old`` a change to ``new`` takes back or replaces: only additions are harmless."""
    found = []
    for name, seen in sorted(old.items()):
        now = new.get(name)
        if now is None:
            found.append(f"{name} would be seen for the first time again")
        elif merge(seen, now) != now:
            found.append(f"who made {name} was rewritten")
        elif (seen.certificates or seen.publishers) and (now.certificates, now.publishers) != (
            seen.certificates,
            seen.publishers,
        ):
            found.append(f"somebody else may make {name}, too")
    return tuple(found)


# --- the books -------------------------------------------------------------------------------------------------

Entries = Mapping[ProjectName, Seen]


class SeenBook:
    """One book on disk. ``locks``: a folder of this user's, so that two commands do not write at once."""

    def __init__(self, path: Path, locks: Path) -> None:
        self.path = path
        self._locks = locks

    def read(self) -> Entries:
        """Everything in it; empty where there is none. Raises CallerError for a book that cannot be read."""
        try:
            with self.path.open("rb") as stream:
                data = stream.read(MAX_SEEN_BYTES + 1)
        except FileNotFoundError:
            if self.path.is_symlink():
                raise self._bad("a link that leads nowhere") from None
            return {}
        except OSError as error:
            raise self._bad(error.strerror or str(error)) from error
        try:
            document = orjson.loads(data)
            if document["assay-seen"] != _FORMAT:
                raise ValueError("another format")
            return {parse_project_name(name): _parse(entry) for name, entry in document["projects"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
            raise self._bad(f"{type(error).__name__}: {error}") from error

    def add(self, new: Entries) -> None:
        """Note ``new`` besides what is there, also what another command noted meanwhile."""
        if not new and self.path.exists():
            return
        with MetadataStore(self._locks).locked():
            known = dict(self.read())
            merged = {**known, **{name: merge(known.get(name, Seen()), seen) for name, seen in new.items()}}
            if merged != known or not self.path.exists():
                self.write(merged)

    def forget(self, project: ProjectName) -> bool:
        """Forget a project, so that it is seen for the first time again. False: it was not known."""
        with MetadataStore(self._locks).locked():
            entries = dict(self.read())
            if entries.pop(project, None) is None:
                return False
            self.write(entries)
            return True

    def write(self, entries: Entries) -> None:
        """Replace the book. One project a line, so that a review shows what changed."""
        lines = [
            f"{orjson.dumps(name).decode()}: {orjson.dumps(_render(seen), option=orjson.OPT_SORT_KEYS).decode()}"
            for name, seen in sorted(entries.items())
        ]
        body = ",\n".join(f"  {line}" for line in lines)
        text = f'{{"assay-seen": {_FORMAT}, "projects": {{\n{body}\n}}}}\n'
        durable.write_file(self.path, text.encode())

    def _bad(self, found: str) -> CallerError:
        return CallerError(
            "the record of who was seen first cannot be read",
            rule="seen-record",
            subject=str(self.path),
            found=found[:300],
            next_step="restore the file from version control; nothing was run",
        )


@dataclass(slots=True)
class Watcher:
    """Holds each file against the books and collects what is new. ``refuse``: an alarm refuses, else it is told."""

    known: Entries
    refuse: bool
    notice: Any
    new: dict[ProjectName, Seen] = field(default_factory=dict)

    @classmethod
    def of(cls, books: Iterable[SeenBook], *, refuse: bool, notice: Any) -> "Watcher":
        """A watcher that knows what any of ``books`` knows."""
        known: dict[ProjectName, Seen] = {}
        for book in books:
            for name, seen in book.read().items():
                known[name] = merge(known.get(name, Seen()), seen)
        return cls(known, refuse, notice)

    def __call__(self, facts: Facts, _file: object) -> None:
        """Raise RefusedByPolicy for the first alarm, or tell them."""
        seen = merge(self.known.get(facts.project, Seen()), self.new.get(facts.project, Seen()))
        for alarm in alarms(seen, facts):
            if self.refuse:
                raise alarm
            self.notice(f"{alarm} [{alarm.rule}]")
        added = with_facts(seen, facts)
        if added != seen:
            self.new[facts.project] = added


def _parse(entry: Mapping[str, Any]) -> Seen:
    unknown = set(entry) - {"certificates", "publishers", "lines"}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    return Seen(
        frozenset(map(str, entry.get("certificates", ()))),
        tuple(parse_publisher(dict(each)) for each in entry.get("publishers", ())),
        {
            line: {kind: datetime.fromisoformat(since) for kind, since in kinds.items()}
            for line, kinds in entry.get("lines", {}).items()
        },
    )


def _render(seen: Seen) -> dict[str, Any]:
    return {
        "certificates": sorted(seen.certificates),
        "publishers": sorted(
            (
                {key: value for key, value in render_publisher(each).items() if value is not None}
                for each in seen.publishers
            ),
            key=str,
        ),
        "lines": {
            line: {kind: since.isoformat() for kind, since in kinds.items()} for line, kinds in seen.lines.items()
        },
    }


def _changed(facts: Facts, expected: str, found: str) -> RefusedByPolicy:
    return RefusedByPolicy(
        "made by somebody else than whoever was seen first",
        rule="publisher-changed",
        subject=facts.subject,
        expected=expected,
        found=found,
        reading=Reading.EITHER,
        next_step=_step(facts),
    )


def _weaker(facts: Facts, line: str, kind: str) -> RefusedByPolicy:
    return RefusedByPolicy(
        f"earlier files of the releases {line} had a {kind}, and this one has none",
        rule="evidence-downgrade",
        subject=facts.subject,
        expected=f"a {kind}",
        reading=Reading.EITHER,
        next_step=_step(facts),
    )


def _lost(facts: Facts) -> RefusedByPolicy:
    return RefusedByPolicy(
        "earlier files of this project said who made them, and this one does not",
        rule="publisher-lost",
        subject=facts.subject,
        reading=Reading.EITHER,
        next_step=_step(facts),
    )


def _step(facts: Facts) -> str:
    return f"ask the project why; if it is right, assay policy accept {facts.project}, and commit the record"
