"""Opening a bundle on a machine without a network: the client's own verification, as of when the bundle was fresh.

A timestamp lives a day and a bundle travels longer. So it is verified as of the last moment at which its own signed
timestamp was valid, and that moment may be ``max_age`` ago at most. Everything else is as online: the trusted root, the
floor of what this machine has seen, every signature and hash.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import orjson

from assay.client.bundle.folder import FolderFetcher
from assay.client.bundle.making import DESCRIPTION, FLOOR, FORMAT
from assay.client.registry import Registry, TrustedEntry, decode_bundle, normal_url, user_cache
from assay.client.trusted_index import TrustedIndex
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import CallerError, NotFresh, NotTrusted, VerificationFailed
from assay.trust.layout import ROOT, RoleLimits, metadata_path
from assay.trust.update import MAX_ROOT_ROTATIONS

MAX_DESCRIPTION_BYTES: Final = 1_000_000
MAX_FLOOR_BYTES: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """A bundle's description. Only ``url`` is used, and only to find the root that this machine trusts for it."""

    folder: Path
    url: str
    locks: tuple[str, ...]


def read_bundle(folder: Path) -> OpenedBundle:
    """What the bundle says it is. Raises CallerError."""
    try:
        document = orjson.loads(_read(folder / DESCRIPTION, MAX_DESCRIPTION_BYTES))
        if document["assay-bundle"] != FORMAT:
            raise ValueError("another format")
        locks = tuple(Path(name).name for name in document["locks"])
        return OpenedBundle(folder, normal_url(document["url"]), locks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallerError(
            "not a bundle", subject=str(folder), rule="bundle", found=str(error), next_step="assay bundle create"
        ) from error


def trust_bundle(bundle: OpenedBundle, fingerprint: Sha256 | None, now: datetime) -> TrustedEntry:
    """The trusted index that the bundle is of; trusted from now on by ``fingerprint`` where it was not yet.

    Raises NotTrusted, VerificationFailed where no root in the bundle has that fingerprint.
    """
    registry = Registry.of_user()
    try:
        return registry.find(bundle.url)
    except NotTrusted as error:
        if fingerprint is None:
            error.next_step = f"--fingerprint sha256:... of {bundle.url}, which its operator tells you, not the bundle"
            raise
    floor = decode_bundle(_read(bundle.folder / FLOOR, MAX_FLOOR_BYTES))
    for version in range(1, MAX_ROOT_ROTATIONS + 1):
        path = bundle.folder / metadata_path(ROOT, version)
        if not path.is_file():
            break
        data = _read(path, RoleLimits().root)
        if sha256_of(data) == fingerprint:
            return registry.add(type(floor)(bundle.url, data), now)
    raise VerificationFailed(
        "the bundle has no root with this fingerprint",
        subject=str(bundle.folder),
        rule="root-fingerprint",
        expected=f"sha256:{fingerprint}",
        found=f"sha256:{sha256_of(floor.root)} and older ones",
        next_step="ask the operator for the fingerprint again, over another channel",
    )


@asynccontextmanager
async def opened_bundle(
    bundle: OpenedBundle, entry: TrustedEntry, max_age: timedelta, now: datetime, notice: Callable[[str], None]
) -> AsyncIterator[TrustedIndex]:
    """The index as the bundle has it. Raises NotFresh for a bundle that is older than ``max_age``."""
    moment = _fresh_moment(bundle, max_age, now)
    async with FolderFetcher(entry.url, bundle.folder) as fetcher:
        files = user_cache() / "files"
        yield TrustedIndex(entry.url, entry.store, files, fetcher, lambda: moment, notice=notice)


def _fresh_moment(bundle: OpenedBundle, max_age: timedelta, now: datetime) -> datetime:
    """Now, or the last moment of the bundle's timestamp; a forged expiry fails with its signature later on."""
    try:
        document = orjson.loads(_read(bundle.folder / "tuf" / "timestamp.json", RoleLimits().timestamp))
        expires = datetime.fromisoformat(document["signed"]["expires"]).astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VerificationFailed(
            "the bundle has no timestamp", subject=str(bundle.folder), rule="bundle", found=str(error)
        ) from error
    if now < expires:
        return now
    if now - expires > max_age:
        raise NotFresh(
            "the bundle is too old",
            subject=str(bundle.folder),
            rule="bundle-age",
            expected=f"at most {max_age.days} days after its timestamp ended",
            found=f"it ended on {expires:%Y-%m-%d %H:%M} UTC",
            next_step="carry a newer bundle over; --max-age DAYS accepts an older one",
        )
    return expires - timedelta(seconds=1)


def _read(path: Path, max_bytes: int) -> bytes:
    """The file, which nobody vouches for yet; of one that is too long only a beginning that is no whole document."""
    with path.open("rb") as stream:
        return stream.read(max_bytes + 1)
