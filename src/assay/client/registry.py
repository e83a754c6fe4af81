"""Which indexes this machine trusts: a folder each, with its address and the metadata that verified.

What verifies is imported where it is used: ``assay run`` knows which index it trusts before it loads TUF.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import platformdirs

from assay import durable
from assay.client.store import MetadataStore
from assay.model.digests import Sha256, parse_sha256, sha256_of
from assay.model.errors import AlreadyExists, CallerError, NotFresh, NotTrusted, Unreachable, VerificationFailed
from assay.policy.model import DEFAULT_PROVENANCE, ProvenancePolicy
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP, RoleLimits, metadata_path

if TYPE_CHECKING:
    from assay.client.trusted_index import TrustedIndex

_DESCRIPTION = "index.json"
_log = logging.getLogger(__name__)
_UNSAFE = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class TrustedEntry:
    """An index that is trusted from ``fingerprint`` (sha256 of a root) on."""

    url: str
    fingerprint: Sha256
    added: datetime
    folder: Path

    @property
    def store(self) -> MetadataStore:
        """Its metadata."""
        return MetadataStore(self.folder / "metadata")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A floor to start from: a root, and the timestamp and snapshot below which nothing is accepted."""

    url: str
    root: bytes
    timestamp: bytes | None = None
    snapshot: bytes | None = None


def user_data() -> Path:
    """Where this user's trust decisions lie."""
    return Path(platformdirs.user_data_dir("assay"))


def user_cache() -> Path:
    """Where this user's verified files lie; may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("assay"))


class Registry:
    """The trusted indexes in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> "Registry":
        """The registry of the user who runs this."""
        return cls(user_data() / "indexes")

    def entries(self) -> list[TrustedEntry]:
        """Every trusted index, by address."""
        found = [self._read(path.parent) for path in self._folder.glob(f"*/{_DESCRIPTION}")]
        return sorted(found, key=lambda entry: entry.url)

    def find(self, url: str | None) -> TrustedEntry:
        """The index at ``url``, or the only one. Raises NotTrusted, CallerError when there are several."""
        entries = self.entries()
        if url is not None:
            entries = [entry for entry in entries if entry.url == normal_url(url)]
        if not entries:
            raise NotTrusted(
                "no trust root is known for this index" if url else "no index is trusted on this machine yet",
                subject=url,
                next_step="assay trust add URL --fingerprint sha256:... (its operator tells you the fingerprint)",
            )
        if len(entries) > 1:
            raise CallerError(
                "several indexes are trusted; say which",
                found=", ".join(entry.url for entry in entries),
                next_step="--index URL",
            )
        return entries[0]

    def add(self, bundle: Bundle, now: datetime) -> TrustedEntry:
        """Trust an index from ``bundle`` on. Raises VerificationFailed, AlreadyExists when it is trusted already."""
        url = normal_url(bundle.url)
        folder = self._folder / _slug(url)
        if (folder / _DESCRIPTION).exists():
            raise AlreadyExists("this index is trusted already", subject=url, next_step="assay trust list")
        _require_consistent(bundle)
        store = MetadataStore(folder / "metadata")
        for role, data in ((ROOT, bundle.root), (TIMESTAMP, bundle.timestamp), (SNAPSHOT, bundle.snapshot)):
            if data is not None:
                store.write(role, data)
        fingerprint = sha256_of(bundle.root)
        description = {"url": url, "fingerprint": fingerprint, "added": now.astimezone(UTC).isoformat()}
        durable.write_file(folder / _DESCRIPTION, json.dumps(description, indent=1).encode())
        return self._read(folder)

    def remove(self, entry: TrustedEntry) -> None:
        """Trust ``entry`` no longer, and forget what is known of it."""
        (entry.folder / _DESCRIPTION).unlink(missing_ok=True)
        shutil.rmtree(entry.folder)

    def replace(self, url: str, root: bytes, now: datetime) -> TrustedEntry:
        """Trust a new identity of an index in the place of the old one: an explicit decision, made out of band.

        What was known of the old identity is moved aside, not deleted. Raises VerificationFailed, NotTrusted.
        """
        entry = self.find(url)
        _require_consistent(Bundle(entry.url, root))
        old = entry.folder / f"replaced-{now:%Y%m%dT%H%M%SZ}"
        entry.store.folder.replace(old)
        (entry.folder / _DESCRIPTION).replace(old / _DESCRIPTION)
        return self.add(Bundle(entry.url, root), now)

    def raise_floor(self, entry: TrustedEntry, bundle: Bundle) -> bool:
        """Accept nothing older than ``bundle`` from a trusted index any more; False where that is known already.

        ``entry`` was refreshed. Raises VerificationFailed for a bundle of another index, NotFresh where the index
        itself shows an older root than the bundle has, CallerError for a bundle of before a rotation.
        """
        from assay.trust.verify import TrustedMetadata  # only here: `assay run` starts without it

        _require_consistent(bundle)
        trusted = TrustedMetadata(entry.store.read_root(), now=datetime.min.replace(tzinfo=UTC))
        ours, theirs = trusted.root.version, TrustedMetadata(bundle.root, now=trusted.now).root.version
        if theirs > ours:
            raise NotFresh(
                "the index shows an older root than the bundle has",
                subject=entry.url,
                rule="rollback",
                expected=f"root version {theirs}",
                found=f"version {ours}",
            )
        if bundle.root != entry.store.read_root():
            raise CallerError(
                "this floor is of before a new root; with new online keys it holds nothing back",
                subject=entry.url,
                rule="floor-outdated",
                expected=f"a bundle with root version {ours}",
                found=f"version {theirs}",
                next_step="assay trust export FILE, on a machine that is up to date",
            )
        kept = entry.store.read(TIMESTAMP)
        if kept is not None:
            trusted.update_timestamp(kept)
        known = trusted.timestamp.version if trusted.timestamp else 0
        if bundle.timestamp is None or bundle.snapshot is None:
            return False
        trusted.update_timestamp(bundle.timestamp)
        if trusted.timestamp is None or trusted.timestamp.version <= known:
            return False
        entry.store.write(TIMESTAMP, bundle.timestamp)
        entry.store.write(SNAPSHOT, bundle.snapshot)
        return True

    def export(self, entry: TrustedEntry) -> Bundle:
        """The floor of ``entry``: what this machine would not go below."""
        store = entry.store
        return Bundle(entry.url, store.read_root(), store.read(TIMESTAMP), store.read(SNAPSHOT))

    def _read(self, folder: Path) -> TrustedEntry:
        document = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        return TrustedEntry(
            document["url"], parse_sha256(document["fingerprint"]), datetime.fromisoformat(document["added"]), folder
        )


