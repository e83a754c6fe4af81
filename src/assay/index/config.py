"""The data folder of an index and its configuration: one frozen value, loaded once, unknown keys refused."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from assay import durable
from assay.formats.upload_checks import UploadPolicy
from assay.keys.local import KeyFolder
from assay.model.errors import OperatorError
from assay.provenance.publishers import GITHUB_ISSUER, GITLAB, GOOGLE_ISSUER
from assay.settings import read_settings
from assay.trust.layout import Lifetimes


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """``[upstream]``: ``url`` of a simple API, ``pip`` (the one pip uses here) or ``off``; ``max_age_s``: ask again.

    ``trust_root``: path of the trusted_root.json that its attestations verify with; empty: Sigstore's own.
    """

    url: str = "pip"
    max_age_s: int = 600
    trust_root: str = ""


@dataclass(frozen=True, slots=True)
class NamesConfig:
    """``[names]``: globs of project names: ``private`` ones never go upstream, ``prohibited`` ones nobody may take."""

    private: tuple[str, ...] = ()
    prohibited: tuple[str, ...] = ("requirements-txt", "rrequirements-txt")


@dataclass(frozen=True, slots=True)
class UploadsConfig:
    """``[uploads]``: what an upload may be.

    ``local_versions`` (``1.0+cuda``) and ``direct_references`` (dependencies by URL) are for private indexes.
    A release takes no file ``close_after_days`` after its first.
    """

    local_versions: bool = False
    direct_references: bool = False
    close_after_days: float = 14.0

    @property
    def policy(self) -> UploadPolicy:
        """What metadata may say."""
        return UploadPolicy(self.local_versions, self.direct_references)

    @property
    def close_after(self) -> timedelta:
        """How long a release is open."""
        return timedelta(days=self.close_after_days)


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """``[limits]``: bytes of one file and of one project, seconds until an upload must be published, and rates.

    ``uploads_per_minute`` and ``new_projects_per_day`` are a user's, ``failures_per_minute`` an address's. Reading one
    archive may take ``inspection_seconds`` and ``inspection_bytes`` of memory; ``inspections`` are read at once.
    """

    max_file_bytes: int = 2_000_000_000
    max_project_bytes: int = 100_000_000_000
    inspection_seconds: float = 120.0
    inspection_bytes: int = 1_000_000_000
    inspections: int = 4
    publish_timeout_s: float = 60.0
    uploads_per_minute: int = 6_000
    failures_per_minute: int = 120
    new_projects_per_day: int = 500


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """``[access]``: who may ``read``: ``anybody``, or who has a ``token`` (a private index)."""

    read: str = "anybody"

    def __post_init__(self) -> None:
        if self.read not in ("anybody", "token"):
            raise OperatorError(
                "this value is not understood",
                subject="access.read",
                rule="config",
                expected="anybody or token",
                found=self.read,
            )


@dataclass(frozen=True, slots=True)
class TrustConfig:
    """``[trust]``: 2**``bin_bits`` bins; ``timestamp_hours`` is how long timestamp and snapshot are valid."""

    bin_bits: int = 8
    timestamp_hours: float = 24.0


@dataclass(frozen=True, slots=True)
class KeysConfig:
    """``[keys]``: where an online key is, if not in a file: a key URI (``awskms:``, ``hsm:``, ``credential:``, ...)."""

    timestamp: str = ""
    snapshot: str = ""
    bin: str = ""
    log: str = ""

    def uris(self) -> dict[str, str]:
        """Role -> URI of the keys that are not files."""
        found = {"timestamp": self.timestamp, "snapshot": self.snapshot, "bin": self.bin, "log": self.log}
        return {role: uri for role, uri in found.items() if uri}


@dataclass(frozen=True, slots=True)
class RetentionConfig:
    """``[retention]``: metadata and pages that nobody can ask for any more go after ``days``; 0: nothing goes."""

    days: float = 14.0


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """``[metrics]``: ``listen`` on ``host:port`` for Prometheus, apart from what the public reaches; empty: none."""

    listen: str = ""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """``[proxy]``: a web server in front of this one (docs/nginx.md).

    ``trusted``: the addresses that it comes from, whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
    ``blobs``: its internal location for the folder of blobs; empty: files are sent from here.
    """

    trusted: tuple[str, ...] = ()
    blobs: str = ""

    def __post_init__(self) -> None:
        if self.blobs and not (self.blobs.startswith("/") and self.blobs.endswith("/") and self.blobs.isascii()):
            raise OperatorError(
                "this value is not understood",
                subject="proxy.blobs",
                rule="config",
                expected="a path that begins and ends with a slash: /+blobs/",
                found=self.blobs,
            )


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """``[oidc]``: trusted publishing. ``issuers``: whose identity tokens count; empty: no trusted publishing.

    ``audience``: whom they must be meant for; empty: a name made of the trust root's fingerprint, no other index's.
    """

    issuers: tuple[str, ...] = (GITHUB_ISSUER, GITLAB, GOOGLE_ISSUER)
    audience: str = ""

    def audience_of(self, root_fingerprint: str) -> str:
        """The audience of an index whose first root has this SHA-256 in hex."""
        return self.audience or f"assay-{root_fingerprint[:16]}"


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """One ``[[witness]]``: its ``name``, where it answers, and how long it is waited for."""

    name: str
    url: str
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """``config.toml`` of a data folder."""

    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    names: NamesConfig = field(default_factory=NamesConfig)
    uploads: UploadsConfig = field(default_factory=UploadsConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    proxy: ProxyConfig = field(default_factory=ProxyConfig)
    oidc: OidcConfig = field(default_factory=OidcConfig)
    keys: KeysConfig = field(default_factory=KeysConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    witness: tuple[WitnessConfig, ...] = ()

    @property
    def lifetimes(self) -> Lifetimes:
        """How long each role is valid."""
        hours = timedelta(hours=self.trust.timestamp_hours)
        return Lifetimes(timestamp=hours, snapshot=hours)


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths of an index's data folder (docs/architecture.md)."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The configuration."""
        return self.root / "config.toml"

    @property
    def ledger_file(self) -> Path:
        """The SQLite ledger, in a folder of its own because SQLite puts files beside it."""
        return self.root / "ledger" / "ledger.db"

    @property
    def blobs(self) -> Path:
        """Files by sha256."""
        return self.root / "blobs"

    @property
    def published(self) -> Path:
        """What readers may fetch."""
        return self.root / "published"

    @property
    def incoming(self) -> Path:
        """Uploads under way."""
        return self.root / "incoming"

    @property
    def inbox(self) -> Path:
        """Where offline ceremonies leave what they signed, for the signer to take."""
        return self.root / "inbox"

    @property
    def keys(self) -> KeyFolder:
        """Private keys: the signer's alone."""
        return KeyFolder(self.root / "keys")

    @property
    def socket(self) -> Path:
        """Where the signer listens for nudges."""
        return self.root / "run" / "signer.sock"

    @property
    def reserve(self) -> Path:
        """Room that is kept for the timestamp of a full disk."""
        return self.root / "run" / "reserve"

    @property
    def web_marker(self) -> Path:
        """Exists while web takes requests; touched at most once a second by requests."""
        return self.root / "run" / "web.up"

    def make(self) -> None:
        """Create the folders that are missing."""
        for folder in (self.ledger_file.parent, self.blobs, self.published, self.incoming, self.socket.parent):
            durable.make_folder(folder)


def load_config(path: Path) -> IndexConfig:
    """Read ``config.toml``; a missing file is the defaults. Raises OperatorError naming the key."""
    return read_settings(path, IndexConfig)


def read_upstream_root(data: DataFolder, config: IndexConfig) -> bytes | None:
    """The trust root of the upstream's attestations, None for Sigstore's. Raises OperatorError."""
    if not config.upstream.trust_root:
        return None
    path = data.root / config.upstream.trust_root
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(
            f"the upstream's trust root cannot be read: {error.strerror}", subject=str(path), rule="config"
        ) from error
