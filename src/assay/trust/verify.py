"""The trusted metadata of one index at one moment: the order of loading and every check, with no I/O and no clock.

Invariants: a role is kept only after its own delegator vouched for it with threshold signatures; versions never go
down; a delegated role has one delegator for ever (reached through a second one it is refused, which is stricter than
TUF 1.0.34 section 5.6.7); nothing is loaded before what it depends on. The signer's self-check and the client run this
same code; python-tuf's ``ngclient`` is its oracle in tests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuf.api.exceptions import LengthOrHashMismatchError, UnsignedMetadataError
from tuf.api.metadata import MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import AssayError, NotFresh, VerificationFailed
from assay.trust.envelope import Envelope, T, parse_envelope
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP, RoleLimits, TargetPath
from assay.trust.lean import raw_listings
from assay.trust.successor import read_successor

Delegator = Root | Targets


@dataclass(frozen=True, slots=True)
class VerifiedTarget:
    """What trusted metadata says of one target. Only ``TrustedMetadata.target`` makes one."""

    path: TargetPath
    length: int
    sha256: Sha256
    custom: Mapping[str, Any]
    role: str


class TrustedMetadata:
    """Metadata verified from a trusted root on, as of ``now`` (UTC).

    Load in this order: root (in the constructor), newer roots, timestamp, snapshot, targets, delegated roles. Every
    method takes a file's bytes and raises VerificationFailed or NotFresh, leaving what was trusted before untouched.
    ``assumed``: key ids whose signatures are still to come; only a signer passes them, for a draft nobody sees yet.
    ``after``: what was trusted before, under the same root: nothing older than its timestamp and snapshot is taken.
    """

    def __init__(
        self,
        root: bytes,
        *,
        now: datetime,
        limits: RoleLimits | None = None,
        assumed: frozenset[str] = frozenset(),
        after: "TrustedMetadata | None" = None,
    ) -> None:
        self.now = now
        self._assumed = assumed
        self.limits = limits or RoleLimits()
        self.timestamp: Timestamp | None = None
        self.snapshot: Snapshot | None = None
        self._roles: dict[str, Targets] = {}
        self._delegator_of: dict[str, str] = {}
        envelope = self._parse(root, Root, ROOT)
        require_role_signed(envelope.signed, ROOT, envelope)
        self.root = envelope.signed
        self._floor: Snapshot | None = None
        if after is not None:
            if after.root != self.root:
                raise RuntimeError("trust goes on under the same root")
            self.timestamp, self._floor = after.timestamp, after.snapshot

    # --- loading ----------------------------------------------------------------------------------------------

    def update_root(self, data: bytes) -> None:
        """Take the next root: signed by the old and by the new one, version exactly one more (5.3)."""
        if self.timestamp is not None:
            raise RuntimeError("root is updated before timestamp")
        envelope = self._parse(data, Root, ROOT)
        require_role_signed(self.root, ROOT, envelope)
        if envelope.signed.version != self.root.version + 1:
            raise _version_error(ROOT, self.root.version + 1, envelope.signed.version)
        require_role_signed(envelope.signed, ROOT, envelope)
        self.root = envelope.signed

    def update_timestamp(self, data: bytes) -> bool:
        """Take a timestamp; False when it is the version already trusted, which is then kept (5.4)."""
        if self.snapshot is not None:
            raise RuntimeError("timestamp is updated before snapshot")
        self._require_fresh(self.root, ROOT)
        envelope = self._parse(data, Timestamp, TIMESTAMP)
        require_role_signed(self.root, TIMESTAMP, envelope, self._assumed)
        new, old = envelope.signed, self.timestamp
        if old is not None:
            if new.version < old.version:
                raise _rollback(TIMESTAMP, old.version, new.version)
            if new.version == old.version:
                return False
            if new.snapshot_meta.version < old.snapshot_meta.version:
                raise _rollback(SNAPSHOT, old.snapshot_meta.version, new.snapshot_meta.version)
        self.timestamp = new
        return True

    def require_fresh_timestamp(self) -> None:
        """Raise NotFresh unless the trusted timestamp is valid now (5.4.4)."""
        self._require_fresh(self._trusted_timestamp(), TIMESTAMP)

    def update_snapshot(self, data: bytes, *, already_trusted: bool = False) -> None:
        """Take the snapshot that the timestamp names; ``already_trusted`` for a local copy that may be older (5.5)."""
        if self._roles:
            raise RuntimeError("snapshot is updated before targets")
        meta = self._trusted_timestamp().snapshot_meta
        if not already_trusted:
            self.require_fresh_timestamp()
            _require_hashes(meta, data, SNAPSHOT)
        floor = self.snapshot or self._floor
        small = len(data) <= self.limits.snapshot
        successor = read_successor(data, floor) if floor is not None and small else None
        envelope = successor or self._parse(data, Snapshot, SNAPSHOT)
        require_role_signed(self.root, SNAPSHOT, envelope, self._assumed)
        if not already_trusted and envelope.signed.version != meta.version:
            raise _version_error(SNAPSHOT, meta.version, envelope.signed.version)
        if floor is not None and successor is None:
            _require_no_rollback(floor, envelope.signed)
        self.snapshot = envelope.signed

    def snapshot_is_current(self) -> bool:
        """True when the trusted snapshot is the one that the timestamp names."""
        wanted = self._trusted_timestamp().snapshot_meta.version
        return self.snapshot is not None and self.snapshot.version == wanted

    def update_targets(self, data: bytes, role: str, delegator: str) -> Targets:
        """Take ``targets`` (delegator ``root``) or a role of ``delegator``'s, as the snapshot lists it (5.6)."""
        meta = self.role_meta(role)
        self._require_single_delegator(role, delegator)
        _require_hashes(meta, data, role)
        envelope = self._parse(data, Targets, role)
        require_role_signed(self._delegator(delegator), role, envelope, self._assumed)
        if envelope.signed.version != meta.version:
            raise _version_error(role, meta.version, envelope.signed.version)
        self._require_fresh(envelope.signed, role)
        self._roles[role] = envelope.signed
        self._delegator_of[role] = delegator
        return envelope.signed

    # --- asking -----------------------------------------------------------------------------------------------

    def role(self, role: str, delegator: str) -> Targets | None:
        """The trusted role, or None when it is not loaded. Raises when it is loaded through another delegator."""
        if role in self._roles:
            self._require_single_delegator(role, delegator)
        return self._roles.get(role)

    def require(self, role: str) -> Targets:
        """The trusted role, which must be loaded."""
        return self._roles[role]

    def forget(self, role: str) -> None:
        """Let a delegated role go, for whoever walks through more roles than memory holds. Its delegator stays."""
        self._roles.pop(role, None)

    def trim(self, most: int, prefix: str) -> None:
        """Let every delegated role called ``prefix...`` go, once more than ``most`` roles are held."""
        if len(self._roles) > most:
            self._roles = {role: signed for role, signed in self._roles.items() if not role.startswith(prefix)}

    def role_meta(self, role: str) -> MetaFile:
        """What the current snapshot says of ``role``'s file. Raises when it is not listed or freshness is gone."""
        if self.snapshot is None or not self.snapshot_is_current():
            raise NotFresh("the snapshot is not the one that the timestamp names", rule="snapshot-not-current")
        self._require_fresh(self.snapshot, SNAPSHOT)
        meta = self.snapshot.meta.get(f"{role}.json")
        if meta is None:
            raise VerificationFailed("the snapshot does not list this role", subject=role, rule="role-missing")
        return meta

    def delegations(self, role: str, path: TargetPath) -> Iterator[tuple[str, bool]]:
        """The roles that ``role`` delegates ``path`` to, in order, each with whether it terminates the search."""
        delegations = self._roles[role].delegations
        return iter(delegations.get_roles_for_target(path)) if delegations else iter(())

    def target(self, role: str, path: TargetPath) -> VerifiedTarget | None:
        """What the loaded ``role`` itself says of ``path``."""
        file: TargetFile | None = self._roles[role].targets.get(path)
        if file is None:
            return None
        if "sha256" not in file.hashes:
            raise VerificationFailed("no SHA-256 for this target", subject=path, rule="malformed")
        custom = file.unrecognized_fields.get("custom", {})
        if not isinstance(custom, dict):
            raise VerificationFailed("custom is not an object", subject=path, rule="malformed")
        try:
            sha256 = parse_sha256(file.hashes["sha256"])
        except AssayError as error:
            raise VerificationFailed("no SHA-256 for this target", subject=path, rule="malformed") from error
        return VerifiedTarget(path, file.length, sha256, custom, role)

    # --- checks -----------------------------------------------------------------------------------------------

    def _parse(self, data: bytes, kind: type[T], role: str) -> Envelope[T]:
        limit = self.limits.for_role(role)
        if len(data) > limit:
            raise VerificationFailed(
                "metadata is larger than its role may be",
                subject=role,
                rule="metadata-too-large",
                expected=f"at most {limit} bytes",
                found=f"{len(data)} bytes",
            )
        return parse_envelope(data, kind, role)

    def _trusted_timestamp(self) -> Timestamp:
        if self.timestamp is None:
            raise RuntimeError("no timestamp is trusted yet")
        return self.timestamp

    def _delegator(self, role: str) -> Delegator:
        return self.root if role == ROOT else self._roles[role]

    def _require_single_delegator(self, role: str, delegator: str) -> None:
        first = self._delegator_of.get(role, delegator)
        if first != delegator:
            raise VerificationFailed(
                "this role is reached through a second delegator",
                subject=role,
                rule="second-delegator",
                expected=first,
                found=delegator,
            )

    def _require_fresh(self, signed: Root | Timestamp | Snapshot | Targets, role: str) -> None:
        if signed.is_expired(self.now):
            raise NotFresh(
                "signed metadata has expired",
                subject=role,
                rule="expired",
                expected=f"valid at {self.now:%Y-%m-%d %H:%M:%S} UTC (this machine's clock)",
                found=f"expired at {signed.expires:%Y-%m-%d %H:%M:%S} UTC",
                next_step="check this machine's clock; if it is right, old metadata is replayed or the signer stopped",
            )


