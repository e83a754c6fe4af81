"""From plan, current metadata and enrolments to what will be signed. Pure: every machine makes it again, to the byte.

Invariants: same inputs, same bytes; a version goes up by one for each role that is signed and for no other; whatever
the current roles say that the plan does not speak of (further delegations) is kept as it is; no key serves an offline
and an online role.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Root, Targets

from assay.keys.ceremony.current import Current
from assay.keys.ceremony.enrolment import Enrolment, holder_of, require_all_enrolled
from assay.keys.ceremony.plan import Plan
from assay.keys.files import Scheme
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import CallerError, NotFound
from assay.trust import canonical
from assay.trust.claims import with_claims_delegation
from assay.trust.layout import (
    BIN_PREFIX,
    BINNED_PATHS,
    BINS,
    CLAIMED_NEW,
    OFFLINE_ROLES,
    ONLINE_ROLES,
    ROOT,
    TARGETS,
    search_position,
)
from assay.trust.log.identity import LOG, identity_of_key, name_log, named_log
from assay.trust.plan import plan_bins, plan_root, plan_targets, succinct_roles

_DELEGATOR = {TARGETS: ROOT, "snapshot": ROOT, "timestamp": ROOT, ROOT: ROOT, BINS: TARGETS, BIN_PREFIX: BINS}


@dataclass(frozen=True, slots=True)
class Built:
    """The offline roles after the ceremony. ``payloads``: of the roles that get signed, the bytes that signatures are
    over; ``root``, ``targets``, ``bins``: the state afterwards, new or kept.
    """

    root: Root
    targets: Targets
    bins: Targets
    payloads: Mapping[str, bytes]

    def role(self, role: str) -> Root | Targets:
        """The state of an offline role afterwards."""
        return self.root if role == ROOT else {TARGETS: self.targets, BINS: self.bins}[role]

    def delegator(self, role: str) -> Root | Targets:
        """Who says which keys sign ``role``."""
        return self.role(_DELEGATOR[role])


def build(plan: Plan, current: Current | None, enrolments: Mapping[str, Enrolment]) -> Built:
    """Plan the new roles. Raises NotFound while an enrolment is missing, CallerError when the plan does not fit."""
    require_all_enrolled(plan, enrolments)
    keys = {role: _keys_of(plan, role, current, enrolments) for role in plan.roles}
    _require_separate(keys, [enrolments[plan.log].key] if plan.log else [])
    thresholds = {role: planned.threshold for role, planned in plan.roles.items()}
    root = _build_root(plan, current, keys, thresholds)
    claims = keys[BIN_PREFIX], thresholds[BIN_PREFIX]
    targets = _build_targets(plan, current, keys[BINS], thresholds[BINS], claims)
    _name_log(plan, current, targets, enrolments)
    bins = _build_bins(plan, current, keys[BIN_PREFIX], thresholds[BIN_PREFIX])
    built = Built(root, targets, bins, {})
    _require_wanted(plan, built, keys)
    payloads = {role: canonical.encode(built.role(role).to_dict()) for role in plan.sign}
    return Built(root, targets, bins, payloads)


def ceremony_fingerprint(plan: Plan, built: Built) -> Sha256:
    """The hash that the words speak: of the plan, where it starts, and every payload."""
    statement = {
        "format": "assay-ceremony-fingerprint/1",
        "plan": plan.sha256,
        "starts_from": plan.starts_from.root_sha256 if plan.starts_from else None,
        "payloads": {role: sha256_of(payload) for role, payload in built.payloads.items()},
    }
    return sha256_of(canonical.encode(statement))


def signing_keys(plan: Plan, current: Current | None, built: Built, role: str) -> dict[str, Key]:
    """Key id -> key of everybody whose signature on ``role`` counts, before or after the ceremony."""
    found = keys_named(built.delegator(role), role)
    if role == ROOT and current is not None and plan.replaces is None:
        found |= keys_named(current.root, ROOT)
    return found


def _build_root(
    plan: Plan, current: Current | None, keys: Mapping[str, list[Key]], thresholds: Mapping[str, int]
) -> Root:
    if ROOT not in plan.sign:
        return _kept(current).root
    return plan_root(keys, thresholds, plan.next_root_version, _expires(plan, ROOT))


def _build_targets(
    plan: Plan, current: Current | None, bins_keys: list[Key], threshold: int, claims: tuple[list[Key], int]
) -> Targets:
    """``claims``: the keys of ``claimed-new`` and their threshold, which are those of the bins."""
    if TARGETS not in plan.sign:
        return _kept(current).targets
    if current is None:
        return plan_targets(bins_keys, threshold, 1, _expires(plan, TARGETS), *claims)
    renewed = deepcopy(current.targets)
    renewed.version += 1
    renewed.expires = _expires(plan, TARGETS)
    if renewed.delegations is None or renewed.delegations.roles is None:
        raise CallerError("the current targets role delegates nothing", rule="plan", subject=TARGETS)
    delegations, roles = renewed.delegations, renewed.delegations.roles
    roles[BINS] = DelegatedRole(
        BINS, sorted(key.keyid for key in bins_keys), threshold, terminating=True, paths=BINNED_PATHS
    )
    claimed_new, claims_keys = with_claims_delegation(*claims, CLAIMED_NEW)
    roles[CLAIMED_NEW] = claimed_new
    delegations.roles = {name: roles[name] for name in sorted(roles, key=search_position)}
    wanted = {keyid for role in roles.values() for keyid in role.keyids}
    new = {**claims_keys, **{key.keyid: key for key in bins_keys}}
    delegations.keys = {keyid: key for keyid, key in {**delegations.keys, **new}.items() if keyid in wanted}
    return renewed


def _name_log(plan: Plan, current: Current | None, targets: Targets, enrolments: Mapping[str, Enrolment]) -> None:
    """Put the log's new key into ``targets``. Its origin and witnesses stay: the tree is the same."""
    if plan.log is None:
        return
    key = enrolments[plan.log].key
    if key.scheme != Scheme.ED25519.value:
        raise CallerError("the log's key is Ed25519", rule="plan", subject=plan.log, found=key.scheme)
    old = named_log(current.targets) if current else None
    new = identity_of_key(bytes.fromhex(key.keyval["public"]), old.origin if old else None)
    name_log(targets, replace(new, witnesses=old.witnesses, threshold=old.threshold) if old else new)


