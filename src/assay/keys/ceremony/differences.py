"""What a ceremony changes, in plain words, for people who decide whether to sign. Pure."""

from collections.abc import Mapping
from datetime import datetime

from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from assay.keys.ceremony.building import keys_named, threshold_of
from assay.keys.ceremony.enrolment import SHORT_ID, holder_of
from assay.keys.ceremony.signing import Case
from assay.trust.layout import ROOT


def describe_changes(case: Case, now: datetime) -> list[str]:
    """Sentences: each role that is signed, then who joins, leaves or changes a key, then what to think about twice."""
    lines = [_opening(case)]
    for role in case.plan.sign:
        lines += _role_lines(case, role, now)
    lines += _grouped({role: _holder_lines(case, role) for role in case.plan.roles})
    if case.current is None:
        lines += [f"key of {describe_key(case, key)}" for key in _keys_of_everybody(case)]
    if case.plan.log is not None:
        key = case.enrolments[case.plan.log].key
        lines.append(f"log: the transparency log's key is that of {describe_key(case, key)}")
    unsigned = [role for role in ("root", "targets", "bins") if role not in case.plan.sign]
    if unsigned:
        lines.append(f"not signed, and unchanged: {', '.join(unsigned)}")
    return lines + [f"CONSIDER: {warning}" for warning in _warnings(case)]


def describe_key(case: Case, key: Key) -> str:
    """A key as people speak of it: whose, which kind, the beginning of its id."""
    name = holder_of(key)
    participant = case.plan.participants.get(name) if name else None
    named = participant is not None and participant.label != name
    who = f"{participant.label} ({name})" if participant and named else name or "a key without a name"
    return f"{who}, {key.scheme}, key {key.keyid[:SHORT_ID]}"


def _opening(case: Case) -> str:
    plan = case.plan
    kind = "REHEARSAL of a ceremony" if plan.rehearsal else "ceremony"
    if plan.replaces is not None:
        return f"{kind}: a NEW IDENTITY for {plan.index}, because: {plan.replaces.reason}. No client follows by itself."
    return f"{kind} for {plan.index}: {plan.purpose}"


def _role_lines(case: Case, role: str, now: datetime) -> list[str]:
    new = case.built.role(role)
    days = (new.expires - now).days
    before = f"version {case.current.role(role).version} becomes" if case.current else "new,"
    return [f"{role}: {before} version {new.version}, valid until {new.expires:%Y-%m-%d %H:%M} UTC ({days} days)"]


def _grouped(lines: Mapping[str, list[str]]) -> list[str]:
    """Each line once, after all the roles that it is true of."""
    roles: dict[str, list[str]] = {}
    for role, texts in lines.items():
        for text in texts:
            roles.setdefault(text, []).append(role)
    return [f"{', '.join(named)}: {text}" for text, named in roles.items()]


def _keys_of_everybody(case: Case) -> list[Key]:
    found: dict[str, Key] = {}
    for role in case.plan.roles:
        found |= {key.keyid: key for key in _keys(case, case.built.delegator(role), role)}
    return list(found.values())


def _keys(case: Case, delegator: Root | Targets, role: str) -> list[Key]:
    """The keys of ``role`` in the plan's order of people."""
    order = list(case.plan.participants)
    keys = keys_named(delegator, role).values()
    return sorted(keys, key=lambda key: order.index(name) if (name := holder_of(key)) in order else len(order))


def _holder_lines(case: Case, role: str) -> list[str]:
    """How the keys and the threshold of ``role`` change."""
    new = _keys(case, case.built.delegator(role), role)
    threshold = threshold_of(case.built.delegator(role), role)
    if case.current is None:
        return [f"{threshold} of {len(new)}: {', '.join(holder_of(key) or key.keyid[:SHORT_ID] for key in new)}"]
    delegator = _delegator_before(case, role)
    old, old_threshold = _keys(case, delegator, role), threshold_of(delegator, role)
    joined = [key for key in new if key not in old]
    left = {holder_of(key): key for key in old if key not in new}
    replaced = {holder_of(key) for key in joined} & set(left) - {None}
    lines = [
        f"the key of {describe_key(case, key)} takes the place of their key {left[name].keyid[:SHORT_ID]}"
        for key in joined
        if (name := holder_of(key)) in replaced
    ]
    lines += [f"joins: {describe_key(case, key)}" for key in joined if holder_of(key) not in replaced]
    gone = [key for key in old if key not in new and holder_of(key) not in replaced]
    lines += [f"leaves: {describe_key(case, key)}" for key in gone]
    if (threshold, len(new)) != (old_threshold, len(old)):
        lines.append(f"{old_threshold} of {len(old)} becomes {threshold} of {len(new)}")
    return lines


def _delegator_before(case: Case, role: str) -> Root | Targets:
    if case.current is None:
        return case.built.delegator(role)
    if role == "bin":
        return case.current.bins
    return case.current.targets if role == "bins" else case.current.root


def _warnings(case: Case) -> list[str]:
    found = []
    for role in case.plan.sign:
        planned = case.plan.roles[role]
        if planned.threshold == 1 and role == ROOT:
            found.append("one key alone can sign root: whoever has it is the index")
        elif planned.threshold == len(planned.holders) and len(planned.holders) > 1:
            found.append(f"{role} needs every one of its {len(planned.holders)} holders: one lost key stops it")
    if case.current is not None and case.plan.replaces is None and ROOT in case.plan.sign:
        stay = set(keys_named(case.current.root, ROOT)) & set(keys_named(case.built.root, ROOT))
        if not stay:
            found.append("no root holder stays: both the old and the new ones must sign")
    return found
