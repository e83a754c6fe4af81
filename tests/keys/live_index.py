"""An index with the product's own signer, whose offline roles come from ceremonies; and what clients see of it."""

from dataclasses import dataclass, field
from pathlib import Path

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from assay.formats.inspect import InspectionLimits
from assay.formats.pages import PageFile, file_url
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import propose
from assay.index.log import LogWriter
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.published import PublishedStore
from assay.index.signer.checks import FileChecks
from assay.index.signer.inbox import Inbox
from assay.index.signer.online import Keyring, OnlineKeys
from assay.index.signer.publish import Publisher
from assay.keys.ceremony.assembling import VerifiedBundle
from assay.keys.ceremony.publishing import publish_offline
from assay.keys.custody import key_file_uri
from assay.keys.local import KeyFolder
from assay.keys.online import create_online_key, open_online_key, open_online_keys, promote_successor
from assay.model.digests import sha256_of
from assay.model.distributions import parse_distribution
from assay.trust.envelope import sign_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    CLAIMED_NEW,
    ONLINE_ROLES,
    ROOT,
    SNAPSHOT,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
    file_target,
    metadata_filename,
)
from assay.trust.plan import Changes, plan_bin, plan_snapshot, plan_timestamp, succinct_roles
from client.small_distributions import build_wheel, wheel_metadata
from keys.room import Room, secret, start_of
from support.simulator import AssayClient, Simulator, StockClient


class Served(Simulator):
    """What a published folder serves, for the simulator's clients."""

    def __post_init__(self) -> None:
        """Nothing is made here."""


