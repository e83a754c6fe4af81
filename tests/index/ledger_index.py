"""An index in one process at a clock of the test's: its real ledger, admission and signer, without web and sockets."""

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from assay.formats.inspect import InspectedDistribution, InspectionLimits, inspect_distribution
from assay.formats.pages import ProjectPage
from assay.formats.upload_form import FileDigests, parse_upload_form
from assay.index.admission import Admission
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder, IndexConfig, TrustConfig
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import outbox_state
from assay.index.log import LogWriter
from assay.index.provenance.desk import EvidenceDesk
from assay.index.published import PublishedStore
from assay.index.ready import make_ready
from assay.index.registration import Rules
from assay.index.signer.checks import FileChecks
from assay.index.signer.inbox import Inbox
from assay.index.signer.online import Keyring
from assay.index.signer.publish import Publisher
from assay.index.signer.state import PublishedState
from assay.index.web.services import ReceivedUpload
from assay.model.digests import Sha256
from assay.model.names import ProjectName, parse_project_name
from assay.model.permissions import Action, Principal, Scope
from assay.trust.layout import Lifetimes, TargetPath
from client.small_distributions import build_wheel, wheel_metadata

START = datetime(2026, 11, 23, 10, tzinfo=UTC)
DEMO = parse_project_name("demo")


def wheel_name(project: str, version: str) -> str:
    return f"{project}-{version}-py3-none-any.whl"


def inspect_here(path: Path, filename: str, _user: str) -> InspectedDistribution:
    """Inspection without a process of its own."""
    with path.open("rb") as stream:
        return inspect_distribution(stream, filename, InspectionLimits())


@dataclass
class LedgerIndex:
    """``now`` is the clock of everybody in it. ``folder``: new, or that of an index which is started again."""

    folder: Path
    now: datetime = START
    notices: list[str] = field(default_factory=list)
    rules: Rules = field(default_factory=Rules)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = DataFolder(self.folder)
        self.data.make()
        self.make_ready()
        self.ledger = Ledger.open(self.data.ledger_file)
        self.blobs = BlobStore(self.data.blobs)
        self.published = PublishedStore(self.data.published)
        evidence = EvidenceDesk(self.blobs, self.published)
        self.admission = Admission(self.ledger, self.blobs, inspect_here, lambda: self.now, evidence, self.rules)
        self.publisher = self.new_publisher()
        self.sign()

    def make_ready(self) -> None:
        """What every start does before its signer."""
        config = IndexConfig(trust=TrustConfig(bin_bits=2))
        token = make_ready(self.data, config, None, self.now).admin_token
        self.admin_token = token.text if token is not None else ""

    def new_publisher(self) -> Publisher:
        """The signer as it starts."""
        return Publisher(
            self.ledger,
            self.published,
            Inbox(self.data.inbox),
            FileChecks(self.blobs, InspectionLimits(), close_after=self.rules.close_after),
            Keyring(self.data.keys, None).open,
            Lifetimes(),
            LogWriter(self.published, Keyring(self.data.keys, None).open_log),
        )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self.ledger.write() as connection:
            yield connection

    def user(self, name: str, *, projects: Sequence[str] | None = None, expires: datetime | None = None) -> Principal:
        """A new user with an upload token."""
        return self.principal(self.token(name, projects=projects, expires=expires))

    def token(
        self,
        name: str,
        *,
        projects: Sequence[str] | None = None,
        expires: datetime | None = None,
        actions: frozenset[Action] = frozenset({Action.UPLOAD}),
    ) -> str:
        """A token of ``name``, who is made where there is no such user."""
        scope = Scope(actions, frozenset(map(parse_project_name, projects)) if projects is not None else None)
        with self.write() as connection:
            if name not in [row["name"] for row in accounts.list_users(connection)]:
                accounts.create_user(connection, name, "test", self.now)
            entropy = secrets.token_bytes(32)
            return accounts.create_token(
                connection, name, scope, "test", self.now, entropy=entropy, expires=expires
            ).text

    def principal(self, token: str) -> Principal:
        with self.ledger.read() as connection:
            return accounts.authenticate(connection, token, self.now)

    def admit(self, data: bytes, filename: str, principal: Principal, **fields: str) -> int:
        """Hand an upload to admission as web does; returns the proposal's number."""
        name, version = filename.removesuffix(".tar.gz").split("-")[:2]
        digest = hashlib.sha256(data).hexdigest()
        form: list[tuple[str, str]] = list(
            {
                ":action": "file_upload",
                "protocol_version": "1",
                "metadata_version": "2.1",
                "name": name,
                "version": version,
                "filetype": "sdist" if filename.endswith(".tar.gz") else "bdist_wheel",
                "pyversion": "source" if filename.endswith(".tar.gz") else "py3",
                "sha256_digest": digest,
                "summary": "a small wheel",
                **fields,
            }.items()
        )
        path = self.data.incoming / secrets.token_hex(8)
        path.write_bytes(data)
        blake, md5 = hashlib.blake2b(data, digest_size=32).hexdigest(), hashlib.md5(data).hexdigest()
        digests = FileDigests(Sha256(digest), blake, md5)
        upload = ReceivedUpload(parse_upload_form(form, filename), path, len(data), digests)
        admitted = self.admission.admit(upload, principal)
        self.notes = list(admitted.notes)
        return admitted.proposal

    def publish(self, project: str, version: str, principal: Principal) -> str:
        """Admit and sign a wheel; returns its filename. The signer's refusal is an AssertionError."""
        name = wheel_name(project, version)
        seq = self.admit(build_wheel(project, version), name, principal)
        self.sign()
        state, reason = self.outcome(seq)
        assert state == "published", reason
        return name

    def sign(self) -> None:
        while self.publisher.run_once(self.now):
            pass

    def outcome(self, seq: int) -> tuple[str, str | None]:
        with self.ledger.read() as connection:
            return outbox_state(connection, seq)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def state(self) -> PublishedState:
        """What readers verify, read anew from the published files."""
        return PublishedState.read(self.published, self.now)

    def page(self, project: ProjectName = DEMO) -> ProjectPage:
        page = self.state().page(project)
        assert page is not None
        return page

    def vouched(self, project: str, version: str) -> str | None:
        """The hash that a client finds for a wheel; None: nobody vouches for it."""
        found = self.state().target(TargetPath(f"packages/{project}/{version}/{wheel_name(project, version)}"))
        return found.sha256 if found is not None else None

    def events(self, kind: str) -> list[dict[str, object]]:
        """The facts of the events of ``kind``, oldest first."""
        from sqlalchemy import select

        from assay.index.ledger.schema import events

        with self.ledger.read() as connection:
            rows = connection.execute(select(events).where(events.c.kind == kind).order_by(events.c.id)).mappings()
            return [{"actor": row["actor"], "project": row["project"], **row["facts"]} for row in rows]


__all__ = ["DEMO", "START", "LedgerIndex", "build_wheel", "wheel_metadata", "wheel_name"]
