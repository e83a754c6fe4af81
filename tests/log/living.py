"""A whole index on loopback: the product's own ceremony, ledger, signer and web; and a machine that trusts it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from assay.client.log.audit import FullAudit, LogAuditor
from assay.client.log.heads import BelievedLog
from assay.client.registry import Bundle, Registry, TrustedEntry
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.formats.inspect import InspectionLimits
from assay.formats.pages import PageFile, file_url
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder, IndexConfig, TrustConfig
from assay.index.establish import establish
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import propose
from assay.index.log import LogWriter
from assay.index.proposals import Proposal, ProposedFile, PublishFiles, Yank
from assay.index.published import PublishedStore
from assay.index.signer.checks import FileChecks
from assay.index.signer.inbox import Inbox
from assay.index.signer.online import Keyring
from assay.index.signer.publish import Publisher
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.services import WebServices
from assay.model.digests import sha256_of
from assay.model.distributions import parse_distribution
from assay.model.names import ProjectName
from assay.trust.layout import Lifetimes, TargetPath, file_target, metadata_path
from client.small_distributions import build_wheel, wheel_metadata
from index.web.running import running

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIFETIMES = Lifetimes()

R = TypeVar("R")


@dataclass
class LivingIndex:
    """A data folder; ``now`` is its clock. ``signer`` is started when it is first used, and again after ``restart``."""

    folder: Path
    now: datetime = START
    _signer: Publisher | None = None
    _ledger: Ledger | None = None

    def __post_init__(self) -> None:
        self.data.make()
        config = IndexConfig(trust=TrustConfig(bin_bits=1))
        self.fingerprint = establish(self.data, config, None, self.now).fingerprint

    @property
    def data(self) -> DataFolder:
        return DataFolder(self.folder)

    @property
    def published(self) -> PublishedStore:
        return PublishedStore(self.data.published)

    @property
    def log(self) -> Path:
        return self.data.published / "log"

    @property
    def ledger(self) -> Ledger:
        self._ledger = self._ledger or Ledger.open(self.data.ledger_file)
        return self._ledger

    @property
    def signer(self) -> Publisher:
        self._signer = self._signer or Publisher(
            self.ledger,
            self.published,
            Inbox(self.data.inbox),
            FileChecks(BlobStore(self.data.blobs), InspectionLimits()),
            Keyring(self.data.keys, None).open,
            LIFETIMES,
            LogWriter(self.published, Keyring(self.data.keys, None).open_log),
        )
        return self._signer

    def restart(self) -> None:
        self._signer = None

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()

    def publish(self) -> None:
        """What the signer's process does until nothing is left."""
        while self.signer.run_once(self.now):
            pass

    def propose(self, proposal: Proposal) -> int:
        with self.ledger.write() as connection:
            if accounts.find_project(connection, proposal.project) is None:
                accounts.create_project(connection, proposal.project, "admin", self.now)
            return propose(connection, proposal)

    def upload(self, *releases: tuple[str, str], uploader: str = "admin") -> list[TargetPath]:
        """Propose a wheel for each (project, version); returns their target paths."""
        return [self._upload(name, version, uploader) for name, version in releases]

    def _upload(self, name: str, version: str, uploader: str) -> TargetPath:
        wheel = build_wheel(name, version)
        distribution = parse_distribution(f"{name}-{version}-py3-none-any.whl")
        sha256 = BlobStore(self.data.blobs).store_bytes(wheel)
        url = file_url(distribution.project, version, distribution.filename)
        sidecar = sha256_of(wheel_metadata(name, version))
        entry = PageFile(distribution.filename, url, sha256, len(wheel), self.now, core_metadata=sidecar)
        custom = {"origin": "upload", "uploader": uploader}
        self.propose(PublishFiles(distribution.project, "upload", (ProposedFile(distribution, entry, custom),)))
        return file_target(distribution)

    def yank(self, name: str, version: str, reason: str | None) -> None:
        self.propose(Yank(ProjectName(name), f"{name}-{version}-py3-none-any.whl", reason))

    def root(self) -> bytes:
        data = self.published.read(metadata_path("root", 1))
        assert data is not None
        return data

    def services(self) -> WebServices:
        def nobody(*_: Any) -> Any:
            raise AssertionError("this index is only read")

        blobs = BlobStore(self.data.blobs)
        catalogue = PublishedCatalogue(self.published, PublishedCache(1_000_000))
        return WebServices(
            self.published, blobs, catalogue, self.data.incoming, nobody, nobody, nobody, f"sha256:{self.fingerprint}"
        )


@dataclass
class Machine:
    """A machine that trusts the index at ``url``, with its own memory of what it saw."""

    url: str
    index: LivingIndex
    folder: Path
    entry: TrustedEntry = field(init=False)
    entries_read: int = 0

    def __post_init__(self) -> None:
        self.entry = Registry(self.folder).add(Bundle(self.url, self.index.root()), self.index.now)

    def verify(self) -> BelievedLog:
        """What ``assay log verify`` believes."""
        return self._do(lambda auditor: auditor.believe())

    def prove(self, path: TargetPath) -> int:
        """The number of the entry that published ``path``."""

        async def prove(auditor: LogAuditor) -> int:
            target = await auditor.index.target(path)
            return await auditor.require_logged(await auditor.believe(), target)

        return self._do(prove)

    def audit(self) -> FullAudit:
        """What ``assay log verify --full`` finds."""

        async def audit(auditor: LogAuditor) -> FullAudit:
            return await auditor.audit(await auditor.believe(), self._count)

        return self._do(audit)

    def _count(self, entries: int) -> None:
        self.entries_read = entries

    def _do(self, what: Callable[[LogAuditor], Awaitable[R]]) -> R:
        async def run() -> R:
            async with Fetcher() as fetcher:
                files = self.folder / "files"
                index = TrustedIndex(self.url, self.entry.store, files, fetcher, lambda: self.index.now)
                await index.refresh()
                return await what(LogAuditor(index, self.entry.store, fetcher))

        return asyncio.run(run())


@contextmanager
def living(folder: Path, kind: type[LivingIndex] = LivingIndex) -> Iterator[tuple[LivingIndex, str]]:
    """An index that answers, and its address."""
    index = kind(folder)
    try:
        with running(index.services()) as address:
            yield index, address.url
    finally:
        index.close()


def hours(count: float) -> timedelta:
    return timedelta(hours=count)