@dataclass
class LiveIndex:
    """A data folder and its signer, at the room's clock."""

    room: Room
    folder: Path
    passphrase: str | None = None
    latest: VerifiedBundle | None = None
    uploads: dict[str, str] = field(default_factory=dict)
    clients: dict[str, AssayClient | StockClient] = field(default_factory=dict)

    @property
    def data(self) -> DataFolder:
        return DataFolder(self.folder)

    @property
    def start(self) -> tuple[int, str]:
        """Where the next ceremony starts."""
        assert self.latest is not None
        return start_of(self.latest)

    @property
    def metadata(self) -> Path:
        return self.folder / "published" / "tuf"

    @property
    def keys(self) -> KeyFolder:
        return self.data.keys

    def enrol_online(self, **names: str) -> None:
        """Make the key of each role (or its successor) on the index's machine, and enrol it: role=name."""
        for role, name in names.items():
            path, key = create_online_key(self.keys, role, None)
            self.room.enrol_key(name, key_file_uri(path, encrypted=False), key)

    def adopt(self, bundle: VerifiedBundle) -> None:
        """Hand a ceremony over and let the signer take it."""
        self.latest = bundle
        publish_offline(bundle, self.folder)
        self.sign()

    def _secret(self, _name: str) -> str:
        assert self.passphrase is not None
        return self.passphrase

    def sign(self) -> None:
        """What the signer's process does until nothing is left."""
        self.data.make()
        ledger = Ledger.open(self.data.ledger_file)
        encrypted = self.passphrase is not None
        opened: list[tuple[Root, Targets]] = []

        def open_keys(root: Root, bins: Targets) -> OnlineKeys:
            opened.append((root, bins))
            return OnlineKeys(**open_online_keys(self.keys, root, bins, self._secret, encrypted=encrypted))

        checks = FileChecks(BlobStore(self.data.blobs), InspectionLimits())
        inbox = Inbox(self.data.inbox)
        passphrase = self.passphrase
        log = LogWriter(PublishedStore(self.data.published), Keyring(self.keys, passphrase).open_log)
        signer = Publisher(ledger, PublishedStore(self.data.published), inbox, checks, open_keys, Lifetimes(), log)
        while signer.run_once(self.room.now):
            pass
        ledger.close()
        for role, key in _online_public_keys(*opened[-1]).items():
            promote_successor(self.keys, role, key, self._secret, encrypted=encrypted)

    def upload(self, version: str) -> str:
        """Publish a wheel of ``demo``; returns its target path."""
        wheel = build_wheel("demo", version)
        distribution = parse_distribution(f"demo-{version}-py3-none-any.whl")
        sha256 = BlobStore(self.data.blobs).store_bytes(wheel)
        url = file_url(distribution.project, version, distribution.filename)
        sidecar = sha256_of(wheel_metadata("demo", version))
        entry = PageFile(distribution.filename, url, sha256, len(wheel), self.room.now, core_metadata=sidecar)
        ledger = Ledger.open(self.data.ledger_file)
        with ledger.write() as connection:
            if not self.uploads:
                accounts.create_user(connection, "tess", "tess", self.room.now, is_admin=True)
                accounts.create_project(connection, distribution.project, "tess", self.room.now)
            proposed = ProposedFile(distribution, entry, {"uploader": "tess"})
            propose(connection, PublishFiles(distribution.project, "upload", (proposed,)))
        ledger.close()
        self.sign()
        path = file_target(distribution)
        self.uploads[path] = sha256
        return path

    def served_under(self, bundle: VerifiedBundle) -> Served:
        """What is served once everything is signed again under the roles of ``bundle``, with the successors' keys."""
        served = self.served()
        root = Metadata[Root].from_bytes(bundle.files[ROOT]).signed
        bins = Metadata[Targets].from_bytes(bundle.files[BINS]).signed
        keys = {
            role: open_online_key(self.keys, role, key, secret, encrypted=False)
            for role, key in _online_public_keys(root, bins).items()
        }
        for role, data in bundle.files.items():
            served.files[metadata_filename(role, bundle.versions[role])] = data
        stamp = Metadata[Timestamp].from_bytes(served.files[metadata_filename(TIMESTAMP, None)]).signed
        name = metadata_filename(SNAPSHOT, stamp.snapshot_meta.version)
        old = Metadata[Snapshot].from_bytes(served.files[name]).signed
        versions = {role: version for role, version in bundle.versions.items() if role != ROOT}
        for role in succinct_roles(bins).get_roles():
            version = old.meta[f"{role}.json"].version
            before = Metadata[Targets].from_bytes(served.files[metadata_filename(role, version)]).signed
            after = plan_bin(before, Changes(), self.room.now, Lifetimes())
            served.files[metadata_filename(role, after.version)] = sign_envelope(after, [keys[BIN_PREFIX]])
            versions[role] = after.version
        name = metadata_filename(CLAIMED_NEW, old.meta[f"{CLAIMED_NEW}.json"].version)
        claims = Metadata[Targets].from_bytes(served.files[name]).signed
        claims.version += 1
        served.files[metadata_filename(CLAIMED_NEW, claims.version)] = sign_envelope(claims, [keys[BIN_PREFIX]])
        versions[CLAIMED_NEW] = claims.version
        snapshot = plan_snapshot(old, versions, self.room.now, Lifetimes())
        data = sign_envelope(snapshot, [keys[SNAPSHOT]])
        served.files[metadata_filename(SNAPSHOT, snapshot.version)] = data
        stamp = plan_timestamp(stamp, data, snapshot.version, self.room.now, Lifetimes())
        served.files[metadata_filename(TIMESTAMP, None)] = sign_envelope(stamp, [keys[TIMESTAMP]])
        return served

    def served(self) -> Served:
        files = {path.name: path.read_bytes() for path in self.metadata.iterdir()}
        return Served(now=self.room.now, files=files)

    def first_root(self, version: int = 1) -> bytes:
        return (self.metadata / f"{version}.root.json").read_bytes()

    def ask_everybody(self, root_version: int = 1, *, new_only: bool = False) -> dict[str, str | None]:
        """The hash that each client gets for the newest upload: returning ones and fresh ones, Assay's and stock."""
        path = TargetPath(next(reversed(self.uploads)))
        fresh = len(self.clients)
        root = self.first_root(root_version)
        new: dict[str, AssayClient | StockClient] = {
            "new assay": AssayClient(root),
            "new ngclient": StockClient(root, self.folder / f"ng-{fresh}"),
        }
        if not self.clients:
            self.clients = {
                "returning assay": AssayClient(root),
                "returning ngclient": StockClient(root, self.folder / "ng-returning"),
            }
        asked = new if new_only else {**self.clients, **new}
        self.clients |= {f"{name} {fresh}": client for name, client in new.items()}
        return {name: client.look_up(self.served(), path) for name, client in asked.items()}


def _online_public_keys(root: Root, bins: Targets) -> dict[str, Key]:
    named = {role: root.keys[root.roles[role].keyids[0]] for role in (TIMESTAMP, SNAPSHOT)}
    assert bins.delegations is not None
    return {**named, BIN_PREFIX: bins.delegations.keys[succinct_roles(bins).keyids[0]]}


assert set(ONLINE_ROLES) == {TIMESTAMP, SNAPSHOT, BIN_PREFIX}