def _build_bins(plan: Plan, current: Current | None, bin_keys: list[Key], threshold: int) -> Targets:
    if BINS not in plan.sign:
        kept = _kept(current).bins
        if succinct_roles(kept).bit_length != plan.bin_bits:
            raise CallerError(
                "another number of bins is said by a new bins role, and the plan signs none",
                rule="plan",
                subject="bin_bits",
                expected=str(succinct_roles(kept).bit_length),
                found=str(plan.bin_bits),
                next_step="name bins under sign",
            )
        return kept
    version = current.bins.version + 1 if current else 1
    return plan_bins(bin_keys, threshold, plan.bin_bits, version, _expires(plan, BINS))


def _keys_of(plan: Plan, role: str, current: Current | None, enrolments: Mapping[str, Enrolment]) -> list[Key]:
    return [_key_of(plan, name, current, enrolments) for name in plan.roles[role].holders]


def _key_of(plan: Plan, name: str, current: Current | None, enrolments: Mapping[str, Enrolment]) -> Key:
    """The key of ``name``: what was enrolled now, else the one that the current metadata marks as theirs."""
    if name in enrolments:
        return enrolments[name].key
    pinned = plan.participants[name].key
    known = {} if current is None else current_keys(current)
    candidates = [key for key in known.values() if key.keyid == pinned or (pinned is None and holder_of(key) == name)]
    if len(candidates) != 1:
        raise NotFound(
            "it is not known which key is theirs",
            subject=name,
            expected="one key in the current metadata with that name or key id",
            found=str(len(candidates)),
            next_step="list the name in `enrol`, or give its key id as `key`",
        )
    return candidates[0]


