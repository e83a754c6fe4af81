"""When each published role ends: for metrics, the front page and the signs of life that operators watch.

It reads what the index shows, without verifying it: `assay doctor` does that.
"""

from collections.abc import Mapping
from datetime import datetime

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.keys.expiry import Reminder, reminders
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, CLAIMED, ROOT, SEAL_PREFIX, SNAPSHOT, TARGETS, TIMESTAMP, Lifetimes, metadata_path

SEALS = "seal"
"""All seals together: the first of them to end."""


def role_expiries(published: PublishedStore, first_root: int = 1) -> Mapping[str, datetime]:
    """Role -> when it ends, for the top-level roles and those that ``targets`` names; empty before the first
    publication. ``first_root``: a version that is known to be there.
    """
    stamp = published.read(TIMESTAMP_NAME)
    if stamp is None:
        return {}
    timestamp = parse_envelope(stamp, Timestamp, TIMESTAMP).signed
    version = timestamp.snapshot_meta.version
    snapshot = parse_envelope(_read(published, SNAPSHOT, version), Snapshot, SNAPSHOT).signed
    targets = parse_envelope(_read(published, TARGETS, _version(snapshot, TARGETS)), Targets, TARGETS).signed
    found = {ROOT: _newest_root(published, first_root).expires, TIMESTAMP: timestamp.expires}
    found |= {SNAPSHOT: snapshot.expires, TARGETS: targets.expires}
    for role in targets.delegations.roles or {} if targets.delegations else {}:
        ends = parse_envelope(_read(published, role, _version(snapshot, role)), Targets, role).signed.expires
        name = SEALS if role.startswith(SEAL_PREFIX) else role
        found[name] = min(found.get(name, ends), ends)
    return found


def due_reminders(published: PublishedStore, now: datetime, lifetimes: Lifetimes) -> tuple[Reminder, ...]:
    """The offline roles that end soon, the most urgent first."""
    spans = {ROOT: lifetimes.root, TARGETS: lifetimes.targets, BINS: lifetimes.bins, CLAIMED: lifetimes.claimed}
    ends = {role: end for role, end in role_expiries(published).items() if role in spans}
    return reminders(ends, spans, now)


def _version(snapshot: Snapshot, role: str) -> int:
    return snapshot.meta[f"{role}.json"].version


def _read(published: PublishedStore, role: str, version: int) -> bytes:
    return published.read(metadata_path(role, version)) or b""


def _newest_root(published: PublishedStore, version: int) -> Root:
    while published.path(metadata_path(ROOT, version + 1)).exists():
        version += 1
    return parse_envelope(_read(published, ROOT, version), Root, ROOT).signed
