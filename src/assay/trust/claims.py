"""Claims (PEP 480): projects whose files only their developers' own keys vouch for. Pure.

A claim is a terminating delegation of ``packages/<project>/*/*`` to the role ``claim-<project>``, below ``claimed``
(offline) or ``claimed-new`` (online). The role lists the project's unsealed files, and says which keys shall sign it:
a change of keys is valid only with the old keys' signatures and the new ones'. Many claims are spread over
``claimed_<beginning of the name>``; '_' stands in no normalised name, so no role's name means two things.
See docs/adr/0060-claims.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from assay.model.errors import AssayError, InvalidName, VerificationFailed
from assay.model.names import ProjectName, parse_project_name
from assay.trust import canonical
from assay.trust.envelope import Envelope
from assay.trust.layout import CLAIMED, PACKAGE_PATHS, SPEC_VERSION, TargetPath
from assay.trust.verify import require_role_signed

CLAIM_PREFIX: Final = "claim-"
CLAIM_FIELD: Final = "x-assay-claim"
REVOKED_FIELD: Final = "x-assay-revoked"
MAX_DELEGATIONS: Final = 250
"""More claims in one role are spread over at most so many others: what a client fetches for one stays near 100 kB."""

MAX_DEPTH: Final = 3
"""Levels of ``claimed_...``: a lookup that passes six large seals stays below the 32 roles of stock clients."""

MAX_KEYS: Final = 16
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose signatures count for ``project``: ``threshold`` of ``keys``, which are ordered by key id."""

    project: ProjectName
    keys: tuple[Key, ...]
    threshold: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(sorted(self.keys, key=lambda key: key.keyid)))
        distinct = {key.keyid for key in self.keys}
        if len(distinct) != len(self.keys) or not 1 <= self.threshold <= len(self.keys) <= MAX_KEYS:
            raise VerificationFailed(
                "not a claim that can be signed",
                subject=self.project,
                rule="claim-keys",
                expected=f"1 to {MAX_KEYS} different keys, and a threshold that they can reach",
                found=f"{len(self.keys)} keys, threshold {self.threshold}",
            )
        for key in self.keys:
            _require_own_keyid(key)

    @property
    def role(self) -> str:
        """The role that the claim delegates to."""
        return claim_role(self.project)

    def delegation(self) -> DelegatedRole:
        """The claim as it stands in its delegator."""
        keyids = [key.keyid for key in self.keys]
        return DelegatedRole(self.role, keyids, self.threshold, terminating=True, paths=[claim_paths(self.project)])

    def delegator(self) -> Targets:
        """A role that delegates this claim and nothing else, to verify signatures against."""
        delegations = Delegations({key.keyid: key for key in self.keys}, {self.role: self.delegation()})
        return Targets(1, SPEC_VERSION, _NEVER, {}, delegations)


def _require_own_keyid(key: Key) -> None:
    """A key's id is the hash of the key: one that says another's id would take its place in their common delegator."""
    document = key.to_dict()
    expected = sha256(canonical.encode(document)).hexdigest()
    if set(document) != {"keytype", "scheme", "keyval"} or key.keyid != expected:
        raise VerificationFailed(
            "the key's id is not the hash of the key", rule="claim-keys", expected=expected, found=key.keyid
        )


def claim_role(project: ProjectName) -> str:
    """``claim-<project>``."""
    return f"{CLAIM_PREFIX}{project}"


def claim_paths(project: ProjectName) -> str:
    """The one pattern of paths that a claim covers."""
    return f"packages/{project}/*/*"


# --- the developers' role -------------------------------------------------------------------------------------


def plan_claim_role(claim: Claim, version: int, files: Mapping[TargetPath, TargetFile], expires: datetime) -> Targets:
    """The role ``claim-<project>`` that lists ``files`` and says who shall sign it."""
    statement = {
        "project": claim.project,
        "keys": {key.keyid: key.to_dict() for key in claim.keys},
        "threshold": claim.threshold,
    }
    fields = {CLAIM_FIELD: statement}
    return Targets(version, SPEC_VERSION, expires, {str(p): f for p, f in files.items()}, unrecognized_fields=fields)


