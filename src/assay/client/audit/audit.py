"""An installed environment against what the index vouches for: distributions, files, and what belongs to none.

Installers keep no hash of the wheel they installed. So the wheel is looked for among those of the same version with the
tags that the installed WHEEL names; whichever it was, its files must be the ones that lie here.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from assay.client.audit.compare import Comparison, Difference, compare
from assay.client.audit.installed import Environment, Installed, installed_in
from assay.client.audit.leftovers import Owners, compiled_of, differing, files_below
from assay.client.proxy.source import VerifiedSource
from assay.client.receipts import Receipt, receipts_of
from assay.client.trusted_index import VerifiedFile
from assay.formats.pages import ProjectPage, version_of
from assay.model.distributions import Distribution, DistributionKind, parse_distribution
from assay.model.errors import AssayError, InvalidName, NotFound, VerificationFailed
from assay.model.names import parse_project_name

AT_ONCE: Final = 16


class Verdict(Enum):
    """What the audit says of one distribution."""

    VERIFIED = "verified"
    ALTERED = "altered"
    NOT_VOUCHED_FOR = "not vouched for"


@dataclass(frozen=True, slots=True)
class Finding:
    """One distribution. ``reason``: why it is not vouched for. ``error``: the index itself refuses it.

    ``differences``: what makes it altered. ``file``: the verified wheel, None where there is none. ``receipt``: what
    Assay handed out for it, None where it was installed without.
    """

    installed: Installed
    verdict: Verdict
    reason: str | None = None
    differences: tuple[Difference, ...] = ()
    file: VerifiedFile | None = None
    error: AssayError | None = None
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was found. ``strays``: files of the library folders that no distribution accounts for.

    ``bytecode``: how many compiled files there are beside verified sources; ``bytecode_compared``: whether they were
    compared with a fresh compile.
    """

    environment: Environment
    findings: tuple[Finding, ...]
    strays: tuple[str, ...]
    bytecode: int
    bytecode_compared: bool

    def with_verdict(self, verdict: Verdict) -> tuple[Finding, ...]:
        """The findings with ``verdict``."""
        return tuple(finding for finding in self.findings if finding.verdict is verdict)


async def audit(index: VerifiedSource, environment: Environment, *, with_bytecode: bool) -> Audit:
    """Audit ``environment``. Raises what ``index.refresh`` raises, and Unreachable when the index goes away."""
    await index.refresh()
    gate = asyncio.Semaphore(AT_ONCE)
    receipts = receipts_of(environment.python.parent.parent)

    async def one(installed: Installed) -> tuple[Finding, Comparison]:
        receipt = receipts.get(installed.project)
        if receipt is not None and receipt.version != installed.version:
            receipt = None
        async with gate:
            finding, done = await _audit_one(index, installed, environment, receipt)
        return replace(finding, receipt=receipt), done

    results = await asyncio.gather(
        *(one(installed) for installed in await asyncio.to_thread(installed_in, environment))
    )
    return await asyncio.to_thread(_conclude, environment, results, with_bytecode=with_bytecode)


async def _audit_one(
    index: VerifiedSource, installed: Installed, environment: Environment, receipt: Receipt | None
) -> tuple[Finding, Comparison]:
    if installed.origin is not None:
        return _not_vouched_for(installed, installed.origin)
    try:
        page = await index.page(parse_project_name(installed.project))
        wheels = _wheels(page.page, installed) if page is not None else []
        if not wheels:
            return _not_vouched_for(installed, _why_none(page.page if page else None, installed, receipt))
        best: tuple[VerifiedFile, Comparison] | None = None
        for wheel in sorted(wheels, key=lambda each: receipt is None or each.filename != receipt.filename):
            file = await index.file(wheel)
            done = await asyncio.to_thread(compare, file.path, installed, environment)
            if best is None or len(done.differences) < len(best[1].differences):
                best = file, done
            if not done.differences:
                break
    except (VerificationFailed, InvalidName, NotFound) as error:
        return Finding(installed, Verdict.ALTERED, error=error), _only_recorded(installed)
    if best is None:
        return _not_vouched_for(installed, "no wheel")
    file, done = best
    verdict = Verdict.ALTERED if done.differences else Verdict.VERIFIED
    return Finding(installed, verdict, differences=tuple(done.differences), file=file), done


def _wheels(page: ProjectPage, installed: Installed) -> list[Distribution]:
    """The wheels that ``installed`` may have come from: its version, its tags."""
    found = [parse_distribution(file.filename, page.project) for file in page.files if file.filename.endswith(".whl")]
    return [one for one in found if one.version == installed.version and _tags_of(one) == installed.tags]


def _tags_of(wheel: Distribution) -> frozenset[str]:
    python, abi, platform = wheel.filename.removesuffix(".whl").rsplit("-", 3)[1:]
    return frozenset(
        f"{one}-{two}-{three}" for one in python.split(".") for two in abi.split(".") for three in platform.split(".")
    )


def _why_none(page: ProjectPage | None, installed: Installed, receipt: Receipt | None) -> str:
    if page is None:
        return "the index has no such project"
    kinds = {
        parse_distribution(file.filename, page.project).kind
        for file in page.files
        if version_of(page.project, file) == installed.version
    }
    if not kinds:
        return "the index has no such version"
    if receipt is not None and page.known_hash(receipt.filename) == receipt.sha256:
        return f"built on this machine from {receipt.filename}, which was verified"
    if DistributionKind.SDIST in kinds:
        return "built on this machine: the index has an sdist, and no wheel with these tags"
    return "the index has no wheel with these tags"


def _not_vouched_for(installed: Installed, reason: str) -> tuple[Finding, Comparison]:
    return Finding(installed, Verdict.NOT_VOUCHED_FOR, reason), _only_recorded(installed)


def _only_recorded(installed: Installed) -> Comparison:
    """Nothing was compared; its own RECORD says which files are its."""
    return Comparison(explained=set(installed.recorded or ()))


def _conclude(environment: Environment, results: Sequence[tuple[Finding, Comparison]], *, with_bytecode: bool) -> Audit:
    explained = {path for _, done in results for path in done.explained}
    compiled = compiled_of(path for path in explained if path.endswith(".py"))
    verified = {source: number for number, (_, done) in enumerate(results) for source in done.sources}
    to_compare = [(path, source) for path, source in compiled.items() if source in verified]
    added: dict[int, list[Difference]] = {}
    if with_bytecode:
        for path, reason in differing(environment.python, to_compare).items():
            difference = Difference(path, "what its source compiles to", reason)
            added.setdefault(verified[compiled[path]], []).append(difference)
    owners = Owners(environment.libraries)
    for number, (finding, done) in enumerate(results):
        if finding.file is not None:
            owners.add(number, done.explained)
    strays = []
    for path in files_below(environment.libraries):
        if path in explained or path in compiled:
            continue
        owner = owners.of(path)
        if owner is None:
            strays.append(path)
        else:
            added.setdefault(owner, []).append(Difference(path, "no such file", "added"))
    findings = tuple(_with(finding, added.get(number, [])) for number, (finding, _) in enumerate(results))
    return Audit(environment, findings, tuple(sorted(strays)), len(to_compare), with_bytecode)


def _with(finding: Finding, added: Sequence[Difference]) -> Finding:
    if not added:
        return finding
    return replace(finding, verdict=Verdict.ALTERED, differences=(*finding.differences, *added))
