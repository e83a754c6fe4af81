"""The trust layout: role names, target paths, lifetimes. One home for every name that TUF metadata may contain.

One target path has one hash, for ever. Delegations of ``targets`` are searched in the order of ``SEARCH_ORDER``; seals
(``seal-N``) stand between ``takedown`` and ``claimed``. Source: docs/adr/0001-trust-layout.md.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import NewType
from urllib.parse import quote

from assay.model.distributions import Distribution
from assay.model.names import ProjectName

TargetPath = NewType("TargetPath", str)

ROOT, TIMESTAMP, SNAPSHOT, TARGETS = "root", "timestamp", "snapshot", "targets"
TAKEDOWN, CLAIMED, CLAIMED_NEW, BINS = "takedown", "claimed", "claimed-new", "bins"
SEARCH_ORDER = (TAKEDOWN, "seal", CLAIMED, CLAIMED_NEW, BINS)
BIN_PREFIX = "bin"
SEAL_PREFIX = "seal-"

OFFLINE_ROLES = (ROOT, TARGETS, BINS)
ONLINE_ROLES = (TIMESTAMP, SNAPSHOT, BIN_PREFIX)
"""Key names of the index's online keys; ``bin`` signs every ``bin-<hex>``."""

PACKAGE_PATHS = ["packages/*/*/*"]
BINNED_PATHS = [*PACKAGE_PATHS, "simple/*/index.json"]

SPEC_VERSION = "1.0.34"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a signature of each role is valid. An online role is signed again when half of it is gone."""

    root: timedelta = timedelta(days=365)
    targets: timedelta = timedelta(days=90)
    bins: timedelta = timedelta(days=90)
    seal: timedelta = timedelta(days=5 * 365)
    bin: timedelta = timedelta(days=30)
    claimed: timedelta = timedelta(days=90)
    claimed_new: timedelta = timedelta(days=7)
    claim: timedelta = timedelta(days=365)
    snapshot: timedelta = timedelta(days=1)
    timestamp: timedelta = timedelta(days=1)

    def of_online(self, role: str) -> timedelta:
        """The life of a bin, or of a role that delegates the claims since the last ceremony."""
        return self.claimed_new if role.startswith(CLAIMED_NEW) else self.bin


@dataclass(frozen=True, slots=True)
class RoleLimits:
    """Largest accepted size of each role's file in bytes; the defaults are those of stock clients (python-tuf 7).

    Only ``snapshot`` may be larger: ``timestamp`` states its length, and then stock clients go by that.
    """

    root: int = 512_000
    timestamp: int = 16_384
    snapshot: int = 10_000_000
    targets: int = 5_000_000

    def for_role(self, role: str) -> int:
        """The cap for ``role``; every delegated role has the cap of ``targets``."""
        return {ROOT: self.root, TIMESTAMP: self.timestamp, SNAPSHOT: self.snapshot}.get(role, self.targets)


def search_position(role: str) -> tuple[int, int]:
    """Where a delegation of ``targets`` stands in the order of search; seals by their number, what is unknown last."""
    if role.startswith(SEAL_PREFIX) and role.removeprefix(SEAL_PREFIX).isdigit():
        return SEARCH_ORDER.index("seal"), int(role.removeprefix(SEAL_PREFIX))
    return (SEARCH_ORDER.index(role) if role in SEARCH_ORDER else len(SEARCH_ORDER)), 0


def metadata_filename(role: str, version: int | None) -> str:
    """``<version>.<role>.json``, or ``<role>.json`` without a version; unsafe characters are percent-encoded."""
    name = f"{quote(role, safe='')}.json"
    return name if version is None else f"{version}.{name}"


def metadata_path(role: str, version: int | None) -> str:
    """A metadata file's place below the index's URL and in its published folder."""
    return f"tuf/{metadata_filename(role, version)}"


def file_target(distribution: Distribution) -> TargetPath:
    """``packages/<project>/<version>/<filename>``."""
    return TargetPath(f"packages/{distribution.project}/{distribution.version}/{distribution.filename}")


def page_target(project: ProjectName) -> TargetPath:
    """``simple/<project>/index.json``."""
    return TargetPath(f"simple/{project}/index.json")


def hashed_path(path: TargetPath, sha256: str) -> str:
    """Where a consistent snapshot keeps a target: ``<folder>/<sha256>.<name>`` (TUF 1.0.34 section 6.2)."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{sha256}.{name}" if folder else f"{sha256}.{name}"
