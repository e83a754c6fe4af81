"""One candidate before one memory: what clients could reach once it counts, and the laws each role must keep. Pure.

``witness_rule.judge`` asks in its order; nothing here is decided twice. docs/adr/0050-witnesses.md.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from tuf.api.metadata import Root, Snapshot, SuccinctRoles, TargetFile, Targets

from assay.model.digests import Sha256, sha256_of
from assay.model.errors import WitnessRefused
from assay.trust.candidate import Candidate
from assay.trust.envelope import Envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    CLAIMED_NEW,
    ROOT,
    SNAPSHOT,
    TAKEDOWN,
    TARGETS,
    TIMESTAMP,
    TargetPath,
)
from assay.trust.plan import succinct_roles
from assay.trust.update import MAX_VISITED_ROLES
from assay.trust.verify import Delegator, require_role_signed
from assay.trust.witness_laws import (
    belongs_in_bins,
    may_change,
    read_role,
    require_cosignable,
    require_lifetime,
    require_successor,
    second_delegator,
    second_hash,
)
from assay.trust.witness_memory import Identity, Kind, KnownFile, Memory, RuleLimits, Seen

CACHED_ROLES = 512


class Case:
    """One candidate before one memory. ``new``: what was judged so far; ``payloads``: of the bins among it; ``files``:
    the paths that nobody knew before.
    """

    def __init__(
        self,
        memory: Memory,
        candidate: Candidate,
        identity: Identity,
        now: datetime,
        limits: RuleLimits,
        root: Root,
        snapshot: Envelope[Snapshot],
    ) -> None:
        self.memory = memory
        self.candidate = candidate
        self.identity = identity
        self.now = now
        self.limits = limits
        self.root = root
        self.snapshot = snapshot
        self.new: dict[str, Seen] = {}
        self.payloads: dict[str, bytes] = {}
        self.contents: dict[str, Targets] = {}
        self.files: dict[str, KnownFile] = {}
        self.envelope = lru_cache(maxsize=CACHED_ROLES)(self._read)
        self.delegators = self._learn_delegations()
        self._reached: dict[str, bool] = {TARGETS: True}
        bins = BINS in candidate.roles or BINS in memory.roles
        self._succinct = succinct_roles(self.targets(BINS)) if bins else None

    # --- what is known ------------------------------------------------------------------------------------

    def _read(self, role: str) -> Envelope[Targets]:
        return read_role(self.candidate.roles[role], Targets, role, self.limits)

    def targets(self, role: str) -> Targets:
        """The content of ``role`` once the candidate counts."""
        return self.envelope(role).signed if role in self.candidate.roles else self.memory.targets(role)

    @property
    def succinct(self) -> SuccinctRoles:
        """The delegation to the bins."""
        if self._succinct is None:
            raise WitnessRefused("there are no bins", subject=BINS, rule="no-bins")
        return self._succinct

    def is_bin(self, role: str) -> bool:
        """Whether ``role`` is one of the bins."""
        return self._succinct is not None and self._succinct.is_delegated_role(role)

    def unseen(self) -> dict[str, int]:
        """The roles that clients can reach and that neither the candidate brings nor the memory has judged.

        Where one is lacking that delegates, nobody knows what clients can reach: then all that is unknown is lacking.
        """
        known = {role: seen for role, seen in self.memory.roles.items() if seen.kind is not Kind.RETIRED}
        unknown = {}
        for name, meta in self.snapshot.signed.meta.items():
            role = name.removesuffix(".json")
            seen = known.get(role)
            if role not in self.candidate.roles and (seen is None or seen.version < meta.version):
                unknown[role] = meta.version
        lacking = {role: version for role, version in unknown.items() if role == TARGETS or self.is_reachable(role)}
        return lacking if all(map(self.is_bin, lacking)) else unknown

    def changed(self) -> bool:
        """Whether any role is new."""
        return any(self.memory.roles.get(role) != seen for role, seen in self.new.items())

    # --- delegations --------------------------------------------------------------------------------------

    def _learn_delegations(self) -> dict[str, str]:
        """Who delegates whom once the candidate counts. A role has one delegator at a time (threat A18)."""
        brought = self.candidate.roles
        found = {child: above for child, above in self.memory.delegators.items() if above not in brought}
        for role in brought:
            delegations = self.envelope(role).signed.delegations
            for child in (delegations.roles or {}) if delegations else ():
                if child in (ROOT, SNAPSHOT, TIMESTAMP, TARGETS) or found.get(child, role) != role:
                    raise second_delegator(child, found.get(child, ROOT), role)
                found[child] = role
        return found

    def is_reachable(self, role: str) -> bool:
        """Whether clients can come to ``role`` from targets."""
        if self.is_bin(role):
            role = BINS
        if role not in self._reached:
            above = self.delegators.get(role)
            self._reached[role] = False
            self._reached[role] = above is not None and self.is_reachable(above)
        return self._reached[role]

    def _place(self, role: str) -> tuple[Delegator, Kind]:
        """The delegator of ``role``, and who stands behind it."""
        above = ROOT if role == TARGETS else self.delegators.get(role)
        if self.is_bin(role):
            if above is not None:
                raise second_delegator(role, BINS, above)
            return self.targets(BINS), Kind.BIN
        if above is None:
            raise WitnessRefused("nobody delegated this role", subject=role, rule="not-delegated")
        delegator: Delegator = self.root if above == ROOT else self.targets(above)
        if self.identity.own[BIN_PREFIX] in delegator.get_delegated_role(role).keyids:
            return delegator, Kind.SHARED
        return delegator, Kind.PINNED if self._is_online(role) else Kind.OFFLINE

    def _is_online(self, role: str) -> bool:
        """Whether the index alone could sign ``role``, or a role above it."""
        online = {*self.root.roles[TIMESTAMP].keyids, *self.root.roles[SNAPSHOT].keyids, *self.succinct.keyids}
        while role != TARGETS:
            above = self.delegators[role]
            if role == CLAIMED_NEW or online & set(self.targets(above).get_delegated_role(role).keyids):
                return True
            role = above
        return False

    # --- one role -----------------------------------------------------------------------------------------

    def judge_role(self, role: str) -> None:
        """Signatures, version, lifetime and every path of a role that the candidate brings."""
        if not self.is_reachable(role):
            return
        envelope = self.envelope(role)
        delegator, kind = self._place(role)
        pin = sha256_of(envelope.data) if kind is Kind.PINNED else None
        seen = Seen(envelope.signed.version, sha256_of(envelope.payload), kind, pin)
        old = self.memory.roles.get(role)
        require_successor(role, old, seen)
        before = self.memory.targets(role).targets if old is not None and old.kind is not Kind.RETIRED else {}
        if kind.is_cosigned:
            require_cosignable(delegator, role, envelope, self.identity, BIN_PREFIX)
            require_lifetime(role, envelope.signed.expires, self.limits.bin, self.now, self.limits)
            placed = before if old is not None and old.kind is kind and BINS not in self.candidate.roles else {}
            self._judge_places(role, envelope.signed, kind, placed)
            self.payloads[role], self.contents[role] = envelope.payload, envelope.signed
        else:
            require_role_signed(delegator, role, envelope)
        for path, target in envelope.signed.targets.items():
            if before.get(path) != target:
                self._require_known_bytes(role, path, target)
        self.new[role] = seen

    def _judge_places(self, role: str, signed: Targets, kind: Kind, before: Mapping[str, TargetFile]) -> None:
        """A bin holds its own paths and delegates nothing; what delegates claims holds none."""
        if kind is Kind.BIN and signed.delegations is not None:
            raise WitnessRefused("a bin would delegate", subject=role, rule="bin-delegates")
        for path in signed.targets:
            if path in before:
                continue
            own = kind is Kind.BIN and belongs_in_bins(path) and self.succinct.get_role_for_target(path) == role
            if not own:
                raise WitnessRefused(
                    "this path does not belong in this role", subject=path, rule="wrong-bin", found=role
                )

    def _require_known_bytes(self, role: str, path: str, target: TargetFile) -> None:
        if "sha256" not in target.hashes:
            raise WitnessRefused("no SHA-256 for this target", subject=path, rule="malformed", found=role)
        if may_change(path):
            return
        found = KnownFile(target.length, Sha256(target.hashes["sha256"]))
        known = self.memory.file(path) or self.files.setdefault(path, found)
        if known != found:
            raise second_hash(path, (known.length, known.sha256), (found.length, found.sha256), role)

    # --- everything together ------------------------------------------------------------------------------

    def retire(self) -> None:
        """What the snapshot lists and nobody delegates says nothing to anybody; only its version is remembered."""
        for name, meta in self.snapshot.signed.meta.items():
            role = name.removesuffix(".json")
            if role not in self.new and role not in self.memory.roles:
                self.new[role] = Seen(meta.version, sha256_of(b""), Kind.RETIRED)

    def judge_departures(self) -> None:
        """Every path that stood in a bin is found by clients with the same bytes, or is gone by a recorded decision."""
        for role, seen in self.memory.roles.items():
            if seen.kind is Kind.BIN and (role in self.new or not self.is_bin(role)):
                before = self.memory.targets(role).targets
                after = self.targets(role).targets if self.is_bin(role) else {}
                for path in before.keys() - after.keys():
                    self._require_departure(TargetPath(path), before[path], role)

    def _require_departure(self, path: TargetPath, was: TargetFile, role: str) -> None:
        if self.candidate.removed.get(path) == was.hashes["sha256"]:
            return
        found = self._look_up(path)
        if found is _TAKEN_DOWN:
            return
        if found is None or (found.length, found.hashes.get("sha256")) != (was.length, was.hashes["sha256"]):
            raise WitnessRefused(
                "this path would leave the online bins, and clients would not find its bytes elsewhere",
                subject=path,
                rule="path-vanished",
                expected=f"a seal with sha256 {was.hashes['sha256']}, or a recorded removal",
                found=f"sha256 {found.hashes.get('sha256')}" if found else f"nothing in the place of {role}",
            )

    def _look_up(self, path: TargetPath) -> TargetFile | None:
        """What a client finds at ``path`` once the candidate counts: pre-order, first match (TUF 1.0.34, 5.6.7)."""
        pending, visited = [TARGETS], 0
        while pending and visited < MAX_VISITED_ROLES:
            role = pending.pop()
            visited += 1
            body = self.targets(role)
            if path in body.targets:
                return body.targets[path]
            if role == TAKEDOWN:
                return _TAKEN_DOWN
            children: list[str] = []
            for child, terminating in body.delegations.get_roles_for_target(path) if body.delegations else ():
                children.append(child)
                if terminating:
                    pending.clear()
                    break
            pending.extend(child for child in reversed(children) if self._exists(child))
        return None

    def _exists(self, role: str) -> bool:
        return role in self.candidate.roles or role in self.memory.roles

    def judge_listing(self) -> None:
        """The snapshot lists exactly what was accepted: nothing vanished, nothing older, pins where they are due."""
        meta = self.snapshot.signed.meta
        now_seen = {**self.memory.roles, **self.new}
        for role, seen in now_seen.items():
            listed = meta.get(f"{role}.json")
            if listed is None:
                raise WitnessRefused("a role would vanish from the snapshot", subject=role, rule="role-vanished")
            if listed.version != seen.version:
                raise WitnessRefused(
                    "the snapshot lists another version than the one that is known",
                    subject=role,
                    rule="rollback" if listed.version < seen.version else "listing",
                    expected=f"version {seen.version}",
                    found=f"version {listed.version}",
                )
            if seen.kind is Kind.PINNED and (listed.hashes or {}).get("sha256") != seen.pin:
                raise WitnessRefused(
                    "the index alone signs this role, and the snapshot does not pin its file",
                    subject=role,
                    rule="unpinned-role",
                    expected=f"sha256 {seen.pin} in the snapshot",
                    found=str((listed.hashes or {}).get("sha256")),
                )


_TAKEN_DOWN = TargetFile(0, {"sha256": "0" * 64}, "taken down")
"""Stands for a path whose search ends at the takedown role."""
