"""Two rooms, two sticks: what was enrolled and signed on a copy of the stick comes home, with the copy's transcript.

Invariants: a copy is of this very ceremony (same plan, same payloads, transcripts that begin alike); only enrolments
and signatures are taken, each written by an entry of the copy that its own key sealed; the copy's entries are kept as
they were written, so the audit checks their chain and their seals as if they had happened here.
"""

from dataclasses import dataclass
from typing import Final

from assay.keys.ceremony.enrolment import FOLDER as ENROLMENTS
from assay.keys.ceremony.signing import PAYLOADS, PLAN, SIGNATURES
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings
from assay.keys.ceremony.transcript import Entry, Step, entry_name, parse_entry, read_transcript, record
from assay.model.digests import Sha256
from assay.model.errors import AlreadyExists, VerificationFailed

COLLECTED: Final = "collected/"
_STEPS: Final = frozenset({"enroll", "sign", "note", "countersign"})


@dataclass(frozen=True, slots=True)
class Branch:
    """The entries of a copy after it left the stick, in order. ``forked_after``: the last entry that both have."""

    forked_after: Entry
    entries: tuple[Entry, ...]


def collect(stick: Stick, copy: Stick, surroundings: Surroundings) -> Branch:
    """Take home what happened on ``copy``. Raises VerificationFailed when it is not a copy of this ceremony.

    AlreadyExists when both have something else under one name. Again, with nothing new: nothing happens.
    """
    _require_same(stick, copy)
    branch = _branch_of(stick, copy)
    files = {name: copy.read(name) for name in _taken(copy) if name not in stick.files}
    _require_no_conflict(stick, copy)
    kept = {f"{COLLECTED}{entry.sha256}.json": copy.read(entry_name(entry)) for entry in branch.entries}
    new = {name: data for name, data in {**files, **kept}.items() if name not in stick.files}
    if new:
        _require_accounted(branch.entries, tuple(files))
        facts = {"forked_after": f"{branch.forked_after.number} ({branch.forked_after.sha256})"}
        facts["entries"] = " ".join(entry.sha256 for entry in branch.entries)
        record(stick, surroundings, Step("collect", (PLAN,), facts), new)
    return branch


def read_branch(stick: Stick, entry: Entry, known: dict[Sha256, Entry]) -> tuple[Entry, ...]:
    """The entries that a ``collect`` entry brought, their chain checked. ``known``: the entries before it, by hash."""
    before = entry.facts.get("forked_after", "").partition("(")[2].rstrip(")")
    if before not in known:
        raise _refuse(entry, "it was copied from a transcript that is not this one")
    previous, found = known[Sha256(before)], []
    for digest in entry.facts.get("entries", "").split():
        name = f"{COLLECTED}{digest}.json"
        one = parse_entry(name, stick.read(name))
        if one.sha256 != digest or one.previous != previous.sha256 or one.number != previous.number + 1:
            raise _refuse(entry, "the chain of the copy's entries is broken")
        found.append(one)
        previous = one
    _require_accounted(tuple(found), tuple(name for name in entry.outputs if not name.startswith(COLLECTED)))
    return tuple(found)


def _require_same(stick: Stick, copy: Stick) -> None:
    for name in (PLAN, *stick.names(PAYLOADS), *copy.names(PAYLOADS)):
        ours, theirs = stick.files.get(name), copy.files.get(name)
        if ours is not None and theirs is not None and ours != theirs:
            raise VerificationFailed(
                "this is not a copy of the ceremony on the stick",
                subject=name,
                rule="collect-other-ceremony",
                expected=f"sha256 {ours.sha256}",
                found=f"sha256 {theirs.sha256}",
            )


def _branch_of(stick: Stick, copy: Stick) -> Branch:
    ours, theirs = read_transcript(stick), read_transcript(copy)
    common = 0
    while common < min(len(ours), len(theirs)) and ours[common].sha256 == theirs[common].sha256:
        common += 1
    if common == 0:
        raise VerificationFailed("the transcripts do not begin alike", rule="collect-other-ceremony")
    branch = theirs[common:]
    for entry in branch:
        if entry.step not in _STEPS:
            raise VerificationFailed(
                "a copy is for enrolling and signing only",
                subject=f"entry {entry.number}",
                rule="collect-step",
                expected=", ".join(sorted(_STEPS)),
                found=entry.step,
            )
    return Branch(theirs[common - 1], branch)


def _taken(copy: Stick) -> tuple[str, ...]:
    return (*copy.names(ENROLMENTS), *copy.names(SIGNATURES))


def _require_no_conflict(stick: Stick, copy: Stick) -> None:
    for name in _taken(copy):
        if name in stick.files and stick.files[name] != copy.files[name]:
            raise AlreadyExists(
                "stick and copy have something else under this name",
                subject=name,
                rule="collect-conflict",
                next_step="find out which of the two its owner made",
            )


def _require_accounted(entries: tuple[Entry, ...], files: tuple[str, ...]) -> None:
    written = {name for entry in entries for name in entry.outputs}
    for name in files:
        if name not in written:
            raise VerificationFailed(
                "no entry of the copy wrote this file", subject=name, rule="transcript-unaccounted"
            )


def _refuse(entry: Entry, why: str) -> VerificationFailed:
    return VerificationFailed(
        f"the transcript does not hold: {why}", subject=f"entry {entry.number} ({entry.step})", rule="transcript-untrue"
    )