def stated_claim(role: Targets) -> Claim:
    """Who shall sign ``role``, as it says itself. Raises VerificationFailed."""
    try:
        statement = role.unrecognized_fields[CLAIM_FIELD]
        keys = [Key.from_dict(keyid, dict(key)) for keyid, key in statement["keys"].items()]
        if not isinstance(statement["threshold"], int):
            raise TypeError("the threshold is not a number")
        project = parse_project_name(statement["project"])
        if project != statement["project"]:
            raise ValueError("the project's name is not normalised")
        return Claim(project, tuple(keys), statement["threshold"])
    except VerificationFailed:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, InvalidName) as error:
        raise VerificationFailed(
            "this role does not say whose claim it is", rule="claim-malformed", found=f"{type(error).__name__}: {error}"
        ) from error


def require_claim_signed(envelope: Envelope[Targets], project: ProjectName, authority: Claim | None) -> Claim:
    """The claim that ``envelope`` states, signed by a threshold of its own keys and of ``authority``'s.

    ``authority`` None: nobody claimed the project yet. Raises VerificationFailed.
    """
    stated = stated_claim(envelope.signed)
    if stated.project != project:
        raise VerificationFailed(
            "the role claims another project", subject=project, rule="claim-project", found=stated.project
        )
    if envelope.signed.delegations is not None:
        raise VerificationFailed("a claim's role delegates nothing", subject=stated.role, rule="claim-delegates")
    for claim in (authority, stated):
        if claim is not None:
            require_role_signed(claim.delegator(), claim.role, envelope)
    return stated


# --- the delegating roles -------------------------------------------------------------------------------------


def plan_delegations(
    top: str, claims: Mapping[ProjectName, Claim], keys: Iterable[Key], threshold: int
) -> dict[str, Delegations]:
    """What ``top`` (``claimed`` or ``claimed-new``) and the roles below it delegate, so that it delegates ``claims``.

    ``keys`` and ``threshold`` are those of ``top``. The result depends on the arguments alone, not on their history.
    """
    found: dict[str, Delegations] = {}
    _spread(top, top, "", sorted(claims), 0, claims, {key.keyid: key for key in keys}, threshold, found)
    return found


def _spread(
    top: str,
    role: str,
    prefix: str,
    names: list[ProjectName],
    depth: int,
    claims: Mapping[ProjectName, Claim],
    keys: Mapping[str, Key],
    threshold: int,
    found: dict[str, Delegations],
) -> None:
    here, groups = names, list[list[ProjectName]]()
    if len(names) > MAX_DELEGATIONS and depth < MAX_DEPTH:
        here, groups = _grouped(prefix, names)
    roles = {claims[name].role: claims[name].delegation() for name in here}
    used = {key.keyid: key for name in here for key in claims[name].keys}
    for group in groups:
        start = _common_start(group)
        child = f"{top}_{start}"
        roles[child] = DelegatedRole(
            child, sorted(keys), threshold, terminating=False, paths=[f"packages/{start}*/*/*"]
        )
        used |= keys
        _spread(top, child, start, group, depth + 1, claims, keys, threshold, found)
    found[role] = Delegations(used, roles)


def _grouped(prefix: str, names: list[ProjectName]) -> tuple[list[ProjectName], list[list[ProjectName]]]:
    """The sorted ``names``, which begin with ``prefix``, as names that stand alone and groups with a common start.

    Large groups are divided again as long as all together stay few. The bound is the smallest power of two that allows
    it: one claim more changes the groups seldom.
    """
    bound = MAX_DELEGATIONS
    while len(groups := _divided(prefix, names, bound)) > MAX_DELEGATIONS and bound < len(names):
        bound *= 2
    return [group[0] for group in groups if len(group) == 1], [group for group in groups if len(group) > 1]


def _divided(prefix: str, names: list[ProjectName], bound: int) -> list[list[ProjectName]]:
    by_start: dict[str, list[ProjectName]] = defaultdict(list)
    for name in names:
        by_start[name[: len(prefix) + 1]].append(name)
    found = []
    for group in by_start.values():
        found += [group] if len(group) <= bound else _divided(_common_start(group), group, bound)
    return found


def _common_start(names: list[ProjectName]) -> str:
    """What all of the sorted ``names`` begin with."""
    first, last = names[0], names[-1]
    length = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def claims_in(role: Targets) -> dict[ProjectName, Claim]:
    """The claims that ``role`` itself delegates. Raises VerificationFailed for one that is not as we write it."""
    roles = role.delegations.roles if role.delegations else None
    names = [name.removeprefix(CLAIM_PREFIX) for name in roles or {} if name.startswith(CLAIM_PREFIX)]
    found = {name: claim_in(role, ProjectName(name)) for name in names}
    return {claim.project: claim for claim in found.values() if claim is not None}