def require_role_signed(
    delegator: Delegator, role: str, envelope: Envelope[T], assumed: frozenset[str] = frozenset()
) -> None:
    """Raise VerificationFailed without threshold signatures of the keys that ``delegator`` names for ``role``.

    ``assumed``: keys that count as if they had signed (see ``TrustedMetadata``).
    """
    try:
        if assumed:
            result = delegator.get_verification_result(role, envelope.payload, envelope.signatures)
            if len(result.signed.keys() | (result.unsigned.keys() & assumed)) >= result.threshold:
                return
        delegator.verify_delegate(role, envelope.payload, envelope.signatures)
    except UnsignedMetadataError as error:
        raise VerificationFailed(
            "not signed by enough of the keys trusted for this role",
            subject=role,
            rule="signature-threshold",
            expected=f"{delegator.get_delegated_role(role).threshold} valid signatures",
            found=f"{len(delegator.get_verification_result(role, envelope.payload, envelope.signatures).signed)}",
        ) from error
    except ValueError as error:
        raise VerificationFailed(
            "nobody delegated this role", subject=role, rule="not-delegated", found=str(error)
        ) from error


def _require_hashes(meta: MetaFile, data: bytes, role: str) -> None:
    """The length and hashes that the listing gives, where it gives any."""
    try:
        meta.verify_length_and_hashes(data)
    except LengthOrHashMismatchError as error:
        raise VerificationFailed(
            "these are not the bytes that the listing vouches for",
            subject=role,
            rule="metadata-hash",
            found=str(error),
        ) from error


def _require_no_rollback(old: Snapshot, new: Snapshot) -> None:
    """No listed role vanishes and no version goes down (5.5.5)."""
    listed = raw_listings(new)
    for name, meta in raw_listings(old).items():
        successor = listed.get(name)
        if successor is None:
            raise NotFresh(
                "a role vanished from the snapshot", subject=name.removesuffix(".json"), rule="role-vanished"
            )
        if successor["version"] < meta["version"]:
            raise _rollback(name.removesuffix(".json"), meta["version"], successor["version"])


def _rollback(role: str, trusted: int, found: int) -> NotFresh:
    return NotFresh(
        "older metadata than was already trusted (rollback)",
        subject=role,
        rule="rollback",
        expected=f"version {trusted} or later",
        found=f"version {found}",
        next_step="a cache, a mirror or an attacker serves old metadata, or the index was restored from a backup",
    )


def _version_error(role: str, expected: int, found: int) -> VerificationFailed:
    return VerificationFailed(
        "not the version that was asked for",
        subject=role,
        rule="metadata-version",
        expected=f"version {expected}",
        found=f"version {found}",
    )
