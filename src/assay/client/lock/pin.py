"""Pinning: resolved behind the proxy, checked against the index, judged by the policy, and only then written.

Build dependencies are locked too: what an sdist needs to be built is resolved the same way, into a second file with
hashes (``--build-constraint``), because neither lock format has a place for it.
"""

import asyncio
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urljoin

from packaging.tags import sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from assay.client.lock.entries import Locked
from assay.client.lock.pinned_files import (
    Identity,
    PinnedPackage,
    render_pylock,
    render_requirements,
    with_identities,
)
from assay.client.lock.resolving import REPORT, LockFormat, Resolver, read_report, resolve_command
from assay.client.lock.verify import read_lock, verify_lock
from assay.client.policed import PolicedSource
from assay.client.run import RunReport
from assay.client.trusted_index import TrustedIndex
from assay.formats.pages import PageFile, ProjectPage, version_of
from assay.model.distributions import Distribution, DistributionKind, parse_distribution
from assay.model.errors import AssayError, NotFound
from assay.model.names import ProjectName, parse_project_name
from assay.provenance.publishers import render_publisher

DEFAULT_BACKEND: Final = ("setuptools>=40.8.0",)
"""What builds an sdist that does not say (PEP 518)."""

MAX_PYPROJECT_BYTES: Final = 1_000_000
MAX_BUILD_ROUNDS: Final = 4
_HERE: Final = frozenset(sys_tags())


class RunCommand(Protocol):
    """Runs a command behind the proxy."""

    async def __call__(self, command: Sequence[str]) -> RunReport:
        """How it ended."""


class ResolverFailed(AssayError):
    """The resolver itself failed, or something that it asked for was refused. ``report``: of the run."""

    default_rule = "resolver"

    def __init__(self, report: RunReport) -> None:
        super().__init__("nothing was pinned: the resolver did not get everything that it asked for")
        self.report = report


@dataclass(frozen=True, slots=True)
class Pinned:
    """Texts to write. ``build``: requirements with hashes for ``--build-constraint``, None where nothing is built."""

    text: str
    packages: int
    build: str | None
    attested: int


