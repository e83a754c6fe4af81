"""What the web needs of the rest of the index, as Protocols and one frozen value, and what it hands over.

Invariant: nothing here can sign, and nothing here gives the web a way to write what a reader may fetch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from assay.formats.upload_form import FileDigests, FormLimits, UploadForm
from assay.index.blobs import BlobStore
from assay.index.published import PublishedStore
from assay.model.digests import Sha256
from assay.model.names import ProjectName
from assay.model.permissions import Principal


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """Where the bytes of a published name are: the blob ``sha256``, ``size`` bytes long (None: as long as the blob).

    ``immutable``: the name will never stand for another blob.
    """

    sha256: Sha256
    size: int | None = None
    immutable: bool = True


class Catalogue(Protocol):
    """Which blob stands behind a published name."""

    def peek(self, project: str, version: str, filename: str) -> LocatedFile | None:
        """What ``locate`` would say, if that is at hand without waiting; else None. ``project`` may be any text."""

    async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
        """The blob of ``packages/<project>/<version>/<filename>``, None where nothing is published under this name.

        ``filename`` is as it stands in the URL, untrusted: a distribution's, or one with ``.metadata`` appended.
        """


class PullThrough(Protocol):
    """Brings in what an upstream index has. Each method is bounded in time; many may be under way at once."""

    def is_fresh(self, project: ProjectName) -> bool:
        """Whether ``fetch_page`` would ask nobody now."""

    async def fetch_page(self, project: ProjectName) -> None:
        """See to it that a recent page of ``project`` is published. Returns quickly where the published one is recent.

        Called before the page of a project is served that is not published, or that is of upstream origin. Returns in
        silence where the upstream does not have the project or may not be asked (a private name). Raises Unreachable or
        UpstreamError only where no page is published at all, UpstreamChanged where the upstream contradicts itself.
        """

    async def fetch_file(self, project: ProjectName, version: str, filename: str) -> None:
        """See to it that the blob of a located name is stored. Called where it is not; ``filename`` as in ``locate``.

        Raises Unreachable, UpstreamError or UpstreamChanged.
        """

    async def fetch_provenance(self, project: ProjectName, version: str, filename: str) -> None:
        """See to it that the provenance which the upstream announces for ``filename`` is published.

        Called where none is published yet. Raises NotFound where none is announced, VerificationFailed, Unreachable.
        """


class Minted(Protocol):
    """An upload token: its ``text``, and when it ends (UTC)."""

    @property
    def text(self) -> str:
        """What the client sends as its password."""

    @property
    def expires(self) -> datetime:
        """From when on it is refused."""


class Mint(Protocol):
    """What exchanges identity tokens for upload tokens (``index.oidc.mint.TokenMint``)."""

    @property
    def audience(self) -> str:
        """Whom identity tokens must be meant for."""

    async def mint(self, text: str) -> Minted:
        """An upload token for an identity token. Raises NotAllowed, Unreachable, VerificationFailed, OperatorError."""

    async def burn(self, text: str) -> None:
        """End an upload token; silent about every other text."""


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """An upload that arrived whole: its form, and its bytes at ``path`` with the digests that were counted on the way.

    The digests that the form declares match. ``path`` may be moved away; the web removes it if it is still there after
    ``publish`` has returned.
    """

    form: UploadForm
    path: Path
    size: int
    digests: FileDigests


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Caps on uploads. Sizes in bytes, times in seconds.

    An upload may take ``max_seconds``; after ``grace_s`` it must have come in at ``min_bytes_per_s`` on average, and
    no ``stall_s`` may pass without a byte. ``max_uploads`` are published at once; another one waits ``queue_s`` for its
    turn. ``max_receiving`` are received at once, ``max_receiving_per_user`` of them one user's, so that somebody slow
    holds up nobody else; the next one is refused. ``min_free_bytes`` of disk stay free.
    """

    max_file_bytes: int = 2_000_000_000
    form: FormLimits = field(default_factory=FormLimits)
    max_seconds: float = 3_600.0
    grace_s: float = 30.0
    min_bytes_per_s: int = 4_096
    stall_s: float = 30.0
    max_uploads: int = 16
    max_receiving: int = 128
    max_receiving_per_user: int = 32
    queue_s: float = 20.0
    min_free_bytes: int = 64_000_000


@dataclass(frozen=True, slots=True)
class WebServices:
    """Exactly what the web needs.

    ``authenticate``: who holds this token; raises NotAllowed. ``publish``: admits an upload and returns when it is
    installable, with what the uploader should know; raises CallerError or OperatorError. Both block and are called in
    threads, at most ``upload_limits.max_uploads`` of each at once. ``project_room``: how many bytes more a project (its
    name as the form has it) takes; None: any number. ``list_projects`` blocks, too: all names, in order.
    ``incoming``: a folder on the blobs' file system for uploads under way. ``root_fingerprint``: of the trust root, for
    the front page. ``base_url``: the public address with a trailing slash; None: what the client calls us.
    ``cache_bytes``: memory for pages and metadata. ``proxied_blobs``: where a web server in front serves the folder of
    blobs (X-Accel-Redirect); empty: files are sent from here. ``claim``: takes the role of claimed projects, and
    returns when it is published; None where nothing can be claimed. ``mint``: exchanges identity tokens (trusted
    publishing); None where there is none. ``read_access``: of a private index, who holds this token, whose use it
    notes; None: anybody may read. ``uploads_per_minute`` of one user, ``failures_per_minute`` to authenticate from one
    address: more are refused unheard. ``notices``: lines for people on the front page.
    ``administer``: an operation, its parameters and who asks for it; returns its result when readers see
    it. None: nobody administers over HTTP.
    """

    published: PublishedStore
    blobs: BlobStore
    catalogue: Catalogue
    incoming: Path
    authenticate: Callable[[str], Principal]
    publish: Callable[[ReceivedUpload, Principal], Sequence[str]]
    list_projects: Callable[[], Sequence[ProjectName]]
    root_fingerprint: str
    pull_through: PullThrough | None = None
    upload_limits: UploadLimits = field(default_factory=UploadLimits)
    base_url: str | None = None
    cache_bytes: int = 128_000_000
    proxied_blobs: str = ""
    claim: Callable[[ProjectName, str, Principal], object] | None = None
    mint: Mint | None = None
    read_access: Callable[[str], Principal] | None = None
    uploads_per_minute: int = 6_000
    failures_per_minute: int = 120
    project_room: Callable[[str], int] | None = None
    notices: Callable[[], Sequence[str]] = tuple
    administer: Callable[[str, Mapping[str, Any], Principal], Mapping[str, Any]] | None = None
