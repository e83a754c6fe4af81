"""A year later: does everything on the stick hold together, and did who had to be there seal it?

Checked, and each failure is an error that names the place: the chain of the transcript; every seal; that every output
was written by exactly one entry and is still those bytes; that every input was what the stick holds; the enrolments'
proofs; the payloads, made again; every signature; the thresholds; and that each countersignature names the entry that
it covers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from securesystemslib.signer import Key

from assay.keys.ceremony.assembling import MERGED, Progress, progress
from assay.keys.ceremony.building import current_keys
from assay.keys.ceremony.collecting import read_branch
from assay.keys.ceremony.enrolment import holder_of
from assay.keys.ceremony.signing import Case, open_case
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import CLOCK_TOLERANCE
from assay.keys.ceremony.transcript import FOLDER as TRANSCRIPT
from assay.keys.ceremony.transcript import Entry, read_transcript, sealed_by
from assay.model.digests import Sha256
from assay.model.errors import VerificationFailed


@dataclass(frozen=True, slots=True)
class Audit:
    """A ceremony that holds together. Only ``audit`` makes one.

    ``branches``: number of a ``collect`` entry -> the entries of the copy that it brought home. ``seals``: hash of an
    entry -> who sealed it. ``sealed_up_to``: name -> number of the last entry that their seal covers; ``open_points``:
    what an auditor should ask about though nothing is wrong.
    """

    case: Case
    entries: tuple[Entry, ...]
    branches: Mapping[int, tuple[Entry, ...]]
    seals: Mapping[Sha256, tuple[str, ...]]
    progress: tuple[Progress, ...]
    sealed_up_to: Mapping[str, int]
    open_points: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """True when the ceremony was merged and every observer's seal covers what was done."""
        return not self.open_points


def audit(stick: Stick) -> Audit:
    """Check everything. Raises VerificationFailed naming the first thing that does not hold."""
    entries = read_transcript(stick)
    case = open_case(stick)
    _require_accounted(stick, entries)
    keys = _participants_keys(case)
    branches = _read_branches(stick, entries)
    everything = (*entries, *(one for branch in branches.values() for one in branch))
    _require_times(case, entries, everything)
    seals = {entry.sha256: _names_of(sealed_by(entry, keys)) for entry in everything}
    _require_sealed_steps(everything, seals)
    _require_countersigned_chain(everything)
    state = progress(stick, case)
    covered = _sealed_up_to(entries, seals)
    points = _open_points(stick, case, entries, state, covered)
    return Audit(case, entries, branches, seals, state, covered, tuple(points))


def _require_accounted(stick: Stick, entries: tuple[Entry, ...]) -> None:
    """Each listed file is the output of one entry, and each entry's outputs and inputs are the listed files."""
    written: dict[str, Entry] = {}
    for entry in entries:
        for name, digest in entry.inputs.items():
            if name not in written or stick.files[name].sha256 != digest:
                raise _refuse(entry, f"it read {name}, which is not what an entry before it wrote")
        for name, digest in entry.outputs.items():
            if name in written:
                raise _refuse(entry, f"{name} was written by entry {written[name].number} already")
            if name not in stick.files or stick.files[name].sha256 != digest:
                raise _refuse(entry, f"{name} is not what this entry wrote")
            stick.read(name)
            written[name] = entry
    for name in stick.files:
        if not name.startswith(TRANSCRIPT) and name not in written:
            raise VerificationFailed(
                "this file is listed, and no entry of the transcript wrote it",
                subject=name,
                rule="transcript-unaccounted",
            )


def _require_times(case: Case, entries: tuple[Entry, ...], everything: tuple[Entry, ...]) -> None:
    for before, entry in pairwise(entries):
        if entry.time < before.time - CLOCK_TOLERANCE:
            raise _refuse(entry, f"it happened at {entry.time}, before entry {before.number} at {before.time}")
    for entry in everything:
        if entry.step == "sign" and not (
            case.plan.opens - CLOCK_TOLERANCE <= entry.time <= case.plan.closes + CLOCK_TOLERANCE
        ):
            raise _refuse(entry, f"signed at {entry.time}, outside of the plan's window")


def _read_branches(stick: Stick, entries: tuple[Entry, ...]) -> dict[int, tuple[Entry, ...]]:
    known: dict[Sha256, Entry] = {}
    found = {}
    for entry in entries:
        if entry.step == "collect":
            found[entry.number] = read_branch(stick, entry, known)
            known |= {one.sha256: one for one in found[entry.number]}
        known[entry.sha256] = entry
    return found


def _participants_keys(case: Case) -> tuple[Key, ...]:
    found = {enrolment.key.keyid: enrolment.key for enrolment in case.enrolments.values()}
    if case.current is not None:
        found |= current_keys(case.current)
    return tuple(found.values())


def _names_of(keys: tuple[Key, ...]) -> tuple[str, ...]:
    return tuple(holder_of(key) or key.keyid for key in keys)


def _require_sealed_steps(entries: tuple[Entry, ...], seals: Mapping[Sha256, tuple[str, ...]]) -> None:
    """Whoever enrolled or signed sealed the entry that says so."""
    for entry in entries:
        who = {"enroll": entry.facts.get("name"), "sign": entry.facts.get("holder")}.get(entry.step)
        if entry.step in ("enroll", "sign", "countersign") and not seals[entry.sha256]:
            raise _refuse(entry, "the key that took part did not seal it")
        if who is not None and who not in seals[entry.sha256] and entry.facts.get("key") not in seals[entry.sha256]:
            raise _refuse(entry, f"it speaks of {who}, and {', '.join(seals[entry.sha256])} sealed it")


def _require_countersigned_chain(entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        if entry.step == "countersign":
            expected = f"{entry.number - 1} ({entry.previous})"
            if entry.facts.get("up_to") != expected:
                raise _refuse(entry, f"it countersigns {entry.facts.get('up_to')}, and {expected} stands before it")


def _sealed_up_to(entries: tuple[Entry, ...], seals: Mapping[Sha256, tuple[str, ...]]) -> dict[str, int]:
    """A seal covers its own entry and, through the chain, all before it."""
    return {name: entry.number for entry in entries for name in seals[entry.sha256]}


def _open_points(
    stick: Stick, case: Case, entries: tuple[Entry, ...], state: tuple[Progress, ...], covered: Mapping[str, int]
) -> list[str]:
    points = [
        f"{one.role} is not signed by enough: {', '.join(one.lack)} have not" for one in state if not one.complete
    ]
    if not points and not stick.names(MERGED):
        points.append("the signatures are not merged")
    done = max((entry.number for entry in entries if entry.step != "countersign"), default=0)
    observers = case.plan.named("observer")
    points += [f"{name} has not countersigned up to entry {done}" for name in observers if covered.get(name, 0) < done]
    if not observers and max(covered.values(), default=0) < done:
        points.append(f"nobody has countersigned up to entry {done}")
    return points


def _refuse(entry: Entry, why: str) -> VerificationFailed:
    return VerificationFailed(
        f"the transcript does not hold: {why}", subject=f"entry {entry.number} ({entry.step})", rule="transcript-untrue"
    )
