"""Auditing a log: entries that are proved to be in it, and the whole of it against everything that is signed.

Invariant: what is returned was compared; a comparison that could not be made raises.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from assay.client.log.agreement import (
    PACKAGES,
    PAGES,
    LogReplay,
    is_manifest,
    logged_file,
    require_logged,
    walk_targets,
)
from assay.client.log.heads import BelievedLog, believe
from assay.client.log.source import LogSource
from assay.client.registry import TrustedEntry, opened
from assay.client.store import MetadataStore
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.formats.pages import parse_page_json
from assay.model.digests import sha256_of
from assay.model.errors import NotFresh, VerificationFailed
from assay.trust.layout import TargetPath, hashed_path
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.edge import Edge, append, read_edge
from assay.trust.log.entry import LogEntry, decode_entry
from assay.trust.log.identity import LOG_INDEX
from assay.trust.log.proofs import inclusion_ranges, prove, tiles_needed
from assay.trust.log.tiles import ENTRIES, TILE_WIDTH, edge_tiles, split_entries, tile_of
from assay.trust.log.tree import leaf_hash, verify_inclusion
from assay.trust.verify import VerifiedTarget

APPEND_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class FullAudit:
    """What a full audit compared: entries read, files and pages that are signed and logged alike."""

    entries: int
    files: int
    pages: int


class LogAuditor:
    """The log of one trusted index. Made by ``opened_log``."""

    def __init__(self, index: TrustedIndex, store: MetadataStore, fetcher: Fetcher) -> None:
        self.index = index
        self._store = store
        self._fetcher = fetcher
        self._source = LogSource(index.url, fetcher)

    async def believe(self) -> BelievedLog:
        """The log as the index shows it now, consistent with everything seen. Raises as ``heads.believe``."""
        return await believe(self.index, self._source, self._store)

    async def entry(self, log: BelievedLog, number: int) -> LogEntry:
        """Entry ``number``, proved to be in ``log``. Raises VerificationFailed."""
        head = log.checkpoint.head
        if not 0 <= number < head.size:
            raise VerificationFailed(
                "the log has no such entry",
                subject=f"log entry {number}",
                rule="log-inclusion",
                expected=f"below {head.size}",
                found=str(number),
            )
        ranges = inclusion_ranges(number, head.size)
        bundle = tile_of(ENTRIES, number // TILE_WIDTH, head.size)
        files = dict(await self._source.tiles((bundle, *tiles_needed(ranges, head.size))))
        data = split_entries(bundle, files.pop(bundle))[number % TILE_WIDTH]
        verify_inclusion(leaf_hash(data), number, head.size, prove(ranges, head.size, files), head.root)
        return decode_entry(data)

    async def require_logged(self, log: BelievedLog, target: VerifiedTarget, hint: int | None = None) -> int:
        """The number of the entry that published ``target``, which says the same. Raises VerificationFailed.

        ``hint``: what the project's page says it is, for a target that does not say it: its developers signed before
        the entry was there. Without either the whole log is read.
        """
        number = target.custom.get(LOG_INDEX, hint)
        if number is None:
            found = (await self._replay(log, lambda _: None)).files.get(target.path)
            require_logged(target, found)
            return found.index if found is not None else -1
        if type(number) is not int:
            raise VerificationFailed(
                "signed, but not in the log",
                subject=target.path,
                rule="log-agreement",
                expected=f"{LOG_INDEX} in its custom",
                found=str(number),
            )
        path, logged = logged_file(number, await self.entry(log, number))
        if path != target.path:
            raise VerificationFailed(
                "signed with the log entry of another file",
                subject=target.path,
                rule="log-agreement",
                expected=target.path,
                found=path,
            )
        require_logged(target, logged)
        return number

    async def audit(self, log: BelievedLog, progress: Callable[[int], None]) -> FullAudit:
        """Read every entry once, and compare the log with every signed target and page, both ways.

        ``progress`` gets the number of entries read. Raises VerificationFailed at the first disagreement.
        """
        replay = await self._replay(log, progress)
        trusted = log.trusted
        roles = await self.index.drive(walk_targets(trusted))
        targets = [trusted.target(role, TargetPath(path)) for role in roles for path in trusted.require(role).targets]
        signed = [target for target in targets if target is not None]
        files = _compare_files(replay, [target for target in signed if target.path.startswith(PACKAGES)])
        pages = [target for target in signed if target.path.startswith(PAGES)]
        for target in pages:
            await self._compare_page(replay, target)
        _require_nothing_missing("page", set(replay.projects), pages)
        return FullAudit(log.stated.size, files, len(pages))

    async def since(self, log: BelievedLog, head: LogHead) -> list[tuple[int, LogEntry]]:
        """The entries of ``log`` after ``head``, each with its number, proved to follow it. Raises VerificationFailed.

        They all fit into memory: for whoever looks often.
        """
        if head.size > log.stated.size:
            raise NotFresh(
                "the log is shorter than before",
                subject=self._source.url,
                rule="log-rollback",
                expected=f"at least {head.size} entries",
                found=f"{log.stated.size} entries",
            )
        edge = read_edge(head.size, await self._source.tiles(edge_tiles(head.size))) if head.size else Edge()
        self._require_root(edge, head)
        found: list[tuple[int, LogEntry]] = []
        await self._follow(log, edge, lambda number, entry: found.append((number, entry)), lambda _: None)
        return found

    async def _replay(self, log: BelievedLog, progress: Callable[[int], None]) -> LogReplay:
        """The log replayed from its first entry on, proved to be the one of the believed head."""
        replay = LogReplay()
        await self._follow(log, Edge(), replay.take, progress)
        return replay

    async def _follow(
        self, log: BelievedLog, edge: Edge, take: Callable[[int, LogEntry], None], progress: Callable[[int], None]
    ) -> None:
        """Read on from ``edge`` to the stated head. Raises VerificationFailed where they do not lead there."""
        waiting = list[bytes]()
        async for number, data in self._source.entries(edge.size, log.stated.size):
            take(number, decode_entry(data))
            waiting.append(data)
            if len(waiting) == APPEND_AT_ONCE:
                edge, waiting = append(edge, waiting).edge, []
                progress(edge.size)
        edge = append(edge, waiting).edge
        progress(edge.size)
        self._require_root(edge, log.stated)

    def _require_root(self, edge: Edge, head: LogHead) -> None:
        if edge.root != head.root:
            raise VerificationFailed(
                "the log's entries are not those that its head stands for",
                subject=self._source.url,
                rule="log-entries",
                expected=f"root {head.root.hex()}",
                found=f"root {edge.root.hex()}",
            )

    async def _compare_page(self, replay: LogReplay, target: VerifiedTarget) -> None:
        data = await self._fetcher.get(
            self.index.url + hashed_path(target.path, target.sha256), max_bytes=target.length
        )
        if data is None or sha256_of(data) != target.sha256:
            raise VerificationFailed(
                "the page is not the one that was signed", subject=target.path, rule="page-hash", expected=target.sha256
            )
        replay.require_page(parse_page_json(data))


@asynccontextmanager
async def opened_log(entry: TrustedEntry) -> AsyncIterator[LogAuditor]:
    """The log of a trusted index, refreshed, with a connection pool for as long as the block lasts."""
    async with opened(entry) as index, Fetcher() as fetcher:
        await index.refresh()
        yield LogAuditor(index, entry.store, fetcher)


def _compare_files(replay: LogReplay, targets: Iterable[VerifiedTarget]) -> int:
    """Both ways: every signed file is logged, every logged file is signed. Returns how many there are."""
    found: set[TargetPath] = set()
    for target in targets:
        if not is_manifest(target):
            require_logged(target, replay.files.get(target.path))
            found.add(target.path)
    missing = replay.live() - found
    if missing:
        raise _missing("file", min(missing))
    return len(found)


def _require_nothing_missing(kind: str, projects: set[str], pages: Iterable[VerifiedTarget]) -> None:
    missing = projects - {page.path.split("/")[1] for page in pages}
    if missing:
        raise _missing(kind, min(missing))


def _missing(kind: str, subject: str) -> VerificationFailed:
    return VerificationFailed(
        f"the log published this, but no signed {kind} of it is left",
        subject=subject,
        rule="log-agreement",
        expected=f"a signed {kind}, or an entry that removed it",
        found="neither",
    )
