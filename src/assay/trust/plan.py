"""Plans of new metadata: which roles change, and to what, given what was signed before. Deterministic, nothing signed.

The laws every plan keeps: a path below ``packages/`` never changes its hash; a version goes up by one exactly when the
role's content or lifetime is renewed; an unchanged role is not touched. Same inputs, same bytes: a publication that was
interrupted is planned again to the same result.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
)

from assay.model.digests import Sha256, sha256_of
from assay.model.errors import SignerRefused
from assay.trust.layout import (
    BIN_PREFIX,
    BINNED_PATHS,
    BINS,
    CLAIMED_NEW,
    PACKAGE_PATHS,
    ROOT,
    SNAPSHOT,
    SPEC_VERSION,
    TARGETS,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
)
from assay.trust.lean import LeanSnapshot, LeanTargets, raw_listings, raw_targets

TARGETS_PER_BIN, MIN_BIN_BITS, MAX_BIN_BITS = 600, 8, 15
"""A client of one project loads two bins, and a new one every bin's version: docs/scale.md weighs the two."""


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A target to vouch for: ``length`` in bytes, ``custom`` as TUF's opaque object (JSON: objects, strings, ints)."""

    path: TargetPath
    length: int
    sha256: Sha256
    custom: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What one publication changes. A path stands in one of the two only."""

    new: tuple[NewTarget, ...] = ()
    removed: frozenset[TargetPath] = frozenset()

    def paths(self) -> set[TargetPath]:
        """Every path that changes."""
        return {target.path for target in self.new} | self.removed


# --- the offline roles ----------------------------------------------------------------------------------------


def plan_root(
    keys: Mapping[str, Iterable[Key]], thresholds: Mapping[str, int], version: int, expires: datetime
) -> Root:
    """A root with ``keys`` for each of the four top-level roles."""
    root = Root(version, SPEC_VERSION, expires, consistent_snapshot=True)
    for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP):
        for key in keys[role]:
            root.add_key(key, role)
        root.roles[role].threshold = thresholds.get(role, 1)
    return root


def plan_targets(
    bins_keys: Iterable[Key],
    threshold: int,
    version: int,
    expires: datetime,
    claims_keys: Iterable[Key] = (),
    claims_threshold: int = 1,
) -> Targets:
    """The ``targets`` role: no targets of its own, only delegations in the order of ``layout.SEARCH_ORDER``.

    ``claims_keys`` sign ``claimed-new``, online, with ``claims_threshold``; without any there are no claims.
    """
    keys = {key.keyid: key for key in bins_keys}
    bins = DelegatedRole(BINS, sorted(keys), threshold, terminating=True, paths=BINNED_PATHS)
    claiming = {key.keyid: key for key in claims_keys}
    roles = {BINS: bins}
    if claiming:
        new = DelegatedRole(CLAIMED_NEW, sorted(claiming), claims_threshold, terminating=False, paths=PACKAGE_PATHS)
        roles = {CLAIMED_NEW: new, BINS: bins}
    return Targets(version, SPEC_VERSION, expires, {}, Delegations({**claiming, **keys}, roles))


def plan_bins(bin_keys: Iterable[Key], threshold: int, bit_length: int, version: int, expires: datetime) -> Targets:
    """The ``bins`` role: a succinct delegation (TAP 15) to 2**``bit_length`` bins."""
    keys = {key.keyid: key for key in bin_keys}
    succinct = SuccinctRoles(sorted(keys), threshold, bit_length, BIN_PREFIX)
    return Targets(version, SPEC_VERSION, expires, {}, Delegations(keys, succinct_roles=succinct))


def bin_bits_for(targets: int) -> int:
    """How many bits of bins an index of so many targets wants: none holds much more than ``TARGETS_PER_BIN``."""
    bits = max(0, -(-targets // TARGETS_PER_BIN) - 1).bit_length()
    return min(max(bits, MIN_BIN_BITS), MAX_BIN_BITS)


# --- the online roles -----------------------------------------------------------------------------------------


def succinct_roles(bins: Targets) -> SuccinctRoles:
    """The bins' delegation of a ``bins`` role."""
    if bins.delegations is None or bins.delegations.succinct_roles is None:
        raise SignerRefused("the bins role delegates to no succinct bins", subject=BINS)
    return bins.delegations.succinct_roles


