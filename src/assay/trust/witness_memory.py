"""What a witness remembers, and the evidence that a publication may follow it. Types only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Protocol

from tuf.api.metadata import Root, Snapshot, Targets

from assay.model.digests import Sha256
from assay.trust.candidate import Stamp
from assay.trust.envelope import Envelope
from assay.trust.layout import RoleLimits, TargetPath
from assay.trust.log.checkpoint import LogIdentity


class Kind(Enum):
    """Who stands behind a role. ``BIN`` and ``SHARED`` (what delegates new claims) are co-signed by witnesses.

    ``OFFLINE``: reached from the root over offline keys alone. ``PINNED``: below an online role, signed by whomever
    that one names, and held by its hash in the snapshot. ``RETIRED``: listed, and delegated by nobody.
    """

    OFFLINE = "offline"
    BIN = "bin"
    SHARED = "shared"
    PINNED = "pinned"
    RETIRED = "retired"

    @property
    def is_cosigned(self) -> bool:
        """Whether witnesses sign it."""
        return self in (Kind.BIN, Kind.SHARED)


@dataclass(frozen=True, slots=True)
class Seen:
    """A role as it was last accepted. ``payload``: sha256 of the signed bytes; ``pin``: of the file, where pinned."""

    version: int
    payload: Sha256
    kind: Kind
    pin: Sha256 | None = None


@dataclass(frozen=True, slots=True)
class KnownFile:
    """The bytes of a path, as first accepted; ``length`` in bytes."""

    length: int
    sha256: Sha256


class Memory(Protocol):
    """What a witness accepted so far. An implementation reads nothing but the witness's own store."""

    @property
    def fingerprint(self) -> Sha256:
        """The sha256 of the first root's file, as the witness's operator pinned it."""

    @property
    def root(self) -> bytes | None:
        """The newest root that was accepted."""

    @property
    def roles(self) -> Mapping[str, Seen]:
        """Every role that was accepted, but for root, snapshot and timestamp."""

    @property
    def snapshot(self) -> Seen | None:
        """The newest snapshot."""

    @property
    def stamp(self) -> Stamp | None:
        """The newest timestamp."""

    @property
    def delegators(self) -> Mapping[str, str]:
        """Delegated role -> the role that delegates it; bins are not listed."""

    def targets(self, role: str) -> Targets:
        """The accepted content of ``role``."""

    def file(self, path: str) -> KnownFile | None:
        """What is known of ``path`` from all roles that were ever accepted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose signatures are whose. ``own``: key name (``timestamp``, ``snapshot``, ``bin``) -> this witness's key id.

    ``peers``: key ids of the other witnesses. The one key of an online role that is left is the index's.
    """

    own: Mapping[str, str]
    peers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RuleLimits:
    """How far things may be dated. ``past``: how long after its expiry an interrupted publication may be finished."""

    timestamp: timedelta = timedelta(days=1)
    bin: timedelta = timedelta(days=30)
    tolerance: timedelta = timedelta(minutes=5)
    past: timedelta = timedelta(days=7)
    roles: RoleLimits = field(default_factory=RoleLimits)


@dataclass(frozen=True, slots=True)
class Approval:
    """Evidence that a candidate keeps the rule. Only ``judge`` makes one, and only with one may a witness sign.

    ``payloads``: role -> the bytes to co-sign (changed online roles and the snapshot); ``contents``: these roles, read.
    ``accepted`` (roles), ``files`` (paths that nobody knew) and the rest are to be remembered, durably, before any
    signature leaves the house. ``view``: digest of everything that clients of this snapshot can reach; witnesses that
    agree have the same. ``repeats``: nothing of it is new.
    """

    root: Root
    roots: tuple[Envelope[Root], ...]
    accepted: Mapping[str, Seen]
    files: Mapping[str, KnownFile]
    delegators: Mapping[str, str]
    snapshot: Envelope[Snapshot]
    seen_snapshot: Seen
    stamp: Stamp
    log: LogIdentity | None
    removed: Mapping[TargetPath, Sha256]
    payloads: Mapping[str, bytes]
    contents: Mapping[str, Targets]
    thresholds: Mapping[str, int]
    view: Sha256
    repeats: bool


def quorum_advice(witnesses: int, needed: int) -> list[str]:
    """What to think about where ``needed`` of ``witnesses`` must co-sign; nothing for the usual three, of which two.

    Two sets of ``needed`` share a witness only when twice as many as ``needed`` are more than there are.
    """
    advice = []
    if witnesses and 2 * needed <= witnesses:
        advice.append(
            f"{needed} of {witnesses} witnesses: whoever takes the index and keeps them from reaching each other can "
            "show two futures; three witnesses of which two must sign leave nothing (--witnesses-needed 2)"
        )
    if witnesses and needed == witnesses:
        advice.append(
            f"{needed} of {witnesses} witnesses: while one is down, nothing is published; three of which two must sign "
            "bear that"
        )
    return advice
