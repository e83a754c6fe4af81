"""The machine of an index, and of one client: a folder that can be copied, killed and started again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select

from assay.client.store import MetadataStore
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.index.announcements import Announcements
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.index.ledger.publications import read_head
from assay.index.ledger.schema import publications
from assay.index.provenance.changes import AddPublisher
from assay.index.published import PublishedStore
from assay.index.signer.online import Keyring
from assay.index.upstream.pull import PullSettings, PullThrough
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.services import WebServices
from assay.model.digests import sha256_of
from assay.model.names import ProjectName
from assay.provenance.own_root.attest import render_statement
from assay.trust.layout import ROOT, TargetPath, metadata_path
from e2e.upstream import Upstream, running_upstream
from faults.oracle import Acknowledged
from index.ledger_index import DEMO, START, LedgerIndex, build_wheel, wheel_name
from provenance.own_root_world import WORKFLOW, Organisation
from provenance_wiring.publishers import FORGE, members
from provenance_wiring.signing_index import SigningIndex

R = TypeVar("R")

NOW = START + timedelta(hours=2)
"""When the faults happen: two hours after the index was made."""

ATTESTED = "1.9"
"""The version of ``demo`` that has an attestation in ``folder/attestation.json`` and is not uploaded yet."""


class Host(LedgerIndex):
    """The index as its ordinary start leaves it: what was under way is finished or dropped, what waits is published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Keyring(self.data.keys, None).promote(self.publisher.keys)
        for leftover in self.data.incoming.iterdir():  # as web does
            leftover.unlink()

    def head(self) -> tuple[int, int, bytes | None]:
        """Publication, epoch and timestamp of the head."""
        with self.ledger.read() as connection:
            head = read_head(connection)
        return head.publication, head.epoch, head.timestamp

    def publications(self) -> list[tuple[int, int, bool]]:
        """Number, epoch and whether it is done, of every publication, oldest first."""
        columns = (publications.c.number, publications.c.epoch, publications.c.done)
        with self.ledger.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(select(*columns).order_by(columns[0]))]

    def root_version(self) -> int:
        return self.state().trusted.root.version

    def pull_through(self, fetcher: Fetcher, url: str) -> PullThrough:
        """The pull-through of web, beside the signer in one process."""

        def page_of(project: ProjectName) -> object:
            return self.state().page(project)

        settings = PullSettings(f"{url}/simple/", (), 600, 60)
        return PullThrough(
            settings,
            self.ledger,
            self.blobs,
            self.data.incoming,
            fetcher,
            SigningAtOnce(self),
            lambda: self.now,
            page_of,  # type: ignore[arg-type]
            self.published.read,
        )


class Standby(Host):
    """A signer that takes over from one that runs: without the start of a whole index."""

    def make_ready(self) -> None:
        pass


def reading_services(data: DataFolder) -> WebServices:
    """What web needs to serve readers from ``data``; it changes nothing there."""

    def nobody(*_: object) -> Any:
        raise AssertionError("this web only reads")

    published = PublishedStore(data.published)
    return WebServices(
        published=published,
        blobs=BlobStore(data.blobs),
        catalogue=PublishedCatalogue(published, PublishedCache(10_000_000)),
        incoming=data.incoming,
        authenticate=nobody,
        publish=nobody,
        list_projects=lambda: [DEMO],
        root_fingerprint=sha256_of(published.read(metadata_path(ROOT, 1)) or b""),
    )


class SigningAtOnce(Announcements):
    """Whoever waits for a publication runs the signer."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.data.socket, host.ledger)
        self._host = host

    async def wait(self, seq: int, timeout_s: float) -> None:
        await asyncio.to_thread(self._host.sign)
        await super().wait(seq, timeout_s)


def use_client(folder: Path, url: str, now: datetime, use: Callable[[TrustedIndex], Awaitable[R]]) -> R:
    """What ``use`` gets of the index at ``url`` as the client whose machine is ``folder`` sees it."""

    async def run() -> R:
        async with Fetcher() as fetcher:
            store = MetadataStore(folder / "metadata")
            return await use(TrustedIndex(url, store, folder / "files", fetcher, lambda: now))

    return asyncio.run(run())


@dataclass(frozen=True)
class World:
    """A folder with an index and a client that refreshed once, to copy from; ``acknowledged`` is what it owes.

    ``upstream`` answers while the world lasts.
    """

    folder: Path
    root: bytes
    acknowledged: Acknowledged
    upstream: Upstream


def make_world(folder: Path, upstream: Upstream) -> World:
    """Alice's ``demo`` 1.0 and 1.1, published; 1.9 is attested but not uploaded; one client has seen 1.0."""
    index = SigningIndex(folder / "index", now=START)
    company = Organisation()
    index.change(AddPublisher(DEMO, members(FORGE), company.trust.root, optional=True))
    files: dict[str, str] = {}
    for version in ("1.0", "1.1"):
        name = index.publish(DEMO, version, index.alice)
        files[target_of(name)] = sha256_of(build_wheel(DEMO, version))
        index.later(minutes=10)
        if version == "1.0":
            root = index.published.read(metadata_path(ROOT, 1)) or b""
            store = MetadataStore(folder / "client" / "metadata")
            store.write(ROOT, root)
    statement = render_statement(wheel_name(DEMO, ATTESTED), sha256_of(build_wheel(DEMO, ATTESTED)))
    (folder / "attestation.json").write_bytes(company.attest(WORKFLOW, statement=statement, now=NOW))
    (folder / "alice.token").write_text(index.token("alice"))
    index.ledger.close()
    data = build_wheel("theirs", "1.0")
    upstream.add("theirs", wheel_name("theirs", "1.0"), data)
    return World(folder, root, Acknowledged(files), upstream)


def target_of(filename: str) -> TargetPath:
    project, version = filename.split("-")[:2]
    return TargetPath(f"packages/{project}/{version}/{filename}")


__all__ = ["DEMO", "Host", "World", "make_world", "reading_services", "running_upstream", "target_of", "use_client"]