def group_by_bin(changes: Changes, succinct: SuccinctRoles) -> dict[str, Changes]:
    """The part of ``changes`` that each touched bin gets."""
    new: dict[str, list[NewTarget]] = defaultdict(list)
    removed: dict[str, set[TargetPath]] = defaultdict(set)
    for target in changes.new:
        new[succinct.get_role_for_target(target.path)].append(target)
    for path in changes.removed:
        removed[succinct.get_role_for_target(path)].add(path)
    return {role: Changes(tuple(new.get(role, ())), frozenset(removed.get(role, ()))) for role in {*new, *removed}}


def plan_bin(previous: Targets | None, changes: Changes, now: datetime, lifetimes: Lifetimes) -> Targets:
    """The next version of a bin. Raises SignerRefused when a file's path would get a second hash."""
    targets = raw_targets(previous) if previous else {}
    return plan_bin_with(targets, previous.version if previous else 0, changes, now, lifetimes)


def plan_bin_with(
    targets: dict[str, Any], listed: int, changes: Changes, now: datetime, lifetimes: Lifetimes
) -> Targets:
    """The version after ``listed`` of a bin that has ``targets`` (JSON by path, used up here) and gets ``changes``."""
    for path in changes.removed:
        targets.pop(path, None)
    for new in changes.new:
        _require_first_hash(targets.get(new.path), new)
        targets[new.path] = raw_target(new)
    return LeanTargets(listed + 1, SPEC_VERSION, now + lifetimes.bin, targets)


def raw_target(new: NewTarget) -> dict[str, Any]:
    """What a role says of ``new``, as JSON."""
    listed: dict[str, Any] = {"length": new.length, "hashes": {"sha256": new.sha256}}
    return {**listed, "custom": dict(new.custom)} if new.custom else listed


def _require_first_hash(old: dict[str, Any] | None, new: NewTarget) -> None:
    if old is None or not new.path.startswith("packages/"):
        return
    if old["hashes"].get("sha256") != new.sha256 or old["length"] != new.length:
        raise SignerRefused(
            "this path was published with other bytes; one path has one hash, for ever",
            subject=new.path,
            rule="second-hash",
            expected=f"sha256 {old['hashes'].get('sha256')}",
            found=f"sha256 {new.sha256}",
        )


def plan_snapshot(
    previous: Snapshot | None,
    versions: Mapping[str, int],
    now: datetime,
    lifetimes: Lifetimes,
    pins: Mapping[str, bytes] | None = None,
) -> Snapshot:
    """The next snapshot: ``previous`` with the roles of ``versions`` put in. Versions only, no hashes.

    ``pins``: the files of roles that witnesses do not sign and an online role delegates: these are held by their hash.
    """
    meta = raw_listings(previous) if previous else {}
    is_plain = not pins and (previous is None or (isinstance(previous, LeanSnapshot) and previous.is_plain))
    for role, version in versions.items():
        old = meta.get(f"{role}.json")
        if old is not None and version < old["version"]:
            raise SignerRefused(
                "a role's version would go down",
                subject=role,
                rule="rollback",
                expected=str(old["version"]),
                found=str(version),
            )
        pinned = {"hashes": {"sha256": sha256_of(pins[role])}} if pins and role in pins else {}
        meta[f"{role}.json"] = {"version": version, **pinned}
    version = previous.version + 1 if previous else 1
    return LeanSnapshot(version, SPEC_VERSION, now + lifetimes.snapshot, meta, is_plain=is_plain)


def plan_timestamp(
    previous: Timestamp | None, snapshot: bytes, version: int, now: datetime, lifetimes: Lifetimes
) -> Timestamp:
    """The next timestamp, naming the signed ``snapshot`` file of ``version`` by length and hash."""
    meta = MetaFile(version, len(snapshot), {"sha256": hashlib.sha256(snapshot).hexdigest()})
    number = previous.version + 1 if previous else 1
    return Timestamp(number, SPEC_VERSION, now + lifetimes.timestamp, meta)


def renew_at(expires: datetime, lifetime: timedelta) -> datetime:
    """When a signature that ends at ``expires`` is due to be renewed: at half of its life."""
    return expires - lifetime / 2
