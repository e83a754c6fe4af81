"""Old metadata and pages go, with a grace: nothing goes that a client of the grace period could still ask for.

A client asks for what the snapshot of its timestamp lists. The oldest snapshot that counts is the newest one that was
already there when the grace began; versions only grow, so every version of a role below the one that it lists is asked
for by nobody. Roots, and what was signed offline, stay for ever.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from tuf.api.metadata import Snapshot

from assay import durable
from assay.index.published import PublishedStore
from assay.model.digests import sha256_of
from assay.trust.claims import CLAIM_PREFIX, is_claiming
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BIN_PREFIX, CLAIMED_NEW, SNAPSHOT, metadata_path
from assay.trust.lean import raw_listings

LEAST_GRACE: Final = timedelta(hours=1)
"""A client that read its timestamp within this time finds everything."""
_METADATA = re.compile(r"([1-9][0-9]*)\.(.+)\.json\Z")
_PAGE = re.compile(r"[0-9a-f]{64}\.index\.json\Z")


@dataclass(frozen=True, slots=True)
class Swept:
    """What went, in files and bytes."""

    files: int
    size: int


def sweep(published: PublishedStore, now: datetime, grace: timedelta, lifetime: timedelta) -> Swept:
    """Delete what nobody can ask for any more. ``lifetime``: of a snapshot. Raises ValueError for a shorter grace."""
    if grace < LEAST_GRACE:
        raise ValueError(f"a grace of {grace}; at least {LEAST_GRACE}")
    files = size = 0
    for path in (*_old_metadata(published, now - grace, lifetime), *_old_pages(published, now - grace)):
        size += path.stat().st_size
        path.unlink()
        files += 1
    return Swept(files, size)


def _old_metadata(published: PublishedStore, until: datetime, lifetime: timedelta) -> Iterator[Path]:
    oldest = _oldest_needed(published, until, lifetime)
    if oldest is None:
        return
    listed = raw_listings(oldest)
    for path in published.path("tuf").iterdir():
        match = _METADATA.match(path.name)
        if match is None or not _is_signed_online(role := match[2]):
            continue
        needed = oldest.version if role == SNAPSHOT else listed.get(f"{role}.json", {}).get("version", 0)
        if int(match[1]) < needed:
            yield path


def _is_signed_online(role: str) -> bool:
    """Whether new versions come all the time: the index's own, or a claimed project's developers'."""
    return role == SNAPSHOT or role.startswith((f"{BIN_PREFIX}-", CLAIM_PREFIX)) or is_claiming(role, CLAIMED_NEW)


def _oldest_needed(published: PublishedStore, until: datetime, lifetime: timedelta) -> Snapshot | None:
    """The newest snapshot that was made at ``until`` or before; None while there is none."""
    suffix = f".{SNAPSHOT}.json"
    names = (path.name for path in published.path("tuf").iterdir() if path.name.endswith(suffix))
    versions = sorted(int(number) for name in names if (number := name.removesuffix(suffix)).isdecimal())
    low, high = 0, len(versions)
    while low < high:
        middle = (low + high) // 2
        if _snapshot(published, versions[middle]).expires - lifetime <= until:
            low = middle + 1
        else:
            high = middle
    return _snapshot(published, versions[low - 1]) if low else None


def _snapshot(published: PublishedStore, version: int) -> Snapshot:
    return parse_envelope(published.read(metadata_path(SNAPSHOT, version)) or b"", Snapshot, SNAPSHOT).signed


def _old_pages(published: PublishedStore, until: datetime) -> Iterator[Path]:
    """Pages whose successor was there at ``until`` already; never the one that is shown, whatever a restore made of
    times and links.
    """
    simple = published.path("simple")
    for folder in simple.iterdir() if simple.is_dir() else ():
        pages = [path for path in folder.iterdir() if _PAGE.match(path.name)]
        if len(pages) < 2:
            continue
        pages.sort(key=lambda path: path.stat().st_mtime)
        shown = durable.read_file(folder / "index.json")
        keep = f"{sha256_of(shown)}.index.json" if shown is not None else None
        for page, successor in pairwise(pages):
            if successor.stat().st_mtime <= until.timestamp() and page.name != keep:
                yield page