def claim_in(role: Targets, project: ProjectName) -> Claim | None:
    """The claim of ``project`` that ``role`` itself delegates, or None. Raises as ``claims_in``."""
    delegations, name = role.delegations, claim_role(project)
    delegated = (delegations.roles or {}).get(name) if delegations else None
    if delegated is None or delegations is None:
        return None
    try:
        keys = tuple(delegations.keys[keyid] for keyid in delegated.keyids)
        claim = Claim(parse_project_name(project), keys, delegated.threshold)
    except (AssayError, KeyError) as error:
        raise VerificationFailed("not a claim", subject=name, rule="claim-malformed", found=str(error)) from error
    if claim.delegation().to_dict() != delegated.to_dict():
        raise VerificationFailed("a claim covers its own project, and all of it", subject=name, rule="claim-paths")
    return claim


def shards_in(role: Targets, top: str) -> list[str]:
    """The roles among which ``role`` spreads the claims of ``top``."""
    roles = role.delegations.roles if role.delegations else None
    return [name for name in roles or {} if name.startswith(f"{top}_")]


def shard_for(role: Targets, top: str, project: ProjectName) -> str | None:
    """The role below ``role`` in which a claim of ``project`` would stand, or None."""
    roles = role.delegations.roles if role.delegations else None
    for name in shards_in(role, top):
        start = name.removeprefix(f"{top}_")
        if project.startswith(start) and (roles or {})[name].paths == [f"packages/{start}*/*/*"]:
            return name
    return None


def is_claiming(role: str, top: str) -> bool:
    """Whether ``role`` is ``top`` or one of those that its claims are spread over."""
    return role == top or role.startswith(f"{top}_")


def with_changed(
    tree: Mapping[str, Delegations],
    published: Mapping[str, Targets],
    listed: Mapping[str, int],
    renewed: Iterable[str],
    expires: datetime,
) -> dict[str, Targets]:
    """The roles of ``tree`` that need a new version: changed since ``published``, or to be ``renewed``.

    ``listed``: role -> newest version that a snapshot ever listed.
    """
    again = set(renewed)
    changed = {}
    for role, delegations in tree.items():
        old = published.get(role)
        same = old is not None and old.delegations is not None and old.delegations.to_dict() == delegations.to_dict()
        if role in again or not same:
            changed[role] = Targets(listed.get(role, 0) + 1, SPEC_VERSION, expires, {}, delegations)
    return changed


def with_claims_delegation(keys: Iterable[Key], threshold: int, top: str) -> tuple[DelegatedRole, dict[str, Key]]:
    """The delegation of ``targets`` to ``top``, and its keys."""
    known = {key.keyid: key for key in keys}
    return DelegatedRole(top, sorted(known), threshold, terminating=False, paths=PACKAGE_PATHS), known


def settled_by(targets: Targets) -> list[str]:
    """The ids of the keys that sign ``claimed``; none where ``targets`` delegates nothing to it."""
    role = (targets.delegations.roles or {}).get(CLAIMED) if targets.delegations else None
    return list(role.keyids) if role else []


def with_revocations(role: Targets, revoked: Mapping[ProjectName, int]) -> Targets:
    """``role`` (``claimed``), saying that claims up to these versions of their roles count no more."""
    if revoked:
        role.unrecognized_fields[REVOKED_FIELD] = {str(project): version for project, version in revoked.items()}
    return role


def revocations_in(role: Targets) -> dict[ProjectName, int]:
    """What ``claimed`` revokes, besides what it does not delegate any more. Raises VerificationFailed."""
    revoked = role.unrecognized_fields.get(REVOKED_FIELD, {})
    try:
        return {parse_project_name(name): int(version) for name, version in revoked.items()}
    except (AttributeError, TypeError, ValueError, InvalidName) as error:
        raise VerificationFailed("revocations cannot be read", rule="claim-malformed", found=str(error)) from error


def custom_of(file: TargetFile) -> dict[str, Any]:
    """``custom`` of a target; empty where it has none."""
    custom = file.unrecognized_fields.get("custom", {})
    return custom if isinstance(custom, dict) else {}