def normal_url(url: str) -> str:
    """An index's address as it is kept: http(s), ending with a slash. Raises CallerError.

    It stands in folder names, receipts, bundles and messages, so it has no credentials in it.
    """
    parts = urlsplit(url)
    if parts.username is not None:
        raise CallerError(
            "credentials do not belong in the address of a trusted index",
            rule="url-credentials",
            subject=f"{parts.scheme}://{parts.hostname}/",
            next_step="put them into ~/.netrc, which Assay, pip and uv read, and leave them out of the address",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallerError("not the address of an index", subject=url, expected="http(s)://host[:port]/")
    return url if url.endswith("/") else f"{url}/"


def encode_bundle(bundle: Bundle) -> bytes:
    """``bundle`` as one JSON file."""
    document = {"url": bundle.url, "root": bundle.root.decode()}
    for role, data in ((TIMESTAMP, bundle.timestamp), (SNAPSHOT, bundle.snapshot)):
        if data is not None:
            document[role] = data.decode()
    return json.dumps({"assay-trust-bundle": 1} | document, indent=1).encode()


def decode_bundle(data: bytes) -> Bundle:
    """The inverse of ``encode_bundle``. Raises CallerError."""
    try:
        document = json.loads(data)
        if document["assay-trust-bundle"] != 1:
            raise ValueError("unknown version")
        optional = {role: document[role].encode() for role in (TIMESTAMP, SNAPSHOT) if role in document}
        return Bundle(document["url"], document["root"].encode(), **optional)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CallerError("not a trust bundle", found=f"{type(error).__name__}: {error}") from error


async def fetch_root(url: str, fingerprint: Sha256) -> bytes:
    """The root that ``fingerprint`` names, of whatever version, from the index itself.

    Only its hash is trusted. Raises VerificationFailed when the index has no such root, Unreachable.
    """
    from assay.fetch import Fetcher
    from assay.trust.update import MAX_ROOT_ROTATIONS

    seen = []
    async with Fetcher() as fetcher:
        for version in range(1, MAX_ROOT_ROTATIONS + 1):
            data = await fetcher.get(normal_url(url) + metadata_path(ROOT, version), max_bytes=RoleLimits().root)
            if data is None:
                break
            if sha256_of(data) == fingerprint:
                return data
            seen.append(f"sha256:{sha256_of(data)}")
    if not seen:
        raise Unreachable("there is no Assay index here", subject=url)
    raise VerificationFailed(
        "the index has no root with this fingerprint",
        subject=url,
        rule="root-fingerprint",
        expected=f"sha256:{fingerprint}",
        found=", ".join(seen[-3:]),
        next_step="ask the operator for the fingerprint again, over another channel",
    )


@asynccontextmanager
async def opened(
    entry: TrustedEntry,
    policy: ProvenancePolicy = DEFAULT_PROVENANCE,
    notice: Callable[[str], None] = _log.warning,
) -> AsyncIterator["TrustedIndex"]:
    """The client's view of a trusted index, with a connection pool for as long as the block lasts.

    ``policy`` says who must sign; ``notice`` is told of what it lets pass.
    """
    from assay.client.trusted_index import TrustedIndex
    from assay.fetch import Fetcher

    files = user_cache() / "files"
    async with Fetcher() as fetcher:
        yield TrustedIndex(
            entry.url, entry.store, files, fetcher, lambda: datetime.now(UTC), policy=policy, notice=notice
        )


def _require_consistent(bundle: Bundle) -> None:
    """Raise VerificationFailed unless the bundle's files vouch for each other; expired ones do, too."""
    from assay.keys.ceremony.enrolment import require_production_root
    from assay.trust.verify import TrustedMetadata

    trusted = TrustedMetadata(bundle.root, now=datetime.min.replace(tzinfo=UTC))
    require_production_root(trusted.root)
    if bundle.timestamp is not None:
        trusted.update_timestamp(bundle.timestamp)
        if bundle.snapshot is not None:
            trusted.update_snapshot(bundle.snapshot, already_trusted=True)


def _slug(url: str) -> str:
    host = _UNSAFE.sub("-", urlsplit(url).netloc.lower())
    return f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
