"""An honest index in memory and a witness on disk; an attacker changes what the index says where the row says so.

The index is built with the product's own plans; the witness is the product's own rule, keys and store.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Snapshot, Targets, Timestamp

from assay.model.digests import Sha256, sha256_of
from assay.trust.candidate import Candidate, Cosignatures, Lacking, stamp_of
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BIN_PREFIX, BINS, ONLINE_ROLES, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Lifetimes, TargetPath
from assay.trust.log.identity import LOG
from assay.trust.plan import (
    Changes,
    NewTarget,
    group_by_bin,
    plan_bin,
    plan_bins,
    plan_root,
    plan_snapshot,
    plan_targets,
    plan_timestamp,
    succinct_roles,
)
from assay.trust.seal import SealedFile, in_groups, plan_seal, seal_bits, seals_of, seals_to_merge, with_seal
from assay.trust.witness_memory import Approval, Identity, RuleLimits
from assay.trust.witness_rule import judge
from assay.witness.keys import PublicKeys, WitnessKeys
from assay.witness.store import WitnessStore

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIFETIMES = Lifetimes()
OFFLINE = {role: CryptoSigner.generate_ed25519() for role in (ROOT, TARGETS, BINS)}
INDEX = {role: CryptoSigner.generate_ed25519() for role in ONLINE_ROLES}
THIEF = CryptoSigner.generate_ed25519()


def witness_keys(name: str) -> WitnessKeys:
    """The keys of a new witness."""
    signers = {role: CryptoSigner.generate_ed25519() for role in (*ONLINE_ROLES, LOG)}
    return WitnessKeys(PublicKeys(name, {role: signer.public_key for role, signer in signers.items()}), signers)


W1, W2 = witness_keys("w1"), witness_keys("w2")


def page(project: str) -> TargetPath:
    """The path of a project's page."""
    return TargetPath(f"simple/{project}/index.json")


def package(project: str, version: str) -> TargetPath:
    """The path of a project's wheel."""
    return TargetPath(f"packages/{project}/{version}/{project}-{version}-py3-none-any.whl")


def target(path: str, content: bytes) -> NewTarget:
    """A target of ``content``."""
    return NewTarget(TargetPath(path), len(content), sha256_of(content))


