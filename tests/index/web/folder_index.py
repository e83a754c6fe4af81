"""A second implementation of what the web needs: an index in a folder, without ledger or signer, whole at once."""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from assay.formats.inspect import InspectionLimits, inspect_distribution
from assay.formats.pages import PageFile, ProjectPage, file_url, parse_page_json, render_page_json
from assay.formats.upload_checks import check_form_matches
from assay.index.admission import declared_fields
from assay.index.blobs import BlobStore
from assay.index.published import PublishedStore
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.services import ReceivedUpload, WebServices
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AlreadyExists, AssayError, NotAllowed
from assay.model.names import ProjectName
from assay.model.permissions import Action, Principal, Scope

TOKEN = "a-token-that-may-upload"
TIME = datetime(2026, 11, 23, 10, tzinfo=UTC)
FINGERPRINT = "sha256:" + "5" * 64


@dataclass
class FolderIndex:
    """``refusal``: what every publication raises. ``held``: publications wait until it is set."""

    root: Path
    refusal: AssayError | None = None
    held: threading.Event = field(default_factory=threading.Event)
    publishing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.held.set()
        self.published = PublishedStore(self.root / "published")
        self.blobs = BlobStore(self.root / "blobs")
        self.incoming = self.root / "incoming"
        self.incoming.mkdir(parents=True)
        self._writing = threading.Lock()

    def services(self, **changes: object) -> WebServices:
        settings: dict[str, object] = {
            "published": self.published,
            "blobs": self.blobs,
            "catalogue": PublishedCatalogue(self.published, PublishedCache(10_000_000)),
            "incoming": self.incoming,
            "authenticate": self.authenticate,
            "publish": self.publish,
            "list_projects": self.projects,
            "root_fingerprint": FINGERPRINT,
        }
        return WebServices(**(settings | changes))  # type: ignore[arg-type]

    def authenticate(self, token: str) -> Principal:
        if token != TOKEN:
            raise NotAllowed("this token is not known here", rule="token-unknown")
        return Principal("alice", "token:1", Scope(frozenset({Action.UPLOAD})))

    def publish(self, upload: ReceivedUpload, principal: Principal) -> Sequence[str]:
        self.publishing.release()
        self.held.wait(30)
        if self.refusal is not None:
            raise self.refusal
        with upload.path.open("rb") as stream:
            inspected = inspect_distribution(stream, upload.form.distribution.filename, InspectionLimits())
        check_form_matches(declared_fields(upload.form), inspected)
        with self._writing:
            old = self.page(upload.form.distribution.project)
            known = old.file(upload.form.distribution.filename) if old else None
            if known is not None:
                if known.sha256 != upload.digests.sha256:
                    raise AlreadyExists("this filename already exists with other bytes", subject=known.filename)
                return ()
            copy = self.root / "copy"
            shutil.copyfile(upload.path, copy)
            self._add(upload.form.distribution, copy, inspected.metadata_bytes)
            return ()

    def add(self, filename: str, data: bytes, metadata: bytes | None = None, **facts: object) -> PageFile:
        """Publish ``data`` as it is, without looking into it."""
        copy = self.root / "copy"
        copy.write_bytes(data)
        return self._add(parse_distribution(filename), copy, metadata, **facts)

    def _add(self, distribution: Distribution, source: Path, metadata: bytes | None, **facts: object) -> PageFile:
        data = source.read_bytes()
        entry = PageFile(
            filename=distribution.filename,
            url=file_url(distribution.project, distribution.version, distribution.filename),
            sha256=sha256_of(data),
            size=len(data),
            upload_time=TIME,
            core_metadata=self.blobs.store_bytes(metadata) if metadata is not None else None,
            **facts,  # type: ignore[arg-type]
        )
        self.blobs.store(source, entry.sha256)
        old = self.page(distribution.project) or ProjectPage(distribution.project, "upload", ())
        self.put_page(old.with_files((entry,)))
        return entry

    def put_page(self, page: ProjectPage) -> Sha256:
        data = render_page_json(page)
        sha256 = sha256_of(data)
        hashed = f"simple/{page.project}/{sha256}.index.json"
        self.published.write({hashed: data})
        self.published.point(f"simple/{page.project}/index.json", hashed)
        return sha256

    def page(self, project: str) -> ProjectPage | None:
        data = self.published.read(f"simple/{project}/index.json")
        return parse_page_json(data) if data is not None else None

    def projects(self) -> Sequence[ProjectName]:
        folder = self.published.path("simple")
        return [ProjectName(name) for name in sorted(path.name for path in folder.iterdir())] if folder.exists() else []

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.incoming.iterdir())
