"""The metadata that a ceremony starts from: the newest root, targets and bins, each signed by who may sign it.

Invariants: the root is the very one that the reviewed plan names, by hash; targets and bins are signed by a threshold
of its keys. Expiry does not matter here: a ceremony may have to renew what has expired.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Root, Targets

from assay.keys.ceremony.plan import Plan, StartingPoint
from assay.keys.ceremony.stick import Stick
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import NotFound, OperatorError, VerificationFailed
from assay.trust.envelope import Envelope, parse_envelope
from assay.trust.layout import BINS, CLAIMED, OFFLINE_ROLES, ROOT, TARGETS, RoleLimits

FOLDER = "current/"


@dataclass(frozen=True, slots=True)
class Current:
    """What counts before the ceremony."""

    root: Root
    root_sha256: Sha256
    targets: Targets
    bins: Targets

    def role(self, role: str) -> Root | Targets:
        """The current version of an offline role."""
        return self.root if role == ROOT else {TARGETS: self.targets, BINS: self.bins}[role]


def find_current(metadata: Path) -> dict[str, bytes]:
    """The newest offline roles in a folder of published metadata (``<version>.<role>.json``), as files for the stick.

    Raises NotFound when a role is missing.
    """
    found = {}
    for role in OFFLINE_ROLES:
        pattern = re.compile(rf"\A([1-9][0-9]{{0,9}})\.{role}\.json\Z")
        versions = [int(match[1]) for path in metadata.iterdir() if (match := pattern.match(path.name))]
        if not versions:
            raise NotFound("the folder has no such role", subject=str(metadata), expected=f"<version>.{role}.json")
        path = metadata / f"{max(versions)}.{role}.json"
        limit = RoleLimits().for_role(role)
        if path.stat().st_size > limit:
            raise OperatorError("metadata is too large", subject=str(path), expected=f"at most {limit} bytes")
        found[f"{FOLDER}{role}.json"] = path.read_bytes()
    return found


def settled_end(metadata: Path) -> dict[str, datetime]:
    """When the settled claims in a folder of published metadata expire, as ``claimed``: a sealing or a claims' draft
    renews them, a ceremony does not. Empty where none were ever settled.
    """
    files = {int(path.name.split(".")[0]): path for path in metadata.glob(f"[1-9]*.{CLAIMED}.json")}
    if not files:
        return {}
    newest = files[max(files)]
    return {CLAIMED: parse_envelope(newest.read_bytes(), Targets, CLAIMED).signed.expires}


def read_current(stick: Stick, plan: Plan) -> Current | None:
    """What the plan starts from; None for a first ceremony. Raises VerificationFailed when it is not that."""
    if plan.starts_from is None:
        if stick.names(FOLDER):
            raise VerificationFailed("there is current metadata, and the plan says there is none", rule="plan-start")
        return None
    return parse_current({name: stick.read(name) for name in stick.names(FOLDER)}, plan.starts_from)


def parse_current(files: Mapping[str, bytes], start: StartingPoint) -> Current:
    """``files`` (as ``find_current`` gives them) checked against the plan's starting point."""
    missing = [role for role in OFFLINE_ROLES if f"{FOLDER}{role}.json" not in files]
    if missing:
        raise NotFound("the current metadata is not complete", found=f"missing: {', '.join(missing)}")
    data = {role: files[f"{FOLDER}{role}.json"] for role in OFFLINE_ROLES}
    root = parse_envelope(data[ROOT], Root, ROOT)
    found = (root.signed.version, sha256_of(data[ROOT]))
    if found != (start.root_version, start.root_sha256):
        raise VerificationFailed(
            "the plan does not start from the root that counts now: it is an old plan, or another index's",
            subject=ROOT,
            rule="plan-start",
            expected=f"version {start.root_version}, sha256 {start.root_sha256}",
            found=f"version {found[0]}, sha256 {found[1]}",
            next_step="make a new plan from the current metadata",
        )
    require_threshold(root.signed, ROOT, root)
    targets = parse_envelope(data[TARGETS], Targets, TARGETS)
    require_threshold(root.signed, TARGETS, targets)
    bins = parse_envelope(data[BINS], Targets, BINS)
    require_threshold(targets.signed, BINS, bins)
    return Current(root.signed, found[1], targets.signed, bins.signed)


def require_threshold(
    delegator: Root | Targets, role: str, envelope: Envelope[Root] | Envelope[Targets], whose: str = ""
) -> None:
    """Raise VerificationFailed unless a threshold of ``delegator``'s keys for ``role`` signed ``envelope``."""
    try:
        delegator.verify_delegate(role, envelope.payload, envelope.signatures)
    except (UnsignedMetadataError, ValueError) as error:
        raise VerificationFailed(
            f"not signed by enough of the {whose}keys for this role",
            subject=role,
            rule="signature-threshold",
            found=str(error),
        ) from error
