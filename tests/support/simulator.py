"""An index in memory: the Assay layout built with the product's own plans, changed by hand where an attacker would.

It answers Assay's verifying core and stock python-tuf alike, so every scenario can ask both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from assay.model.digests import sha256_of
from assay.model.errors import AssayError
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Lifetimes, TargetPath, metadata_filename
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
from assay.trust.seal import SealedFile, in_groups, plan_seal, seal_bits, with_seal
from assay.trust.update import Answer, Fetch, Keep, Load, Request, drive, lookup, refresh
from assay.trust.verify import TrustedMetadata

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIFETIMES = Lifetimes()
SIGNERS = {role: CryptoSigner.generate_ed25519() for role in (ROOT, TARGETS, BINS, SNAPSHOT, TIMESTAMP, "bin")}
WITNESS = CryptoSigner.generate_ed25519()
THIEF = CryptoSigner.generate_ed25519()


@dataclass
class Simulator:
    """``files`` is what the network serves, by file name; ``roles`` the newest content of each role.

    ``before`` is for a test to keep what was served earlier. ``witnessed``: timestamp, snapshot and bins need the
    index's key and the witness's.
    """

    now: datetime = NOW
    bit_length: int = 2
    witnessed: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    roles: dict[str, Root | Timestamp | Snapshot | Targets] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys = {role: [SIGNERS[role].public_key] for role in (ROOT, TARGETS)}
        keys |= {role: [signer.public_key for signer in self.online(role)] for role in (SNAPSHOT, TIMESTAMP)}
        both = {SNAPSHOT: len(keys[SNAPSHOT]), TIMESTAMP: len(keys[TIMESTAMP])}
        self.put(ROOT, plan_root(keys, both, 1, self.now + LIFETIMES.root))
        self.put(TARGETS, plan_targets([SIGNERS[BINS].public_key], 1, 1, self.now + LIFETIMES.targets))
        online = [signer.public_key for signer in self.online("bin")]
        bins = plan_bins(online, len(online), self.bit_length, 1, self.now + LIFETIMES.bins)
        self.put(BINS, bins)
        for name in succinct_roles(bins).get_roles():
            self.put(name, plan_bin(None, Changes(), self.now, LIFETIMES))
        self.publish()

    def online(self, role: str) -> list[CryptoSigner]:
        """Who signs an online role."""
        return [SIGNERS[role], WITNESS] if self.witnessed else [SIGNERS[role]]

    def put(self, role: str, signed: Root | Timestamp | Snapshot | Targets, *signers: CryptoSigner) -> None:
        """Sign ``signed`` as ``role`` (with its own key unless ``signers`` say otherwise) and serve it."""
        self.roles[role] = signed
        version = None if role == TIMESTAMP else signed.version
        name = "bin" if role.startswith("bin-") else role
        honest = self.online(name) if name in ("bin", SNAPSHOT, TIMESTAMP) else [SIGNERS[name]] if not signers else []
        self.files[metadata_filename(role, version)] = sign_envelope(signed, signers or honest)

    def publish(self, *changes: NewTarget) -> None:
        """Publish ``changes``: bins, snapshot, timestamp."""
        bins = self.roles[BINS]
        assert isinstance(bins, Targets)
        for name, change in group_by_bin(Changes(changes), succinct_roles(bins)).items():
            old = self.roles[name]
            assert isinstance(old, Targets)
            self.put(name, plan_bin(old, change, self.now, LIFETIMES))
        self.seal_off()

    def seal_off(self, unserved: Mapping[str, int] | None = None) -> None:
        """A new snapshot of every role as it is, and a timestamp for it. ``unserved``: roles that are only listed."""
        old, stamp = self.roles.get(SNAPSHOT), self.roles.get(TIMESTAMP)
        versions = dict(unserved or {}) | {
            role: body.version for role, body in self.roles.items() if isinstance(body, Targets)
        }
        snapshot = plan_snapshot(old if isinstance(old, Snapshot) else None, versions, self.now, LIFETIMES)
        self.put(SNAPSHOT, snapshot)
        data = self.files[metadata_filename(SNAPSHOT, snapshot.version)]
        previous = stamp if isinstance(stamp, Timestamp) else None
        self.put(TIMESTAMP, plan_timestamp(previous, data, snapshot.version, self.now, LIFETIMES))

    def root_bytes(self, version: int = 1) -> bytes:
        """A root to trust from."""
        return self.files[metadata_filename(ROOT, version)]


def target(path: str, content: bytes) -> NewTarget:
    """A target of ``content``."""
    return NewTarget(TargetPath(path), len(content), sha256_of(content))


@dataclass
class AssayClient:
    """Assay's core with its local store in memory."""

    root: bytes
    kept: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def look_up(
        self, index: Simulator, path: str, now: datetime | None = None, *, after: str | None = None
    ) -> str | None:
        """The sha256 that is vouched for, or None; asked for in one refresh ``after`` another path. Raises."""
        trusted = TrustedMetadata(self.kept.get(ROOT, self.root), now=now or index.now)

        def answer(request: Request) -> Answer:
            match request:
                case Load(role):
                    return self.kept.get(role)
                case Keep(role, data):
                    self.kept[role] = data
                    return None
                case Fetch(role, version):
                    self.asked.append(metadata_filename(role, version))
                    return index.files.get(metadata_filename(role, version))

        drive(refresh(trusted), answer)
        if after is not None:
            drive(lookup(trusted, TargetPath(after)), answer)
        found = drive(lookup(trusted, TargetPath(path)), answer)
        return found.sha256 if found else None


