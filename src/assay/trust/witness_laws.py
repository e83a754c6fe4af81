"""The laws of the witness rule that speak of one role or one path: versions, lifetimes, signatures, places. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from tuf.api.metadata import Snapshot, Targets

from assay.model.digests import Sha256
from assay.model.errors import VerificationFailed, WitnessRefused
from assay.trust.candidate import Stamp
from assay.trust.envelope import Envelope, T, parse_envelope
from assay.trust.layout import BINNED_PATHS, PACKAGE_PATHS, TIMESTAMP
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.tree import Hash, verify_consistency
from assay.trust.verify import Delegator
from assay.trust.witness_memory import Identity, Kind, RuleLimits, Seen

MAX_VERSION_JUMP = 1_000_000
"""A version that leaps further is an attempt to use up the numbers (threat A4)."""


def read_role(data: bytes, kind: type[T], role: str, limits: RuleLimits) -> Envelope[T]:
    """The metadata in ``data``, not larger than clients accept it. Raises WitnessRefused, VerificationFailed."""
    cap = limits.roles.for_role(role)
    if len(data) > cap:
        raise WitnessRefused(
            "larger than clients accept",
            subject=role,
            rule="metadata-too-large",
            expected=f"at most {cap} bytes",
            found=f"{len(data)} bytes",
        )
    return parse_envelope(data, kind, role)


def may_change(path: str) -> bool:
    """Whether a path may get other bytes: project pages may, and nothing else."""
    return not _matches(path, PACKAGE_PATHS) and _matches(path, BINNED_PATHS)


def belongs_in_bins(path: str) -> bool:
    """Whether clients look for ``path`` in the bins at all."""
    return _matches(path, BINNED_PATHS)


def require_successor(role: str, old: Seen | None, new: Seen) -> None:
    """A version goes up, not too far, or the content is the same. Raises WitnessRefused."""
    if old is None:
        return
    _require_later(role, old.version, new.version)
    if new.version == old.version and new.payload != old.payload and old.kind is not Kind.RETIRED:
        raise second_content(role, new.version, f"sha256 {old.payload}", f"sha256 {new.payload}")


def require_next_stamp(old: Stamp | None, new: Stamp) -> None:
    """A timestamp goes up, or is the one that was co-signed. Raises WitnessRefused."""
    if old is None:
        return
    _require_later(TIMESTAMP, old.version, new.version)
    if new.version == old.version and new != old:
        raise second_content(TIMESTAMP, new.version, str(old.to_dict()), str(new.to_dict()))


def require_log_continues(old: LogHead | None, new: LogHead | None, proof: Sequence[Hash]) -> None:
    """The log only grows, and is not dropped. Raises WitnessRefused; the proof is from ``old.size`` on."""
    if old is None:
        return
    if new is None:
        raise WitnessRefused(
            "the log would be dropped", subject="log", rule="log-dropped", expected=f"{old.size} entries"
        )
    try:
        verify_consistency(old.size, old.root, new.size, new.root, proof)
    except VerificationFailed as error:
        raise WitnessRefused(
            "the log would not continue the one that was co-signed",
            subject="log",
            rule="log-inconsistent",
            expected=f"size {old.size}, root {old.root.hex()}, as its beginning",
            found=f"size {new.size}, root {new.root.hex()}",
        ) from error


def _require_later(role: str, old: int, new: int) -> None:
    if new < old:
        raise WitnessRefused(
            "a role's version would go down",
            subject=role,
            rule="rollback",
            expected=f"version {old} or later",
            found=f"version {new}",
            next_step="the index was restored from a backup, or is not the one that published last",
        )
    if new > old + MAX_VERSION_JUMP:
        raise WitnessRefused(
            "a version would leap", subject=role, rule="version-jump", expected=f"{old + 1}", found=f"{new}"
        )


def require_lifetime(role: str, expires: datetime, life: timedelta, now: datetime, limits: RuleLimits) -> None:
    """``expires`` is not further away than ``life``, nor long gone. Raises WitnessRefused."""
    latest, earliest = now + life + limits.tolerance, now - limits.past
    if not earliest <= expires <= latest:
        raise WitnessRefused(
            "dated too far in the future" if expires > latest else "dated too far in the past",
            subject=role,
            rule="time-future" if expires > latest else "time-past",
            expected=f"an expiry from {earliest:%Y-%m-%d %H:%M:%S} to {latest:%Y-%m-%d %H:%M:%S} UTC",
            found=f"{expires:%Y-%m-%d %H:%M:%S} UTC",
            next_step="compare the clocks, and the lifetimes in the index's config.toml with those in witness.toml",
        )


def require_cosignable(
    delegator: Delegator, role: str, envelope: Envelope[Snapshot] | Envelope[Targets], identity: Identity, key_name: str
) -> None:
    """The index signed it, and the witness's key called ``key_name`` is one of the role's. Raises WitnessRefused.

    The index has one key in each online role: no other witness's must pass for it.
    """
    own = identity.own[key_name]
    keyids = delegator.get_delegated_role(role).keyids
    if own not in keyids:
        raise WitnessRefused(
            "this witness's key is not one of this role's",
            subject=role,
            rule="not-enrolled",
            expected=own,
            next_step="enrol the witness's keys in a ceremony (docs/witness.md)",
        )
    others = set(keyids) - set(identity.own.values()) - identity.peers
    if len(others) != 1:
        raise WitnessRefused(
            "it is not clear which of this role's keys is the index's",
            subject=role,
            rule="unknown-witness",
            expected="one key beside those of this witness and its peers",
            found=", ".join(sorted(others)) or "none",
            next_step="name every other witness of the index as [[peer]] in witness.toml",
        )
    valid = set(delegator.get_verification_result(role, envelope.payload, envelope.signatures).signed)
    if not valid & others:
        raise WitnessRefused(
            "not signed by the index",
            subject=role,
            rule="index-signature",
            expected=f"a valid signature of {min(others)}",
            found=f"{len(valid)} valid signatures",
        )


def second_content(role: str, version: int, old: str, new: str) -> WitnessRefused:
    """The refusal of other content under a version that was accepted."""
    return WitnessRefused(
        "this version was accepted with other content",
        subject=role,
        rule="second-content",
        expected=f"version {version}, {old}",
        found=new,
        next_step="two signers are at work, or somebody shows different people different things",
    )


def second_hash(path: str, known: tuple[int, Sha256], found: tuple[int, str], role: str) -> WitnessRefused:
    """The refusal of other bytes at a path."""
    return WitnessRefused(
        "this path was published with other bytes; one path has one hash, for ever",
        subject=path,
        rule="second-hash",
        expected=f"sha256 {known[1]}, {known[0]} bytes",
        found=f"sha256 {found[1]}, {found[0]} bytes, in {role}",
    )


def second_delegator(role: str, first: str, second: str) -> WitnessRefused:
    """The refusal of a second way to a role (threat A18)."""
    return WitnessRefused(
        "this role would be reached through a second delegator",
        subject=role,
        rule="second-delegator",
        expected=first,
        found=second,
    )


def _matches(path: str, patterns: list[str]) -> bool:
    """TUF's path patterns: ``*`` does not cross a slash (1.0.34 section 4.5)."""
    parts = path.split("/")
    for pattern in patterns:
        wanted = pattern.split("/")
        if len(parts) == len(wanted) and all(fnmatchcase(p, w) for p, w in zip(parts, wanted, strict=True)):
            return True
    return False
