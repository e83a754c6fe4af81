"""The index in one process at a clock of the test's, with uploads that bring signatures, and a client of it.

The index answers over a real socket with the product's own web application; the client is the product's own, too.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.client.policed import PolicedSource
from assay.client.store import MetadataStore
from assay.client.trusted_index import TrustedIndex, VerifiedFile
from assay.fetch import Fetcher
from assay.formats.upload_form import FileDigests, parse_upload_form
from assay.index.ledger import accounts
from assay.index.provenance.approvals import Approvals
from assay.index.provenance.changes import SignerChange
from assay.index.provenance.offices import SignersOffice
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.services import ReceivedUpload, WebServices
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import parse_distribution
from assay.model.permissions import Principal, ProjectRole
from assay.policy.model import Policy
from assay.policy.parse import no_files, parse_layer
from assay.policy.rules import provenance_of
from assay.trust.layout import ROOT, metadata_path
from index.ledger_index import DEMO, LedgerIndex, build_wheel, wheel_name
from index.web.running import Address, running

START = datetime(2024, 5, 23, 10, tzinfo=UTC)
"""When the index of these tests lives: in every machine's past, since pysequoia reads the machine's clock, too."""

WHEEL = wheel_name("demo", "1.0")


@dataclass
class Client:
    """A machine that trusts the index: what it keeps survives from one install to the next."""

    index: "SigningIndex"
    web: Address
    folder: Path

    def install(self, filename: str = WHEEL, policy: str | Policy = "") -> VerifiedFile:
        """Get the file as an installer would under ``policy`` (a policy file's text, or a policy).

        What policy lets pass goes to the index's ``notices``.
        """
        if isinstance(policy, str):
            policy = Policy((parse_layer(policy.encode(), "project", "policy.toml", no_files),))
        return asyncio.run(self._install(filename, policy))

    async def _install(self, filename: str, policy: Policy) -> VerifiedFile:
        store = MetadataStore(self.folder / "metadata")
        if store.read(ROOT) is None:
            store.write(ROOT, self.index.published.read(metadata_path(ROOT, 1)) or b"")
        async with Fetcher() as fetcher:
            trusted = TrustedIndex(
                self.web.url,
                store,
                self.folder / "files",
                fetcher,
                lambda: self.index.now,
                policy=provenance_of(policy),
                notice=self.index.notices.append,
            )
            policed = PolicedSource([trusted], policy, lambda: self.index.now, self.index.notices.append)
            await policed.refresh()
            return await policed.file(parse_distribution(filename))


@dataclass
class SigningIndex(LedgerIndex):
    """A ``LedgerIndex`` on which ``alice`` owns the project ``demo``."""

    now: datetime = START

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alice: Principal = self.user("alice")
        with self.write() as connection:
            accounts.create_project(connection, DEMO, "alice", self.now)
            accounts.grant_role(connection, DEMO, "alice", ProjectRole.OWNER, "alice", self.now)

    def send(
        self,
        filename: str,
        data: bytes,
        *,
        signature: bytes | None = None,
        attestations: list[bytes] | None = None,
        who: Principal | None = None,
    ) -> int:
        """Hand an upload to admission as web does; returns the proposal's number."""
        name, version = filename.split("-")[:2]
        digest = hashlib.sha256(data).hexdigest()
        fields = {
            ":action": "file_upload",
            "protocol_version": "1",
            "metadata_version": "2.1",
            "name": name,
            "version": version,
            "filetype": "bdist_wheel",
            "pyversion": "py3",
            "sha256_digest": digest,
            "summary": "a small wheel",
        }
        if attestations is not None:
            fields["attestations"] = "[" + ",".join(each.decode() for each in attestations) + "]"
        part = (f"{filename}.asc", signature) if signature is not None else None
        path = self.data.incoming / secrets.token_hex(8)
        path.write_bytes(data)
        blake, md5 = hashlib.blake2b(data, digest_size=32).hexdigest(), hashlib.md5(data).hexdigest()
        digests = FileDigests(Sha256(digest), blake, md5)
        form = parse_upload_form(list(fields.items()), filename, signature=part)
        return self.admission.admit(ReceivedUpload(form, path, len(data), digests), who or self.alice).proposal

    def settle(self, seq: int) -> None:
        """Sign, and see to it that the proposal was published."""
        self.sign()
        state, reason = self.outcome(seq)
        assert state == "published", reason

    def upload(
        self, version: str = "1.0", *, signature: bytes | None = None, attestations: list[bytes] | None = None
    ) -> str:
        """Publish a wheel of ``demo`` with what comes beside it; its filename."""
        filename = wheel_name("demo", version)
        self.settle(self.send(filename, wheel(version), signature=signature, attestations=attestations))
        return filename

    def change(self, change: SignerChange) -> None:
        """Change who signs, as the operator's command does, and publish it."""
        with self.write() as connection:
            seq = SignersOffice(self.published, Approvals(self.data.inbox)).propose(
                connection, change, "operator", self.now
            )
        self.settle(seq)

    @contextmanager
    def served(self) -> Iterator[Address]:
        """The index over a socket, for readers."""

        def nobody(*_: object) -> Any:
            raise AssertionError("these tests upload without the web")

        services = WebServices(
            published=self.published,
            blobs=self.blobs,
            catalogue=PublishedCatalogue(self.published, PublishedCache(10_000_000)),
            incoming=self.data.incoming,
            authenticate=nobody,
            publish=nobody,
            list_projects=lambda: [DEMO],
            root_fingerprint=sha256_of(self.published.read(metadata_path(ROOT, 1)) or b""),
        )
        with running(services) as web:
            yield web


def wheel(version: str = "1.0") -> bytes:
    return build_wheel("demo", version)
