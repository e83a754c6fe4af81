"""Is every hash in a lock file the one that the index vouches for?

An installer believes its lock file: whoever edits a hash there chooses what is installed. So a hash is compared with
the signed target of its file, and what cannot be compared (no hash, another algorithm, another source) is a finding,
never silence.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from packaging.version import InvalidVersion, Version

from assay.client.lock.entries import Locked, LockText, read_text
from assay.client.lock.pdm_lock import read_pdm_lock
from assay.client.lock.pipfile_lock import read_pipfile_lock
from assay.client.lock.poetry_lock import read_poetry_lock
from assay.client.lock.pylock_toml import read_identities, read_pylock
from assay.client.lock.requirements_txt import read_requirements
from assay.client.lock.uv_lock import read_uv_lock
from assay.client.repositories import split_repository
from assay.client.trusted_index import VerifiedPage
from assay.formats.pages import PageFile, ProjectPage, version_of
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AssayError, CallerError, InvalidName, RefusedByPolicy, VerificationFailed
from assay.model.names import ProjectName, parse_project_name
from assay.policy.judge import judge_repository
from assay.policy.model import Policy
from assay.provenance.publishers import render_publisher
from assay.trust.layout import TargetPath, file_target
from assay.trust.verify import VerifiedTarget

if TYPE_CHECKING:
    from assay.provenance.attestations import VerifiedAttestation

AT_ONCE: Final = 16
_PYLOCK: Final = re.compile(r"\Apylock(\.[^.]+)?\.toml\Z")
_READERS: Final[dict[str, Callable[[LockText], Iterator[Locked]]]] = {
    "uv.lock": read_uv_lock,
    "poetry.lock": read_poetry_lock,
    "pdm.lock": read_pdm_lock,
    "Pipfile.lock": read_pipfile_lock,
}
_HEX64: Final = re.compile(r"\A[0-9a-f]{64}\Z")


class VouchingIndex(Protocol):
    """What checking a lock file needs of an index; ``TrustedIndex`` is one."""

    async def page(self, project: ProjectName) -> VerifiedPage | None:
        """The project's verified page."""

    async def target(self, path: TargetPath) -> VerifiedTarget:
        """What trusted metadata says of a file."""

    async def attested(self, distribution: Distribution) -> "tuple[VerifiedAttestation, ...]":
        """The verified attestations of a file."""


@dataclass(frozen=True, slots=True)
class LockFinding:
    """What is wrong with ``locked`` in the lock file ``path``."""

    path: Path
    locked: Locked
    error: AssayError


@dataclass(frozen=True, slots=True)
class LockReport:
    """One lock file: how many hashes and packages were checked, and what was found."""

    path: Path
    hashes: int
    packages: int
    findings: tuple[LockFinding, ...]


def read_lock(path: Path) -> tuple[Locked, ...]:
    """What the lock file at ``path`` pins; its kind is told by its name. Raises CallerError, TooLarge."""
    reader = _READERS.get(path.name)
    if reader is None and _PYLOCK.match(path.name):
        reader = read_pylock
    if reader is None and path.suffix in (".txt", ".in"):
        reader = read_requirements
    if reader is None:
        raise CallerError(
            "not a lock file that is known",
            rule="lock-format",
            subject=str(path),
            expected="requirements (*.txt), pylock.toml, " + ", ".join(_READERS),
        )
    return tuple(reader(read_text(path)))


async def verify_lock(
    index: VouchingIndex, path: Path, *, allow_elsewhere: bool = False, policy: Policy | None = None
) -> LockReport:
    """Check the lock file at ``path``. Raises CallerError when it cannot be read, and when the index cannot be asked.

    ``allow_elsewhere``: sources that are no index (git, URLs, paths) are no finding; nor is a repository that
    ``policy`` allows.
    """
    entries = await asyncio.to_thread(read_lock, path)
    gate = asyncio.Semaphore(AT_ONCE)

    async def check(project: str, group: Iterable[Locked]) -> list[LockFinding]:
        async with gate:
            return await _check_project(index, path, project, tuple(group))

    inside = [one for one in entries if one.elsewhere is None]
    projects = dict.fromkeys(one.project for one in inside)
    groups = [check(project, [one for one in inside if one.project == project]) for project in projects]
    findings = [finding for group in await asyncio.gather(*groups) for finding in group]
    if not allow_elsewhere:
        findings += [
            _finding(path, one, _elsewhere(one))
            for one in entries
            if one.elsewhere is not None and not _is_allowed(one.elsewhere, policy or Policy())
        ]
    if _PYLOCK.match(path.name):
        findings += await _check_identities(index, path)
    findings.sort(key=lambda finding: (finding.locked.line, finding.locked.filename or ""))
    return LockReport(path, sum(one.digest is not None for one in inside), len(projects), tuple(findings))


