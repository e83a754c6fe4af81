"""One trusted index, seen from the client: pages, files and sidecars, each verified before it is returned.

Nothing that the index says outside TUF metadata is believed. A page is asked for at its plain address first (which lets
the index pull it through from upstream), and counts only if its hash is the one that trusted metadata gives.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from assay import durable
from assay.client.kept import MAX_SIDECAR_BYTES, is_kept, read_kept, require_sidecar
from assay.client.store import MetadataStore
from assay.fetch import SERVER_REFUSED, Fetcher, Known
from assay.formats.manifest import manifest_path, require_listed
from assay.formats.pages import MAX_PAGE_BYTES, PageFile, ProjectPage, parse_page_json
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import Distribution, DistributionKind
from assay.model.errors import NotFound, NotFresh, StorageUnavailable, Unreachable, VerificationFailed
from assay.model.names import ProjectName
from assay.model.releases import release_of
from assay.model.rings import Ring
from assay.policy.model import DEFAULT_PROVENANCE, ProvenancePolicy
from assay.trust.claim_search import FoundClaim, find_claim
from assay.trust.claims import claim_role
from assay.trust.layout import (
    SEAL_PREFIX,
    TARGETS,
    RoleLimits,
    TargetPath,
    file_target,
    hashed_path,
    metadata_path,
    page_target,
)
from assay.trust.rings import rings_of
from assay.trust.takedown import taken_down
from assay.trust.update import Answer, Fetch, Keep, Load, Request, Steps, lookup, refresh
from assay.trust.verify import TrustedMetadata, VerifiedTarget

if TYPE_CHECKING:
    from assay.client.provenance.checks import FileEvidence, ProvenanceChecks
    from assay.client.witnessed import Witnessed
    from assay.provenance.attestations import VerifiedAttestation

PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
CLOCK_TOLERANCE = timedelta(minutes=5)
A_MOMENT = timedelta(seconds=5)


_VERSION_AT_THE_END, _TAIL_BYTES = re.compile(rb',"version":([1-9][0-9]{0,9})\}\}\Z'), 40
"""Where an index of ours writes a role's version; whatever else is there is only no dictionary."""