@dataclass(frozen=True, slots=True)
class Pinning:
    """What pinning needs. ``source`` is behind the policy.

    ``index``: the one that is asked; ``index_of``: the one that the policy names for a project, else the same.
    """

    run: RunCommand
    source: PolicedSource
    index: TrustedIndex
    index_of: Callable[[ProjectName], TrustedIndex]
    resolver: Resolver
    words: Sequence[str]
    extra: Sequence[str] = ()

    async def pin(self, inputs: Sequence[Path], wanted: LockFormat) -> Pinned:
        """Resolve ``inputs``. Raises ResolverFailed, VerificationFailed, RefusedByPolicy; nothing is written then."""
        with tempfile.TemporaryDirectory(prefix="assay-pin-") as name:
            text, packages = await self._resolve(inputs, Path(name) / wanted.value, wanted)
            chosen = [await self._checked(package) for package in packages]
            build = await self._build_requirements(packages, chosen, Path(name))
        if wanted is LockFormat.PYLOCK and self.resolver is Resolver.UV:
            text = with_identities(text, {package.project: package.identities for package in packages})
        attested = sum(bool(package.identities) for package in packages)
        return Pinned(text, len(packages), build, attested)

    async def _resolve(self, inputs: Sequence[Path], out: Path, wanted: LockFormat) -> tuple[str, list[PinnedPackage]]:
        extra = self.extra
        if self.resolver is Resolver.UV and wanted is LockFormat.PYLOCK:
            extra = ("--format", "pylock.toml", *extra)
        report = await self.run(resolve_command(self.resolver, self.words, inputs, out, extra))
        if report.exit_code != 0:
            raise ResolverFailed(report)
        if self.resolver is Resolver.PIP:
            releases = await asyncio.to_thread(read_report, out.parent / REPORT)
            packages = [await self._package(parse_project_name(name), version) for name, version in releases]
            text = render_pylock(packages) if wanted is LockFormat.PYLOCK else _requirements(packages)
            await asyncio.to_thread(out.write_text, text)
            return text, packages
        entries = await asyncio.to_thread(read_lock, out)
        await self._verify(out, entries)
        pinned = dict.fromkeys((each.project, each.version or "") for each in entries if each.elsewhere is None)
        packages = [await self._package(parse_project_name(name), version) for name, version in pinned]
        return await asyncio.to_thread(out.read_text), packages

    async def _verify(self, path: Path, entries: Sequence[Locked]) -> None:
        """Every hash that the resolver wrote is the one that is vouched for."""
        if any(each.elsewhere is not None for each in entries):
            return  # a path or repository of the user's own inputs: lock verify names it
        if all(self.index_of(parse_project_name(each.project)) is self.index for each in entries):
            for finding in (await verify_lock(self.index, path)).findings:
                raise finding.error

    async def _package(self, project: ProjectName, version: str) -> PinnedPackage:
        page = await self._page(project)
        files = tuple(file for file in page.files if version_of(project, file) == version)
        base = f"{self.index_of(project).url}simple/{project}/"
        urls = {file.filename: file.upstream_url or urljoin(base, file.url) for file in files}
        return PinnedPackage(project, version, files, urls, await self._identities(page, files))

    async def _page(self, project: ProjectName) -> ProjectPage:
        found = await self.source.page(project)
        if found is None:
            raise NotFound("the index has no such project", subject=project)
        return found.page

    async def _identities(self, page: ProjectPage, files: Sequence[PageFile]) -> tuple[Identity, ...]:
        """Who attested ``files``, verified; each identity once."""
        index = self.index_of(page.project)
        found: dict[str, Identity] = {}
        for file in files:
            for each in await index.attested(parse_distribution(file.filename, page.project)):
                members = {key: value for key, value in render_publisher(each.publisher).items() if value is not None}
                found.setdefault(repr(sorted(members.items())), members)
        return tuple(found.values())

    async def _checked(self, package: PinnedPackage) -> Distribution | None:
        """The file that would be installed here, fetched, verified and judged; None where the release has none."""
        candidates = [parse_distribution(file.filename, package.project) for file in package.files]
        wheels = [each for each in candidates if each.kind is DistributionKind.WHEEL and _is_usable_here(each)]
        chosen = next(iter(wheels), None) or next(
            (each for each in candidates if each.kind is DistributionKind.SDIST), None
        )
        if chosen is not None:
            await self.source.file(chosen)
        return chosen

    # --- what builds ------------------------------------------------------------------------------------------

    async def _build_requirements(
        self, packages: Sequence[PinnedPackage], chosen: Sequence[Distribution | None], folder: Path
    ) -> str | None:
        wanted: dict[str, None] = {}
        text = None
        for number in range(MAX_BUILD_ROUNDS):
            sdists = [each for each in chosen if each is not None and each.kind is DistributionKind.SDIST]
            new = [line for sdist in sdists for line in await self._builds(sdist) if line not in wanted]
            if not new:
                return text
            wanted |= dict.fromkeys(new)
            inputs = folder / f"build-{number}.in"
            await asyncio.to_thread(inputs.write_text, "".join(f"{line}\n" for line in wanted))
            out = folder / f"build-{number}" / LockFormat.REQUIREMENTS.value
            await asyncio.to_thread(out.parent.mkdir)
            text, packages = await self._resolve([inputs], out, LockFormat.REQUIREMENTS)
            chosen = [await self._checked(package) for package in packages]
        return text

    async def _builds(self, sdist: Distribution) -> Sequence[str]:
        file = await self.source.file(sdist)
        return await asyncio.to_thread(build_requires, file.path, sdist.filename)


def build_requires(path: Path, filename: str) -> Sequence[str]:
    """What a verified sdist says that it is built with (PEP 518)."""
    if not filename.endswith(".tar.gz"):
        return DEFAULT_BACKEND
    top = filename.removesuffix(".tar.gz")
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile(f"{top}/pyproject.toml")
            data = member.read(MAX_PYPROJECT_BYTES) if member is not None else b""
        table = tomllib.loads(data.decode("utf-8")).get("build-system", {})
        return tuple(map(str, table.get("requires", DEFAULT_BACKEND)))
    except (KeyError, OSError, tarfile.TarError, ValueError, AttributeError, TypeError, RecursionError):
        return DEFAULT_BACKEND


def build_file(out: Path) -> Path:
    """Where the build dependencies of the lock file ``out`` are written: ``requirements.build.txt``."""
    return out.with_name(f"{out.stem}.build.txt")


def _is_usable_here(wheel: Distribution) -> bool:
    try:
        return not _HERE.isdisjoint(parse_wheel_filename(wheel.filename)[3])
    except InvalidWheelFilename:
        return False


def _requirements(packages: Sequence[PinnedPackage]) -> str:
    return render_requirements(packages, "resolved by pip behind assay; every hash is of a signed target")
