"""Which files a bundle holds: those that its lock files pin, verified one by one while they are fetched."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from assay.client.lock.entries import Locked
from assay.client.lock.verify import read_lock
from assay.client.policed import PolicedSource
from assay.formats.pages import PageFile, ProjectPage, version_of
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import RefusedByPolicy, VerificationFailed
from assay.model.names import parse_project_name

AT_ONCE: Final = 8
_HERE: Final = frozenset(sys_tags())


@dataclass(frozen=True, slots=True)
class Contents:
    """What was put in: files, and the bytes of them."""

    files: tuple[str, ...]
    size: int


async def fetch_locked(source: PolicedSource, locks: Sequence[Path], *, everywhere: bool) -> Contents:
    """Fetch what ``locks`` pin, through ``source``, which verifies, judges and records.

    ``everywhere``: every pinned file; else of each release the wheels that are usable on this machine, or its sdist.
    Raises VerificationFailed, RefusedByPolicy for what cannot be verified.
    """
    chosen: dict[str, tuple[Distribution, PageFile]] = {}
    for path in locks:
        entries = await asyncio.to_thread(read_lock, path)
        for name in dict.fromkeys(entry.project for entry in entries):
            group = [entry for entry in entries if entry.project == name]
            for distribution, file in await _chosen(source, path, name, group, everywhere=everywhere):
                chosen[distribution.filename] = distribution, file
    gate = asyncio.Semaphore(AT_ONCE)

    async def fetch(distribution: Distribution, file: PageFile) -> int:
        async with gate:
            found = await source.file(distribution)
            if file.core_metadata is not None:
                await source.sidecar(distribution)
            return found.size

    sizes = await asyncio.gather(*(fetch(*each) for each in chosen.values()))
    return Contents(tuple(sorted(chosen)), sum(sizes))


async def _chosen(
    source: PolicedSource, path: Path, name: str, entries: Sequence[Locked], *, everywhere: bool
) -> list[tuple[Distribution, PageFile]]:
    for entry in entries:
        if entry.elsewhere is not None:
            raise RefusedByPolicy(
                "does not come from an index, so a bundle cannot vouch for it",
                rule="lock-elsewhere",
                subject=f"{path}:{entry.line}: {name}",
                found=entry.elsewhere,
                next_step="publish it on the index",
            )
        if entry.digest is None:
            raise VerificationFailed(
                "no hash", rule="lock-hash-missing", subject=f"{path}:{entry.line}: {name}", next_step="assay lock pin"
            )
    page = await source.page(parse_project_name(name))
    pinned = {str(entry.digest).removeprefix("sha256:") for entry in entries}
    files = [file for file in page.page.files if file.sha256 in pinned] if page is not None else []
    if page is None or not files:
        raise VerificationFailed(
            "the index has none of the files that are pinned",
            rule="lock-not-vouched-for",
            subject=f"{path}:{entries[0].line}: {name}",
            next_step="assay lock verify names what differs",
        )
    usable = files if everywhere else list(_usable(page.page, files))
    return [(parse_distribution(file.filename, page.page.project), file) for file in usable]


def _usable(page: ProjectPage, files: Sequence[PageFile]) -> Iterable[PageFile]:
    """Of each version the wheels for this machine, or where there is none the rest."""
    for version in dict.fromkeys(version_of(page.project, file) for file in files):
        release = [file for file in files if version_of(page.project, file) == version]
        yield from [file for file in release if _is_for_here(file)] or release


def _is_for_here(file: PageFile) -> bool:
    try:
        return not _HERE.isdisjoint(parse_wheel_filename(file.filename)[3])
    except InvalidWheelFilename:
        return False