R = TypeVar("R")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VerifiedPage:
    """A project's page as trusted metadata vouches for it. ``data`` are its bytes (PEP 691 JSON)."""

    page: ProjectPage
    data: bytes


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A file on this machine that is what trusted metadata vouches for. ``size`` in bytes.

    ``evidence``: the signatures and attestations that verified; None where nobody says anything of any. ``rings``: in
    which the file is.
    """

    path: Path
    size: int
    sha256: Sha256
    filename: str
    custom: Mapping[str, Any]
    evidence: "FileEvidence | None" = None
    rings: frozenset[Ring] = frozenset({Ring.SIGNED})


class TrustedIndex:
    """The client's view of one index.

    ``url`` ends with a slash. ``files`` is a private folder for verified files. ``policy`` says whose signatures
    count besides those the page names, and ``notice`` is told of what it lets pass. Methods raise VerificationFailed
    and NotFresh (the index or the way to it lies), Unreachable, NotFound, StorageUnavailable.
    """

    def __init__(
        self,
        url: str,
        store: MetadataStore,
        files: Path,
        fetcher: Fetcher,
        clock: Callable[[], datetime],
        limits: RoleLimits | None = None,
        policy: ProvenancePolicy = DEFAULT_PROVENANCE,
        notice: Callable[[str], None] = _log.warning,
    ) -> None:
        self.url = url
        self._store = store
        self._files = files
        self._fetcher = fetcher
        self._clock = clock
        self._limits = limits
        self.policy = policy
        self._notice = notice
        self._trusted: TrustedMetadata | None = None
        self._refreshes = 0
        self._refreshing = asyncio.Lock()
        self._pages: dict[ProjectName, VerifiedPage] = {}
        self._under_way: dict[str, asyncio.Future[Any]] = {}

    # --- freshness --------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Bring root, timestamp, snapshot and targets up to date, and keep them; what is a moment old is up to date."""
        if self._trusted is not None and abs(self._clock() - self._trusted.now) < A_MOMENT:
            return
        await self._refresh_after(self._refreshes)

    async def _refresh_after(self, mark: int) -> TrustedMetadata:
        """What is trusted by a refresh that began after the ``mark``-th; one that others began since then will do."""
        async with self._refreshing:
            if self._trusted is not None and self._refreshes > mark:
                return self._trusted
            self._refreshes += 1
            now = self._clock()
            self._require_honest_clock(now)
            lock = self._store.locked()
            await asyncio.to_thread(lock.__enter__)
            try:
                trusted = TrustedMetadata(self._store.read_root(), now=now, limits=self._limits)
                await self._run(refresh(trusted))
                self._store.raise_clock_floor(now)
            finally:
                lock.__exit__(None, None, None)
            self._trusted = trusted
            return trusted

    def _require_honest_clock(self, now: datetime) -> None:
        floor = self._store.clock_floor()
        if floor is not None and now < floor - CLOCK_TOLERANCE:
            raise NotFresh(
                "this machine's clock went back",
                rule="clock",
                expected=f"{floor:%Y-%m-%d %H:%M:%S} UTC or later (the last refresh here)",
                found=f"{now:%Y-%m-%d %H:%M:%S} UTC",
                next_step="set the clock; an old clock would make expired metadata look fresh",
            )

    async def _current(self) -> TrustedMetadata:
        return self._trusted or await self._refresh_after(self._refreshes)

    def freshness(self) -> tuple[str, int]:
        """Until when the trusted timestamp is valid (ISO 8601, UTC), and the version of the trusted root."""
        trusted = self._trusted
        if trusted is None or trusted.timestamp is None:
            raise NotFresh("nothing was refreshed yet")
        return trusted.timestamp.expires.isoformat(), trusted.root.version

    async def witnessed(self, role: str) -> "Witnessed":
        """Which witnesses co-signed ``role``, which vouches for a file, and the roles above it."""
        from assay.client.witnessed import witnessed

        return witnessed(await self._current(), self._store, role)

    # --- pages ------------------------------------------------------------------------------------------------

    async def page(self, project: ProjectName) -> VerifiedPage | None:
        """The newest page of ``project``; None when the index has no such project."""
        return await self._single(f"page {project}", lambda: self._fetch_page(project))

    async def _fetch_page(self, project: ProjectName) -> VerifiedPage | None:
        path = page_target(project)
        trusted, mark = await self._current(), self._refreshes
        async with _meanwhile(self._run(lookup(trusted, path))) as looking:
            shown = await self._fetcher.get(
                f"{self.url}simple/{project}/", max_bytes=MAX_PAGE_BYTES, headers={"Accept": PAGE_TYPE}
            )
            target = await looking
        if not _matches(shown, target):
            trusted = await self._refresh_after(mark)
            target = await self._run(lookup(trusted, path))
        if target is None:
            if shown is not None:
                raise VerificationFailed("nobody vouches for this page", subject=path, rule="not-vouched-for")
            self._pages.pop(project, None)
            return None
        data = shown if _matches(shown, target) and shown is not None else await self._fetch_vouched_page(path, target)
        page = VerifiedPage(parse_page_json(data), data)
        if page.page.project != project:
            raise VerificationFailed("the page of another project", subject=path, found=page.page.project)
        self._pages[project] = page
        return page

    async def _fetch_vouched_page(self, path: TargetPath, target: VerifiedTarget) -> bytes:
        """The page that trusted metadata names, where the plain address shows another one."""
        data = await self._fetcher.get(self.url + hashed_path(path, target.sha256), max_bytes=target.length)
        if data is None or not _matches(data, target):
            raise VerificationFailed(
                "the page is not the one that was signed",
                subject=path,
                rule="page-hash",
                expected=f"sha256 {target.sha256}",
                found=f"sha256 {sha256_of(data)}" if data is not None else "no such page",
                next_step="do not install from this index until its operator explains it",
            )
        return data

    async def _entry(self, distribution: Distribution) -> PageFile:
        return (await self._listed(distribution))[1]

    async def _listed(self, distribution: Distribution) -> tuple[ProjectPage, PageFile]:
        """The file's page and its entry there. Raises NotFound."""
        page = self._pages.get(distribution.project)
        entry = page.page.file(distribution.filename) if page else None
        if entry is None:
            page = await self.page(distribution.project)
            entry = page.page.file(distribution.filename) if page else None
        if page is None or entry is None:
            raise NotFound("the index has no such file", subject=distribution.filename)
        return page.page, entry

    # --- files ------------------------------------------------------------------------------------------------

    async def file(self, distribution: Distribution) -> VerifiedFile:
        """The file, on this machine, verified whole: vouched for, length, SHA-256, metadata equal to the sidecar."""
        return await self._single(f"file {distribution.filename}", lambda: self._fetch_file(distribution))

    async def _fetch_file(self, distribution: Distribution) -> VerifiedFile:
        entry = await self._entry(distribution)
        async with _meanwhile(self._brought(distribution, entry)) as bringing:
            target = await self._vouched(distribution, entry)
            path = await bringing
        if entry.core_metadata is not None and distribution.kind is DistributionKind.WHEEL:
            await asyncio.to_thread(require_sidecar, path, distribution, entry)
        evidence = await self.evidence(distribution, path)
        rings = rings_of(await self._current(), target)
        return VerifiedFile(path, target.length, target.sha256, distribution.filename, target.custom, evidence, rings)

    async def _vouched(self, distribution: Distribution, entry: PageFile) -> VerifiedTarget:
        """What trusted metadata says of the file; page, target and the seal of its release agree about it."""
        target = await self.target(file_target(distribution))
        if target.sha256 != entry.sha256 or target.length != entry.size:
            raise VerificationFailed(
                "page and target disagree about this file",
                subject=distribution.filename,
                rule="page-target",
                expected=f"sha256 {target.sha256}, {target.length} bytes (vouched for by {target.role})",
                found=f"sha256 {entry.sha256}, {entry.size} bytes (in the signed page)",
                next_step="do not install it: somebody with the index's online keys wrote this page; tell its operator",
            )
        await self._require_in_sealed_release(distribution, target.sha256)
        return target

    async def _brought(self, distribution: Distribution, entry: PageFile) -> Path:
        """Where the file is that the verified page names, whole; downloaded where it was not kept from before."""
        path = self._files / entry.sha256
        if not await asyncio.to_thread(is_kept, path, entry.sha256):
            await self._download(distribution, entry, path)
        return path

    async def evidence(self, distribution: Distribution, path: Path) -> "FileEvidence | None":
        """Who signed the file at ``path``, which must be what is vouched for; None where nobody speaks of signing.

        Raises VerificationFailed or RefusedByPolicy (a change of who was seen first) for what does not verify, or is
        missing.
        """
        page, entry = await self._listed(distribution)
        if not _speaks_of_signing(page, entry):
            return None
        checks, unverified = self.provenance_checks(), None
        if entry.provenance is None and entry.upstream_provenance is not None:
            unverified = await checks.attesting.bring(page, entry)
            await self.page(distribution.project)
            page, entry = await self._listed(distribution)
        return await checks.check(page, entry, path, unverified=unverified)

    async def attested(self, distribution: Distribution) -> "tuple[VerifiedAttestation, ...]":
        """The attestations that the page pins for the file, verified; the file itself is not fetched."""
        page, entry = await self._listed(distribution)
        return await self.provenance_checks().attestations(page, entry) if entry.provenance is not None else ()

    async def kept(self, distribution: Distribution) -> Path | None:
        """Where the file is on this machine already, whole and as it is vouched for; None where it is not."""
        target = await self.target(file_target(distribution))
        path = self._files / target.sha256
        return path if await asyncio.to_thread(is_kept, path, target.sha256) else None

    def provenance_checks(self) -> "ProvenanceChecks":
        """The checks of this index's signatures; their libraries are loaded only where somebody signs."""
        from assay.client.provenance.checks import ProvenanceChecks
        from assay.client.provenance.context import Checking
        from assay.client.provenance.pinned import PinnedFiles

        pinned = PinnedFiles(self.url, self._fetcher, self._files)
        return ProvenanceChecks(Checking(pinned, self.policy, self._clock, self._notice))

    async def _require_in_sealed_release(self, distribution: Distribution, sha256: Sha256) -> None:
        """Refuse a file that joined a release after it was closed and sealed (threat B5)."""
        path = TargetPath(manifest_path(distribution.project, release_of(distribution.version)))
        manifest = await self._run(lookup(await self._current(), path, under=SEAL_PREFIX))
        if manifest is not None:
            require_listed(manifest.custom, distribution.filename, sha256)

    async def claim(self, project: ProjectName) -> tuple[FoundClaim | None, int]:
        """The claim of ``project`` in force now, and the newest version that its role ever had (0: none)."""
        trusted = await self._refresh_after(self._refreshes)
        found = await self._run(find_claim(trusted, project))
        listed = trusted.snapshot.meta.get(f"{claim_role(project)}.json") if trusted.snapshot else None
        return found, listed.version if listed else 0

    async def target(self, path: TargetPath) -> VerifiedTarget:
        """What trusted metadata says of ``path``. Raises VerificationFailed when nobody vouches for it."""
        trusted, mark = await self._current(), self._refreshes
        target = await self._run(lookup(trusted, path))
        if target is None:
            target = await self._run(lookup(await self._refresh_after(mark), path))
        if target is None:
            raise await self._why_not(path)
        return target

    async def taken_down(self) -> list[TargetPath]:
        """Every path that the offline holders took down."""
        return taken_down((await self._current()).require(TARGETS))

    async def _why_not(self, path: TargetPath) -> VerificationFailed:
        if path in await self.taken_down():
            return VerificationFailed(
                "this file was taken down by the index's offline holders: it must not be installed",
                subject=path,
                rule="taken-down",
                next_step="choose another version; the index's operator can say why",
            )
        return VerificationFailed("nobody vouches for this file", subject=path, rule="not-vouched-for")

    async def _download(self, distribution: Distribution, entry: PageFile, path: Path) -> None:
        await asyncio.to_thread(durable.make_folder, self._files, mode=0o700)
        part = path.with_name(f".part-{token_hex(8)}")
        try:
            found = await self._fetcher.download(
                self.url + hashed_path(file_target(distribution), entry.sha256), part, length=entry.size
            )
            if found != entry.sha256:
                raise VerificationFailed(
                    "the file is not what was vouched for" if found else "the index does not serve this file",
                    subject=distribution.filename,
                    rule="target-hash",
                    expected=f"sha256 {entry.sha256}",
                    found=f"sha256 {found}" if found else "status 404",
                    next_step="do not install it; tell the index's operator (assay explain shows who published it)",
                )
            part.replace(path)
        except OSError as error:
            raise StorageUnavailable(f"cannot keep the file: {error.strerror}", subject=str(path)) from error
        finally:
            with suppress(FileNotFoundError):
                part.unlink()

    async def sidecar(self, distribution: Distribution) -> bytes:
        """The METADATA of a wheel (PEP 658) as the signed page vouches for it."""
        return await self._single(f"sidecar {distribution.filename}", lambda: self._fetch_sidecar(distribution))

    async def _fetch_sidecar(self, distribution: Distribution) -> bytes:
        entry = await self._entry(distribution)
        if entry.core_metadata is None:
            raise NotFound("this file has no metadata sidecar", subject=distribution.filename)
        kept = self._files / entry.core_metadata
        data = await asyncio.to_thread(read_kept, kept)
        if data is not None and sha256_of(data) == entry.core_metadata:
            return data
        url = f"{self.url}{file_target(distribution)}.metadata"
        data = await self._fetcher.get(url, max_bytes=MAX_SIDECAR_BYTES)
        if data is None or sha256_of(data) != entry.core_metadata:
            raise VerificationFailed(
                "the metadata sidecar is not what was vouched for",
                subject=f"{distribution.filename}.metadata",
                rule="sidecar-hash",
                expected=f"sha256 {entry.core_metadata}",
                found=f"sha256 {sha256_of(data)}" if data is not None else "status 404",
                next_step="do not install it; tell the index's operator",
            )
        await asyncio.to_thread(durable.make_folder, self._files, mode=0o700)
        await asyncio.to_thread(durable.replace_file, kept, data)
        return data

    # --- driving ----------------------------------------------------------------------------------------------

    async def trusted(self) -> TrustedMetadata:
        """The metadata that is trusted now; refreshed first where nothing is trusted yet."""
        return await self._current()

    async def drive(self, steps: Steps[R]) -> R:
        """Run ``steps`` of the verifying core, which fetch and keep roles as they need them."""
        return await self._run(steps)

    async def _run(self, steps: Steps[R]) -> R:
        reply: Answer = None
        while True:
            try:
                request = steps.send(reply)
            except StopIteration as done:
                result: R = done.value
                return result
            reply = await self._answer(request)

    async def _answer(self, request: Request) -> Answer:
        match request:
            case Load(role):
                return self._store.read(role)
            case Keep(role, data):
                await asyncio.to_thread(self._store.write, role, data)
                return None
            case Fetch(role, version, max_bytes):
                url = self.url + metadata_path(role, version)
                known = self._known(role) if version is not None else None
                return await self._single(url, lambda: self._fetcher.get_packed(url, max_bytes=max_bytes, known=known))

    def _known(self, role: str) -> Known | None:
        """The version of ``role`` that is kept here, which saves sending what did not change since."""
        data = self._store.read(role)
        found = _VERSION_AT_THE_END.search(data, max(0, len(data) - _TAIL_BYTES)) if data is not None else None
        return Known(found[1].decode(), data) if data is not None and found is not None else None

    async def _single(self, key: str, start: Callable[[], Awaitable[R]]) -> R:
        """Do ``start`` once for all who ask for ``key`` at the same time."""
        running = self._under_way.get(key)
        if running is None:
            running = asyncio.ensure_future(start())
            self._under_way[key] = running
            running.add_done_callback(lambda _done: self._under_way.pop(key, None))
        try:
            result: R = await asyncio.shield(running)
        except Unreachable as error:
            if error.rule != SERVER_REFUSED:
                raise
            raise VerificationFailed(
                "the index itself refuses to hand this on",
                subject=error.subject,
                rule="refused-by-index",
                found=error.found,
                next_step="tell the index's operator; its events say since when",
            ) from error
        return result


def _matches(data: bytes | None, target: VerifiedTarget | None) -> bool:
    return data is not None and target is not None and sha256_of(data) == target.sha256


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, R]) -> AsyncIterator[Awaitable[R]]:
    """``work`` is under way during the block, and ended with it."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _speaks_of_signing(page: ProjectPage, entry: PageFile) -> bool:
    """Whether anybody says anything about who signs this file; of most files nobody does."""
    beside = entry.signature or entry.provenance or entry.upstream_provenance
    return bool(beside or page.signers.certificates or page.signers.publishers)
