"""From detached signatures to metadata files, and the check that the ceremony is complete.

Invariants: a file is assembled only of signatures that each verified; root counts when a threshold of its own keys and
of the previous root's signed it (TUF 1.0.34 section 5.3.4), the others when a threshold of the new delegator's did;
only ``verify`` makes a ``VerifiedBundle``, and only that can be published.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from assay.keys.ceremony.building import signing_keys
from assay.keys.ceremony.current import require_threshold
from assay.keys.ceremony.enrolment import SHORT_ID, holder_of, require_production_root
from assay.keys.ceremony.plan import Plan
from assay.keys.ceremony.signing import SIGNATURES, Case, open_case, read_signatures
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings
from assay.keys.ceremony.transcript import Step, record
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import NotFound, NotFresh, VerificationFailed
from assay.trust.envelope import assemble, parse_envelope
from assay.trust.layout import ROOT

MERGED = "merged/"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a role is. ``have`` and ``lack``: names (or key ids); ``before`` and ``after``: valid signatures and the
    threshold by the previous root's keys (None where they need not sign) and by the new ones.
    """

    role: str
    have: tuple[str, ...]
    lack: tuple[str, ...]
    before: tuple[int, int] | None
    after: tuple[int, int]

    @property
    def complete(self) -> bool:
        """True when every threshold is reached."""
        return self.after[0] >= self.after[1] and (self.before is None or self.before[0] >= self.before[1])


@dataclass(frozen=True, slots=True)
class VerifiedBundle:
    """The signed files of a complete ceremony, by role, and the root that counts. Only ``verify`` makes one."""

    files: Mapping[str, bytes]
    versions: Mapping[str, int]
    plan: Plan
    root_sha256: Sha256


def progress(stick: Stick, case: Case) -> tuple[Progress, ...]:
    """How far each role is. Raises VerificationFailed for a signature on the stick that does not verify."""
    return tuple(_progress_of(stick, case, role) for role in case.plan.sign)


def merge(stick: Stick, surroundings: Surroundings) -> tuple[Progress, ...]:
    """Assemble the metadata files once every threshold is reached; before, say only what is lacking."""
    case = open_case(stick)
    state = progress(stick, case)
    if stick.names(MERGED) or not all(one.complete for one in state):
        return state
    outputs = {f"{MERGED}{role}.json": _assembled(stick, case, role) for role in case.plan.sign}
    record(stick, surroundings, Step("merge", stick.names(SIGNATURES)), outputs)
    return state


def verify(stick: Stick, now: datetime) -> VerifiedBundle:
    """Check the merged files as a client would, from the root that the ceremony started from.

    Raises NotFound while something is lacking, VerificationFailed or NotFresh when a client would refuse.
    """
    case = open_case(stick)
    missing = [role for role in case.plan.sign if f"{MERGED}{role}.json" not in stick.files]
    if missing:
        lacking = [one for one in progress(stick, case) if not one.complete]
        words = "; ".join(f"{one.role}: {', '.join(one.lack)} have not signed" for one in lacking)
        raise NotFound(
            "the ceremony is not complete",
            found=words or f"not merged: {', '.join(missing)}",
            next_step="`assay ceremony sign` on the machines of enough of them, then `assay ceremony merge`",
        )
    files = {role: stick.read(f"{MERGED}{role}.json") for role in case.plan.sign}
    for role, data in files.items():
        _require_accepted(case, role, data, now)
    if not case.plan.rehearsal:
        require_production_root(case.built.root)
    root_sha256 = sha256_of(files[ROOT]) if ROOT in files else _current_root(case)
    return VerifiedBundle(
        files,
        {role: case.built.role(role).version for role in files},
        case.plan,
        root_sha256,
    )


def _require_accepted(case: Case, role: str, data: bytes, now: datetime) -> None:
    """One merged file: the payload that was shown, by threshold of whoever must, and not expired."""
    envelope = parse_envelope(data, Root, ROOT) if role == ROOT else parse_envelope(data, Targets, role)
    if envelope.payload != case.built.payloads[role]:
        raise VerificationFailed("the merged file is not what was signed", subject=role, rule="payload-swapped")
    require_threshold(case.built.delegator(role), role, envelope, "new ")
    if role == ROOT and case.current is not None and case.plan.replaces is None:
        require_threshold(case.current.root, ROOT, envelope, "previous root's ")
    if envelope.signed.is_expired(now):
        raise NotFresh("the signed role has expired", subject=role, found=f"{envelope.signed.expires:%Y-%m-%d} UTC")


def _progress_of(stick: Stick, case: Case, role: str) -> Progress:
    signatures = read_signatures(stick, case, role)
    keys = signing_keys(case.plan, case.current, case.built, role)
    after = case.built.delegator(role).get_verification_result(role, case.built.payloads[role], signatures)
    before = None
    if role == ROOT and case.current is not None and case.plan.replaces is None:
        result = case.current.root.get_verification_result(ROOT, case.built.payloads[role], signatures)
        before = (len(result.signed), result.threshold)
    names = _names(keys)
    return Progress(
        role,
        tuple(sorted(name for keyid, name in names.items() if keyid in signatures)),
        tuple(sorted(name for keyid, name in names.items() if keyid not in signatures)),
        before,
        (len(after.signed), after.threshold),
    )


def _names(keys: Mapping[str, Key]) -> dict[str, str]:
    """Key id -> who; a holder who has an old and a new key is told apart by the key."""
    holders = Counter(holder_of(key) for key in keys.values())
    named = {keyid: holder_of(key) or "" for keyid, key in keys.items()}
    told_apart = {keyid: f" (key {keyid[:SHORT_ID]})" if holders[name] > 1 else "" for keyid, name in named.items()}
    return {keyid: f"{name}{told_apart[keyid]}" if name else keyid for keyid, name in named.items()}


def _assembled(stick: Stick, case: Case, role: str) -> bytes:
    signatures = read_signatures(stick, case, role)
    return assemble(case.built.role(role).to_dict(), [signatures[keyid] for keyid in sorted(signatures)])


def _current_root(case: Case) -> Sha256:
    if case.current is None:
        raise NotFound("no root is signed, and none was there before", subject=ROOT)
    return case.current.root_sha256