class _Wire(FetcherInterface):
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rsplit("/", 1)[-1]
        if name not in self._files:
            raise DownloadHTTPError("not found", 404)
        yield self._files[name]


@dataclass
class StockClient:
    """python-tuf's ngclient with its local store in ``folder``."""

    root: bytes
    folder: Path

    def look_up(
        self, index: Simulator, path: str, now: datetime | None = None, *, after: str | None = None
    ) -> str | None:
        """As ``AssayClient.look_up``. Raises what ngclient raises."""
        self.folder.mkdir(exist_ok=True)
        updater = Updater(
            str(self.folder),
            "http://index/tuf/",
            str(self.folder),
            "http://index/",
            _Wire(index.files),
            UpdaterConfig(),
            bootstrap=self.root if not (self.folder / "root.json").exists() else None,
        )
        updater._trusted_set.reference_time = now or index.now
        updater.refresh()
        if after is not None:
            updater.get_targetinfo(after)
        found = updater.get_targetinfo(path)
        return found.hashes["sha256"] if found else None


def both(index: Simulator, folder: Path) -> list[AssayClient | StockClient]:
    """A new client of either kind."""
    return [AssayClient(index.root_bytes()), StockClient(index.root_bytes(), folder / "new-stock-client")]


def verdict(
    client: AssayClient | StockClient,
    index: Simulator,
    path: str,
    now: datetime | None = None,
    *,
    after: str | None = None,
) -> str:
    """``client``'s answer in a word: a hash, ``none``, or ``refused``. ``after``: what it asks for just before."""
    from tuf.api.exceptions import DownloadError, RepositoryError

    try:
        return client.look_up(index, path, now, after=after) or "none"
    except (AssayError, RepositoryError, DownloadError, ValueError):
        return "refused"


def seal(index: Simulator, number: int, files: list[SealedFile], merged: list[str] | None = None) -> None:
    """What the offline ceremony does."""
    one_time = CryptoSigner.generate_ed25519()
    bits = seal_bits(len(files))
    for role, body in plan_seal(number, bits, in_groups(files, bits), one_time.public_key, index.now, LIFETIMES):
        index.put(role, body, one_time)
    top = index.roles[TARGETS]
    assert isinstance(top, Targets)
    index.put(TARGETS, with_seal(top, number, one_time.public_key, merged or [], index.now + LIFETIMES.targets))
    index.seal_off()


def later(index: Simulator, **span: Any) -> datetime:
    """A moment after the index's own."""
    return index.now + timedelta(**span)