@dataclass
class Index:
    """The state of the index; ``candidate`` is its next publication, ``publish`` makes it count."""

    witnesses: tuple[WitnessKeys, ...] = (W1, W2)
    threshold: int = 2
    now: datetime = NOW
    bits: int = 2
    roles: dict[str, Targets] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    root: bytes = b""
    snapshot: Snapshot | None = None
    timestamp: Timestamp | None = None
    fresh: set[str] = field(default_factory=set)
    seals: int = 0
    own: dict[str, CryptoSigner] = field(default_factory=lambda: dict(INDEX))
    later_roots: list[bytes] = field(default_factory=list)
    pins: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys: dict[str, list[Key]] = {role: [OFFLINE[role].public_key] for role in (ROOT, TARGETS)}
        keys |= {role: self.online_keys(role) for role in (SNAPSHOT, TIMESTAMP)}
        thresholds = {SNAPSHOT: self.threshold, TIMESTAMP: self.threshold}
        self.root = sign_envelope(plan_root(keys, thresholds, 1, self.now + LIFETIMES.root), [OFFLINE[ROOT]])
        bins = plan_bins(self.online_keys(BIN_PREFIX), self.threshold, self.bits, 1, self.now + LIFETIMES.bins)
        targets = plan_targets([OFFLINE[BINS].public_key], 1, 1, self.now + LIFETIMES.targets)
        self.put(TARGETS, targets, OFFLINE[TARGETS])
        self.put(BINS, bins, OFFLINE[BINS])
        for name in succinct_roles(bins).get_roles():
            self.put(name, plan_bin(None, Changes(), self.now, LIFETIMES), self.own[BIN_PREFIX])

    def online_keys(self, role: str) -> list[Key]:
        """The keys of an online role: the index's and each witness's."""
        return [self.own[role].public_key, *(keys.signers[role].public_key for keys in self.witnesses)]

    def put(self, role: str, signed: Targets, *signers: CryptoSigner) -> None:
        """Make ``signed`` the newest content of ``role``."""
        self.roles[role] = signed
        self.files[role] = sign_envelope(signed, signers)
        self.fresh.add(role)

    def change(self, *new: NewTarget, removed: frozenset[TargetPath] = frozenset()) -> None:
        """Put targets into their bins, or take them out."""
        for name, changes in group_by_bin(Changes(new, removed), succinct_roles(self.roles[BINS])).items():
            self.put(name, plan_bin(self.roles[name], changes, self.now, LIFETIMES), self.own[BIN_PREFIX])

    def renew(self, role: str) -> None:
        """Sign a bin again."""
        self.put(role, plan_bin(self.roles[role], Changes(), self.now, LIFETIMES), self.own[BIN_PREFIX])

    def bins(self) -> list[str]:
        """The names of all bins."""
        return list(succinct_roles(self.roles[BINS]).get_roles())

    def bin_of(self, path: str) -> str:
        """The bin of a path."""
        return succinct_roles(self.roles[BINS]).get_role_for_target(path)

    def online(self) -> dict[str, tuple[str, int]]:
        """Every file in the bins: path -> sha256 and length."""
        return {
            path: (file.hashes["sha256"], file.length)
            for name in self.bins()
            for path, file in self.roles[name].targets.items()
            if path.startswith("packages/")
        }

    def seal(self, *, content: Mapping[str, bytes] | None = None) -> None:
        """Seal every file that is in the bins, and take it out of them. ``content`` lies about some."""
        merged = seals_to_merge(seals_of(self.roles[TARGETS]))
        files = [SealedFile(TargetPath(path), length, Sha256(sha)) for path, (sha, length) in self.online().items()]
        leaving = frozenset(file.path for file in files)
        known = {file.path for file in files}
        files += [file for file in self.sealed(*merged) if file.path not in known]
        for path, data in (content or {}).items():
            files = [file for file in files if file.path != path]
            files.append(SealedFile(TargetPath(path), len(data), sha256_of(data)))
        onetime = CryptoSigner.generate_ed25519()
        number = self.seals + 1
        bits = seal_bits(len(files))
        for role, signed in plan_seal(number, bits, in_groups(files, bits), onetime.public_key, self.now, LIFETIMES):
            self.put(role, signed, onetime)
        self.seals = number
        expires = self.now + LIFETIMES.targets
        targets = with_seal(self.roles[TARGETS], number, onetime.public_key, merged, expires)
        self.put(TARGETS, targets, OFFLINE[TARGETS])
        self.change(removed=leaving)

    def sealed(self, *seals: str) -> list[SealedFile]:
        """Every file that is in one of ``seals``."""
        return [
            SealedFile(TargetPath(path), file.length, Sha256(file.hashes["sha256"]))
            for name, role in self.roles.items()
            if any(name.startswith(f"{seal}-") for seal in seals)
            for path, file in role.targets.items()
        ]

    def candidate(
        self,
        *,
        removed: Mapping[TargetPath, Sha256] | None = None,
        edit_snapshot: Callable[[Snapshot], object] | None = None,
        signer: CryptoSigner | None = None,
    ) -> Candidate:
        """The next publication, signed by the index."""
        versions = {name: role.version for name, role in self.roles.items()}
        snapshot = plan_snapshot(self.snapshot, versions, self.now, LIFETIMES, self.pins)
        if edit_snapshot is not None:
            edit_snapshot(snapshot)
        data = sign_envelope(snapshot, [signer or self.own[SNAPSHOT]])
        timestamp = plan_timestamp(self.timestamp, data, snapshot.version, self.now, LIFETIMES)
        return Candidate(
            root_version=1 + len(self.later_roots),
            roots=(self.root,) if self.snapshot is None else tuple(self.later_roots),
            roles={name: self.files[name] for name in sorted(self.fresh)},
            snapshot=data,
            stamp=stamp_of(timestamp),
            removed=removed or {},
        )

    def publish(self, candidate: Candidate) -> None:
        """Make ``candidate`` the newest publication."""
        self.snapshot = _read_snapshot(candidate.snapshot)
        stamp = candidate.stamp
        self.timestamp = plan_timestamp(None, candidate.snapshot, self.snapshot.version, self.now, LIFETIMES)
        self.timestamp.version = stamp.version
        self.fresh = set()

    def tick(self, **span: float) -> None:
        """Time goes on."""
        self.now += timedelta(**span)


def _read_snapshot(data: bytes) -> Snapshot:
    from assay.trust.envelope import parse_envelope

    return parse_envelope(data, Snapshot, SNAPSHOT).signed


@dataclass
class Judge:
    """One witness's rule and memory, without the network."""

    keys: WitnessKeys
    store: WitnessStore
    index: Index
    peers: frozenset[str] = frozenset()
    limits: RuleLimits = field(default_factory=RuleLimits)

    @classmethod
    def beside(
        cls, index: Index, folder: Path, keys: WitnessKeys = W1, *, peers: frozenset[str] | None = None
    ) -> "Judge":
        """A new witness of ``index`` with its memory in ``folder``."""
        if peers is None:
            others = [other for other in index.witnesses if other is not keys]
            peers = frozenset(keyid for other in others for keyid in other.public.keyids().values())
        store = WitnessStore.create(folder / f"{keys.public.name}.db", sha256_of(index.root))
        return cls(keys, store, index, peers)

    def look(self, candidate: Candidate) -> Approval | Lacking:
        """The rule's verdict, remembered by nobody."""
        identity = Identity(self.keys.public.keyids(), self.peers)
        return judge(self.store, candidate, identity, self.index.now, self.limits)

    def sign(self, candidate: Candidate) -> Cosignatures:
        """Judge, remember, sign. Raises what the rule raises."""
        approval = self.look(candidate)
        assert isinstance(approval, Approval), approval
        signed = self.keys.cosign(approval, candidate, self.index.now)
        if not approval.repeats:
            self.store.remember(approval, signed.files, signed.snapshot, self.index.now)
        return signed.answer


def published(index: Index, *judges: Judge, removed: Mapping[TargetPath, Sha256] | None = None) -> Candidate:
    """Everybody co-signs the next publication, and it counts."""
    candidate = index.candidate(removed=removed)
    for each in judges:
        each.sign(candidate)
    index.publish(candidate)
    return candidate


def with_roles(candidate: Candidate, **roles: bytes) -> Candidate:
    """``candidate`` with other files of some roles."""
    return replace(candidate, roles={**candidate.roles, **roles})
