"""The publication to go back to: found by its snapshot's version or by a time, verified, read from copies first."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from tuf.api.metadata import Root, Snapshot, SuccinctRoles, Targets

from assay.index.published import PublishedStore
from assay.index.signer.state import newest_root
from assay.model.errors import AssayError, CallerError, VerificationFailed
from assay.trust.claims import CLAIM_PREFIX, is_claiming
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, CLAIMED_NEW, ROOT, SNAPSHOT, TARGETS, metadata_path
from assay.trust.plan import succinct_roles
from assay.trust.verify import require_role_signed

MAX_SANE_VERSION: Final = 2**31
"""A version from here on is a thief's, sent to the sky: numbers do not go on from it."""
_FILE = re.compile(r"([1-9][0-9]{0,18})\.(.+)\.json\Z")


@dataclass(slots=True)
class Evidence:
    """Where the past is read from: ``copies`` that were elsewhere, first, and the ``local`` store that was broken into.

    ``rewritten``: names of local files that are not what a copy has. ``snapshots``: version -> file that somebody kept.
    """

    local: PublishedStore
    copies: Sequence[PublishedStore] = ()
    snapshots: Mapping[int, bytes] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)

    def read(self, name: str) -> bytes | None:
        """The file of that name, from a copy where one has it."""
        here = self.local.read(name)
        for copy in self.copies:
            kept = copy.read(name)
            if kept is not None:
                return self._prefer(name, kept, here)
        return here

    def snapshot(self, version: int) -> bytes | None:
        """The file of a snapshot, from whoever kept it."""
        name = metadata_path(SNAPSHOT, version)
        kept = self.snapshots.get(version)
        return self._prefer(name, kept, self.local.read(name)) if kept is not None else self.read(name)

    def _prefer(self, name: str, kept: bytes, here: bytes | None) -> bytes:
        if here is not None and here != kept:
            self.rewritten.append(name)
        return kept


@dataclass(frozen=True, slots=True)
class Good:
    """A verified publication, and the offline roles that count now. ``made``: when it was signed."""

    root: Root
    targets: Targets
    bins: Targets
    snapshot: Snapshot
    made: datetime

    @property
    def succinct(self) -> SuccinctRoles:
        """The delegation to the bins."""
        return succinct_roles(self.bins)

    def version(self, role: str) -> int | None:
        """Which version of ``role`` it lists."""
        listed = self.snapshot.meta.get(f"{role}.json")
        return listed.version if listed else None


def highest_versions(published: PublishedStore) -> dict[str, int]:
    """Role -> the highest version that lies in the store, as far as versions are sane."""
    found: dict[str, int] = {}
    for path in published.path("tuf").iterdir():
        match = _FILE.match(path.name)
        if match and (version := int(match[1])) < MAX_SANE_VERSION:
            found[match[2]] = max(found.get(match[2], 0), version)
    return found


def find_good(evidence: Evidence, wanted: int | datetime, highest: Mapping[str, int], lifetime: timedelta) -> Good:
    """The publication whose snapshot has the version ``wanted``, or the newest made at that time or before.

    ``lifetime``: of a snapshot. Raises CallerError when there is none, VerificationFailed when it is not genuine.
    """
    root = parse_envelope(newest_root(evidence.local), Root, ROOT).signed
    targets = _offline(evidence, highest, TARGETS, root)
    bins = _offline(evidence, highest, BINS, targets)
    if isinstance(wanted, int):
        snapshot = _snapshot(evidence, root, wanted)
        if snapshot is None:
            raise CallerError(
                "no snapshot of this version is here, nor in a copy", subject=str(wanted), next_step="say --copy FOLDER"
            )
        return Good(root, targets, bins, snapshot, snapshot.expires - lifetime)
    for snapshot in _snapshots(evidence, root, highest.get(SNAPSHOT, 0)):
        if snapshot.expires - lifetime <= wanted:
            return Good(root, targets, bins, snapshot, snapshot.expires - lifetime)
    raise CallerError("no publication of that time or before is here", subject=f"{wanted:%Y-%m-%d %H:%M} UTC")


def read_bin(evidence: Evidence, good: Good, role: str) -> Targets:
    """A bin as ``good`` lists it. Raises VerificationFailed when it is gone or nobody's."""
    version = good.version(role)
    data = evidence.read(metadata_path(role, version)) if version is not None else None
    if version is None or data is None:
        raise VerificationFailed(
            "a bin of the good publication is gone",
            subject=role,
            rule="role-gone",
            next_step="say --copy FOLDER: a backup's or a mirror's published folder",
        )
    envelope = parse_envelope(data, Targets, role)
    require_role_signed(good.bins, role, envelope)
    if envelope.signed.version != version:
        raise VerificationFailed("another version than its name says", subject=role, rule="metadata-version")
    return envelope.signed


def offline_versions(evidence: Evidence, good: Good, highest: Mapping[str, int]) -> dict[str, int]:
    """The newest genuine version of every role that offline keys vouch for, below ``targets`` too."""
    found = {TARGETS: good.targets.version, BINS: good.bins.version}
    waiting: list[Targets] = [good.targets]
    while waiting:
        delegator = waiting.pop()
        for role in (delegator.delegations.roles if delegator.delegations else None) or {}:
            if role != BINS and not is_claiming(role, CLAIMED_NEW) and not role.startswith(CLAIM_PREFIX):
                signed = _offline(evidence, highest, role, delegator)
                found[role] = signed.version
                waiting.append(signed)
    return found


def _snapshots(evidence: Evidence, root: Root, highest: int) -> Iterator[Snapshot]:
    """Every genuine snapshot that is here, the newest first."""
    for version in range(highest, 0, -1):
        try:
            snapshot = _snapshot(evidence, root, version)
        except VerificationFailed:
            continue
        if snapshot is not None:
            yield snapshot


def _snapshot(evidence: Evidence, root: Root, version: int) -> Snapshot | None:
    data = evidence.snapshot(version)
    if data is None:
        return None
    envelope = parse_envelope(data, Snapshot, SNAPSHOT)
    require_role_signed(root, SNAPSHOT, envelope)
    if envelope.signed.version != version:
        raise VerificationFailed("another version than its name says", subject=SNAPSHOT, rule="metadata-version")
    return envelope.signed


def _offline(evidence: Evidence, highest: Mapping[str, int], role: str, delegator: Root | Targets) -> Targets:
    """The newest genuine version of an offline role: its keys were not on the machine."""
    for version in range(highest.get(role, 0), 0, -1):
        data = evidence.read(metadata_path(role, version))
        if data is None:
            continue
        try:
            envelope = parse_envelope(data, Targets, role)
            require_role_signed(delegator, role, envelope)
        except AssayError:
            continue
        if envelope.signed.version == version:
            return envelope.signed
    raise VerificationFailed("no genuine version of this role is here", subject=role, rule="role-gone")