def current_keys(current: Current) -> dict[str, Key]:
    """Every key that the current offline roles name."""
    found = dict(current.root.keys)
    for role in (current.targets, current.bins):
        found |= role.delegations.keys if role.delegations else {}
    return found


def _require_separate(keys: Mapping[str, list[Key]], log_keys: list[Key]) -> None:
    offline = {key.keyid: role for role in OFFLINE_ROLES for key in keys[role]}
    online: dict[str, list[Key]] = {role: keys[role] for role in ONLINE_ROLES}
    for role, held in {**online, LOG: log_keys}.items():
        for key in held:
            if key.keyid in offline:
                raise CallerError(
                    "one key would serve an offline and an online role",
                    rule="offline-key-online",
                    subject=holder_of(key) or key.keyid,
                    found=f"{offline[key.keyid]} and {role}",
                )


def _require_wanted(plan: Plan, built: Built, keys: Mapping[str, list[Key]]) -> None:
    """The state afterwards is the plan's, also for roles whose delegator is not signed."""
    for role, planned in plan.roles.items():
        delegator = built.delegator(role)
        found_keys, found_threshold = set(keys_named(delegator, role)), threshold_of(delegator, role)
        wanted = {key.keyid for key in keys[role]}
        if (found_keys, found_threshold) != (wanted, planned.threshold):
            raise CallerError(
                "the plan changes who signs this role, but not the role that says so",
                rule="plan",
                subject=role,
                expected=f"{_DELEGATOR[role]} in `sign`",
                found=f"sign = {', '.join(plan.sign)}",
            )
    _require_same_claims_keys(built, keys[BIN_PREFIX])


def _require_same_claims_keys(built: Built, bin_keys: list[Key]) -> None:
    """Whoever signs the bins signs ``claimed-new``, which ``targets`` names: the two change together."""
    roles = built.targets.delegations.roles if built.targets.delegations else None
    claimed_new = (roles or {}).get(CLAIMED_NEW)
    if claimed_new is not None and set(claimed_new.keyids) != {key.keyid for key in bin_keys}:
        raise CallerError(
            "new keys of the bins sign the newly claimed projects, too, and targets names those keys",
            rule="plan",
            subject=BIN_PREFIX,
            expected="targets in `sign`",
        )


def keys_named(delegator: Root | Targets, role: str) -> dict[str, Key]:
    """The keys that ``delegator`` names for ``role``; ``bin`` stands for every bin."""
    if isinstance(delegator, Root):
        return {keyid: delegator.keys[keyid] for keyid in delegator.roles[role].keyids}
    delegations = delegator.delegations
    if delegations is None:
        return {}
    keyids = succinct_roles(delegator).keyids if role == BIN_PREFIX else _delegated(delegator, role).keyids
    return {keyid: delegations.keys[keyid] for keyid in keyids}


def threshold_of(delegator: Root | Targets, role: str) -> int:
    """How many of ``delegator``'s keys for ``role`` must sign."""
    if isinstance(delegator, Root):
        return delegator.roles[role].threshold
    return succinct_roles(delegator).threshold if role == BIN_PREFIX else _delegated(delegator, role).threshold


def _delegated(delegator: Targets, role: str) -> DelegatedRole:
    roles = delegator.delegations.roles if delegator.delegations else None
    if not roles or role not in roles:
        raise CallerError("the role is not delegated", rule="plan", subject=role)
    return roles[role]


def _expires(plan: Plan, role: str) -> datetime:
    expires = plan.roles[role].expires
    if expires is None:
        raise CallerError("the plan says no expiry", rule="plan", subject=role)
    return expires


def _kept(current: Current | None) -> Current:
    if current is None:
        raise CallerError("a first ceremony signs every role", rule="plan", subject="sign")
    return current
