"""Roles that were signed elsewhere (root, targets, bins, seals, takedowns, claims), checked before they are taken.

Pure. A role is accepted only from its own delegator, reached from a root that the present root vouches for. What is
accepted is complete: no role is delegated that clients would look for in vain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tuf.api.metadata import Root, Snapshot, Targets

from assay.model.digests import Sha256, sha256_of
from assay.model.errors import VerificationFailed
from assay.trust.claims import CLAIM_PREFIX, is_claiming
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, CLAIMED_NEW, ROOT, TARGETS, RoleLimits
from assay.trust.verify import TrustedMetadata, require_role_signed


@dataclass(frozen=True, slots=True)
class OfflineRoles:
    """Verified files of offline roles, role -> file. ``root`` None: the present one stays.

    ``replaces``: the new root does not follow from the present one (re-root); clients must be told out of band.
    """

    root: bytes | None
    files: Mapping[str, bytes]
    signed: Mapping[str, Targets]
    left_out: frozenset[str]
    replaces: bool = False

    def versions(self) -> dict[str, int]:
        """Role -> version of everything but root."""
        return {role: signed.version for role, signed in self.signed.items()}


def verify_offline_roles(
    files: Mapping[str, bytes],
    root: bytes,
    targets: Targets,
    bins: Targets,
    snapshot: Snapshot | None,
    now: datetime,
    limits: RoleLimits | None = None,
    new_identity: Sha256 | None = None,
) -> OfflineRoles:
    """Check ``files`` (role -> file) against the present ``root``, ``targets``, ``bins`` and ``snapshot``.

    Roles that nobody delegates, or that are not newer than the snapshot lists, land in ``left_out``. Raises
    VerificationFailed for a signature, version or expiry that is wrong, and for a delegation that leads nowhere.
    ``new_identity``: hash of a root that need not follow from the present one, because that one's threshold is lost.
    """
    limits = limits or RoleLimits()
    trusted = TrustedMetadata(root, now=now, limits=limits)
    replaces = ROOT in files and sha256_of(files[ROOT]) == new_identity
    if replaces:
        trusted = _replacement(files[ROOT], trusted.root.version + 1, now, limits)
    elif ROOT in files:
        trusted.update_root(files[ROOT])
    walk = _Walk(files, snapshot, now, limits)
    top = walk.take(trusted.root, TARGETS, targets)
    current = {BINS: bins}
    for role in _delegated(top):
        walk.descend(top, role, current.get(role))
    return OfflineRoles(
        root=files.get(ROOT),
        files={role: files[role] for role in walk.taken},
        signed=walk.taken,
        left_out=frozenset(set(files) - set(walk.taken) - {ROOT}),
        replaces=replaces,
    )


def _replacement(root: bytes, version: int, now: datetime, limits: RoleLimits) -> TrustedMetadata:
    """A root that only itself vouches for; its number goes on, so that nobody mistakes it for an old one."""
    trusted = TrustedMetadata(root, now=now, limits=limits)
    if trusted.root.version != version:
        raise VerificationFailed(
            "a new identity's root goes on counting",
            subject=ROOT,
            rule="metadata-version",
            expected=f"version {version}",
            found=f"version {trusted.root.version}",
        )
    return trusted


def _delegated(role: Targets) -> list[str]:
    roles = role.delegations.roles if role.delegations else None
    return list(roles) if roles else []


@dataclass(slots=True)
class _Walk:
    """The walk down from targets. ``taken``: the roles that are new and verified."""

    files: Mapping[str, bytes]
    snapshot: Snapshot | None
    now: datetime
    limits: RoleLimits
    taken: dict[str, Targets] = field(default_factory=dict)

    def descend(self, delegator: Targets, role: str, current: Targets | None) -> None:
        """Take ``role`` and whatever it delegates in turn; what is signed online, or by developers, stays out."""
        if is_claiming(role, CLAIMED_NEW) or role.startswith(CLAIM_PREFIX):
            return
        if role not in self.files or not self._is_newer(role):
            if self._listed(role) is None:
                raise VerificationFailed(
                    "this role is delegated, but nobody signed it", subject=role, rule="delegation-without-role"
                )
            return
        taken = self.take(delegator, role, current)
        for child in _delegated(taken):
            self.descend(taken, child, None)

    def take(self, delegator: Root | Targets, role: str, current: Targets | None) -> Targets:
        """``role`` from the files where it is newer, else ``current``. Raises VerificationFailed."""
        if role not in self.files or (current is not None and not self._is_newer(role)):
            if current is None:
                raise VerificationFailed("nobody signed this role", subject=role, rule="delegation-without-role")
            return current
        data = self.files[role]
        if len(data) > self.limits.for_role(role):
            raise VerificationFailed("larger than clients accept", subject=role, rule="metadata-too-large")
        envelope = parse_envelope(data, Targets, role)
        require_role_signed(delegator, role, envelope)
        if envelope.signed.is_expired(self.now):
            raise VerificationFailed("signed, but expired", subject=role, rule="expired")
        self.taken[role] = envelope.signed
        return envelope.signed

    def _is_newer(self, role: str) -> bool:
        listed = self._listed(role)
        return listed is None or parse_envelope(self.files[role], Targets, role).signed.version > listed

    def _listed(self, role: str) -> int | None:
        meta = self.snapshot.meta.get(f"{role}.json") if self.snapshot else None
        return meta.version if meta else None