async def _check_project(
    index: VouchingIndex, path: Path, project: str, entries: tuple[Locked, ...]
) -> list[LockFinding]:
    try:
        name = parse_project_name(project)
        verified = await index.page(name)
    except InvalidName as error:
        return [_finding(path, entries[0], VerificationFailed(error.what, rule=error.rule, found=project))]
    except VerificationFailed as error:
        return [_finding(path, entries[0], error)]
    findings = []
    for locked in entries:
        try:
            await _check(index, verified.page if verified else None, locked)
        except VerificationFailed as error:
            findings.append(_finding(path, locked, error))
    return findings


async def _check(index: VouchingIndex, page: ProjectPage | None, locked: Locked) -> None:
    """Raise VerificationFailed unless ``locked`` is the hash of a file of its release."""
    if page is None:
        raise VerificationFailed("the index has no such project", rule="lock-not-vouched-for")
    if locked.digest is None:
        raise VerificationFailed(
            "no hash",
            rule="lock-hash-missing",
            expected="a sha256 of each file",
            next_step="lock again with hashes; without them an installer takes whatever it is given",
        )
    algorithm, _, digest = locked.digest.partition(":")
    if algorithm != "sha256" or not _HEX64.match(digest):
        raise VerificationFailed(
            "not a hash that can be compared", rule="lock-hash-kind", expected="sha256:<hex>", found=locked.digest[:150]
        )
    offered = _files_of(page, locked)
    entry = next((file for file in offered if locked.filename is not None or file.sha256 == digest), None)
    if entry is None:
        raise _not_among(locked, offered, digest)
    target = await index.target(file_target(parse_distribution(entry.filename, page.project)))
    if target.sha256 != digest:
        raise VerificationFailed(
            "not the hash that is vouched for",
            rule="lock-hash",
            expected=f"sha256:{target.sha256}",
            found=locked.digest,
            next_step="do not install from this lock file; look at who changed the line",
        )


def _files_of(page: ProjectPage, locked: Locked) -> list[PageFile]:
    """The files of the page that the entry may mean: one by name, or all of its version."""
    if locked.filename is not None:
        entry = page.file(locked.filename)
        if entry is not None and locked.version is not None and version_of(page.project, entry) != _normal(locked):
            return []
        return [entry] if entry else []
    if locked.version is None:
        return list(page.files)
    return [file for file in page.files if version_of(page.project, file) == _normal(locked)]


def _normal(locked: Locked) -> str:
    try:
        return str(Version(locked.version or ""))
    except InvalidVersion as error:
        raise VerificationFailed("not a version", rule="lock-not-vouched-for", found=locked.version) from error


def _not_among(locked: Locked, offered: list[PageFile], digest: str) -> VerificationFailed:
    if locked.filename is not None or not offered:
        return VerificationFailed(
            "the index does not have this file in this version",
            rule="lock-not-vouched-for",
            found=locked.filename or f"version {locked.version}",
            next_step="the index may have removed it, or the line was edited",
        )
    shown = ", ".join(f"{file.filename} sha256:{file.sha256}" for file in offered[:3])
    return VerificationFailed(
        "not the hash of any file of this version",
        rule="lock-hash",
        expected=shown + (f", or one of {len(offered) - 3} more" if len(offered) > 3 else ""),
        found=f"sha256:{digest}",
        next_step="do not install from this lock file; look at who changed the line",
    )


async def _check_identities(index: VouchingIndex, path: Path) -> list[LockFinding]:
    """Every attestation identity that the lock file names attested a file of its package."""
    findings = []
    for locked, identities in await asyncio.to_thread(lambda: list(read_identities(read_text(path)))):
        try:
            page = await index.page(parse_project_name(locked.project))
            files = _files_of(page.page, locked) if page is not None else []
            attested = [
                {key: value for key, value in render_publisher(each.publisher).items() if value is not None}
                for file in files
                for each in await index.attested(parse_distribution(file.filename, parse_project_name(locked.project)))
            ]
            for identity in identities:
                if dict(identity) not in attested:
                    raise VerificationFailed(
                        "this identity attested no file of the package",
                        rule="lock-identity",
                        expected=" or ".join(map(str, attested)) or "none: nobody attested it",
                        found=str(dict(identity)),
                        next_step="do not install from this lock file; look at who changed the line",
                    )
        except (VerificationFailed, InvalidName) as error:
            findings.append(_finding(path, locked, error))
    return findings


def _is_allowed(elsewhere: str, policy: Policy) -> bool:
    found = split_repository(elsewhere)
    return found is not None and judge_repository(policy, *found) is None


def _elsewhere(locked: Locked) -> RefusedByPolicy:
    return RefusedByPolicy(
        "does not come from an index, so nobody vouches for it",
        rule="lock-elsewhere",
        found=locked.elsewhere,
        next_step="--allow-elsewhere takes such sources as they are; [[repositories]] in the policy allows single ones",
    )


def _finding(path: Path, locked: Locked, error: AssayError) -> LockFinding:
    """``error`` with the place in the lock file."""
    named = f"{locked.project} {locked.version or ''}".strip()
    error.subject = f"{path}:{locked.line}: {named}{f' {locked.filename}' if locked.filename else ''}"
    return LockFinding(path, locked, error)
