"""``assay run``: one command, with nothing between it and the network but verified data.

The index is brought up to date before the command starts: when that fails, it never starts. While the command runs,
nothing is printed (installers draw on the terminal, and print the reason of a refused file themselves); what was
refused is explained afterwards, and decides the exit code.
"""

import asyncio
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from assay.client.detours import option_detours, require_no_detour, uv_detours
from assay.client.discover import PipSettings
from assay.client.enclosing import Enclosing, RunDescription, outside_of
from assay.client.environment import RunPlaces, cache_folder, child_environment
from assay.client.policed import PolicedSource
from assay.client.proxy.answers import Answers
from assay.client.proxy.authority import Authority
from assay.client.proxy.front import Front
from assay.client.proxy.passing import Passing
from assay.client.proxy.refusals import Refusal, Refusals, exit_code_of_run, render_refusals
from assay.client.proxy.routes import Covered, cover
from assay.client.proxy.source import VerifiedSource
from assay.client.proxy.strict import Confined, confined
from assay.client.receipts import Receipt, environments_meant, note_handed_out, note_installed
from assay.client.repositories import git_protocols, require_allowed_repositories
from assay.client.requirement_files import disk_detours, named_files, words_in
from assay.client.seen import SeenBook, Watcher
from assay.model.digests import Sha256
from assay.model.errors import CallerError
from assay.policy.judge import ended_exemptions
from assay.policy.model import Facts, FirstSeen, Policy
from assay.policy.rules import provenance_of
from assay.provenance.publishers import describe_publisher

if TYPE_CHECKING:
    from assay.client.trusted_index import VerifiedFile

FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
NO_POLICY: Final = Sha256("0" * 64)
FROM_THE_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class RunSetting:
    """What a run is given besides the command.

    ``simple_urls``: simple APIs that the index answers for, besides its own. ``trust_root``: fingerprint of the root
    that the index is trusted by. ``cache_root``: the user's cache folder of Assay. ``environ``: the user's environment.
    ``others``: further trusted indexes, for projects that the policy routes there. ``books``: who was seen before.
    ``chosen_policy``: what this machine's part of the policy hashes to. ``is_strict``: no network but the proxy.
    ``allows_detours``: the command may take files from this machine's disk; they are named afterwards.
    """

    index: VerifiedSource
    simple_urls: tuple[str, ...]
    trust_root: Sha256
    cache_root: Path
    environ: Mapping[str, str]
    policy: Policy = field(default_factory=Policy)
    pip: PipSettings = field(default_factory=PipSettings)
    clock: Callable[[], datetime] = utc_now
    others: tuple[VerifiedSource, ...] = ()
    books: tuple[SeenBook, ...] = ()
    chosen_policy: Sha256 = NO_POLICY
    is_strict: bool = False
    allows_detours: bool = False


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended.

    ``exit_code``: the run's; ``child_code``: the command's own (128 + N when signal N ended it). ``not_shown``:
    refusals past the record's bound. ``hidden``: files that policy kept off the pages. ``notices``: what it let pass.
    ``unverified_hosts``: allowed hosts and how often each was asked. ``left_out``: settings of the user that were not
    handed on. ``detours``: ways by which the command could take files that the proxy does not see.
    """

    exit_code: int
    child_code: int
    refusals: tuple[Refusal, ...]
    not_shown: int
    hidden: tuple[str, ...]
    notices: tuple[str, ...]
    unverified_hosts: Mapping[str, int]
    left_out: tuple[str, ...]
    detours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy that answers. ``certificates`` is for ``SSL_CERT_FILE``."""

    front: Front
    certificates: Path
    refusals: Refusals
    answers: Answers
    passing: Passing
    notices: list[str]
    watcher: Watcher
    handed: list[Receipt]


async def run_verified(command: Sequence[str], setting: RunSetting) -> RunReport:
    """Run ``command`` behind the proxy, with this process's standard streams.

    Raises CallerError when the command cannot be started or the policy contradicts the covered indexes,
    RefusedByPolicy when uv's configuration leads around the proxy, and whatever the index's ``refresh`` raises: then
    nothing was started.
    """
    began = setting.clock()
    covered = cover(setting.index.url, setting.simple_urls)
    _require_consistent(setting.policy, covered)
    files = named_files(command, _working_folder())
    require_allowed_repositories([*command, *words_in(files)], setting.policy)
    detours = uv_detours(setting.environ, _working_folder())
    others = (*option_detours(command), *disk_detours(files))
    if not setting.allows_detours:
        require_no_detour(command, detours, others)
    await setting.index.refresh()
    withdrawn = [path for source in (setting.index, *setting.others) for path in await source.taken_down()]
    caches = cache_folder(setting.cache_root, setting.trust_root, setting.policy.digest(setting.clock()), withdrawn)
    caches.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        waiting = await stack.enter_async_context(confined(command)) if setting.is_strict else None
        proxy = await stack.enter_async_context(running_proxy(setting, covered, waiting.listener if waiting else None))
        places = RunPlaces(proxy.certificates, caches)
        child = child_environment(setting.environ, places, proxy.front.url, covered, setting.pip)
        variables = git_protocols(setting.policy, child.variables)
        proxy.front.description = RunDescription(
            setting.index.url,
            setting.trust_root,
            setting.chosen_policy,
            places,
            setting.is_strict,
            outside_of(setting.environ, variables),
        ).encode()
        child_code = await _run_child(command, variables, waiting)
        refusals = proxy.refusals.all()
        for book in setting.books:
            book.add(proxy.watcher.new)
        environments = environments_meant(command, setting.environ, _working_folder())
        note_installed(environments, note_handed_out(caches, proxy.handed), began)
        return RunReport(
            exit_code=exit_code_of_run(refusals, child_code),
            child_code=child_code,
            refusals=refusals,
            not_shown=proxy.refusals.not_shown,
            hidden=tuple(proxy.answers.hidden),
            notices=tuple(proxy.notices),
            unverified_hosts=dict(proxy.passing.hosts),
            left_out=child.left_out,
            detours=(*map(str, detours), *others),
        )


@asynccontextmanager
async def running_proxy(
    setting: RunSetting, covered: Covered, listener: socket.socket | None = None
) -> AsyncIterator[RunningProxy]:
    """A proxy for the time of the context, with a private folder that is removed afterwards.

    ``listener``: where it is reached, None for a port of its own.
    """
    with tempfile.TemporaryDirectory(prefix="assay-run-") as name:
        folder = Path(name)
        authority = Authority(folder, setting.clock())
        certificates = folder / "certificates.pem"
        certificates.write_bytes(authority.certificate_pem() + _roots_of_allowed_hosts(setting))
        refusals, passing = Refusals(), Passing(setting.environ)
        notices = list(ended_exemptions(setting.policy, setting.clock()))
        refuse = provenance_of(setting.policy).first_seen is FirstSeen.REFUSE
        watcher = Watcher.of(setting.books, refuse=refuse, notice=notices.append)
        handed: list[Receipt] = []

        def note(facts: Facts, file: "VerifiedFile") -> None:
            handed.append(receipt_of(facts, file))

        sources = (setting.index, *setting.others)
        source = PolicedSource(sources, setting.policy, setting.clock, notices.append, (watcher, note))
        answers = Answers(source, covered, setting.policy, refusals, passing, setting.clock)
        front = Front(answers, authority, covered, setting.policy, passing, refusals, setting.clock)
        await front.start(listener)
        try:
            yield RunningProxy(front, certificates, refusals, answers, passing, notices, watcher, handed)
        finally:
            await front.close()
            await answers.close()


def receipt_of(facts: Facts, file: "VerifiedFile") -> Receipt:
    """What is noted of a file that was handed out."""
    signers = [facts.signed_with] if facts.signed_with else []
    signers += [describe_publisher(each.publisher) for each in facts.attested]
    return Receipt(
        project=facts.project,
        version=facts.version or "",
        filename=file.filename,
        sha256=file.sha256,
        index=facts.index,
        rings=tuple(sorted(ring.value for ring in file.rings)),
        by=tuple(signers),
        at=facts.now.isoformat(),
    )


def render_report(report: RunReport) -> str:
    """What to print after a run, on standard error; empty when all went well and nothing was held back."""
    lines = [f"assay: {host} was asked without verification, as the policy allows" for host in report.unverified_hosts]
    lines += [f"assay: let pass by policy: {notice}" for notice in report.notices]
    if report.hidden:
        shown = ", ".join(report.hidden[:3]) + (", ..." if len(report.hidden) > 3 else "")
        lines.append(f"assay: {len(report.hidden)} files are younger than the policy's cooldown: {shown}")
    if report.left_out:
        lines.append("assay: not used, because it cannot be verified: " + "; ".join(report.left_out))
    lines += [f"assay: not seen by the proxy: {detour}" for detour in report.detours]
    notes = "".join(f"{line}\n" for line in lines)
    return notes + render_refusals(report.refusals, report.child_code, not_shown=report.not_shown)


def _require_consistent(policy: Policy, covered: Covered) -> None:
    for base in covered.bases():
        if policy.allows_host(base.origin.host):
            raise CallerError(
                "the policy allows a covered index to pass without verification",
                rule="policy-contradiction",
                subject=base.origin.host,
                next_step="remove the host from 'allow_hosts'",
            )


def _roots_of_allowed_hosts(setting: RunSetting) -> bytes:
    """The certificates that the user trusts for hosts outside; needed only where the policy allows any."""
    if not setting.policy.allows_any_host:
        return b""
    path = setting.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    return b"\n" + Path(path).read_bytes() if path and Path(path).is_file() else b""


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise CallerError("the working folder is gone", rule="working-folder", next_step="cd to another one") from None


async def run_within(
    command: Sequence[str],
    enclosing: Enclosing,
    index: str,
    simple_urls: Sequence[str],
    environ: Mapping[str, str],
    pip: PipSettings,
) -> int:
    """Run ``command`` behind the proxy of the run around this one, which explains and judges; the command's code."""
    covered = cover(index, simple_urls)
    child = child_environment(environ, enclosing.run.places, enclosing.proxy_url, covered, pip)
    return await _run_child(command, child.variables, None)


async def _run_child(command: Sequence[str], environ: Mapping[str, str], waiting: Confined | None) -> int:
    if waiting is not None:
        await waiting.go(command, environ)
        process = waiting.process
    else:
        try:
            process = await asyncio.create_subprocess_exec(*command, env=environ)
        except OSError as error:
            raise CallerError(
                "the command cannot be started", rule="command", subject=command[0], found=error.strerror
            ) from error
    with _forwarding_signals(process):
        code = await process.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding_signals(process: asyncio.subprocess.Process) -> Iterator[None]:
    """Hand signals on to the child instead of dying before it.

    What the terminal sends (Ctrl-C) it sends to the whole foreground group, so the child has it already.
    """
    loop = asyncio.get_running_loop()

    def forward(number: signal.Signals) -> None:
        if process.returncode is None and not (number in FROM_THE_TERMINAL and _in_foreground()):
            process.send_signal(number)

    for number in FORWARDED:
        loop.add_signal_handler(number, forward, number)
    try:
        yield
    finally:
        for number in FORWARDED:
            loop.remove_signal_handler(number)


def _in_foreground() -> bool:
    """Is this process in the terminal's foreground group?"""
    try:
        return os.tcgetpgrp(sys.__stderr__.fileno() if sys.__stderr__ else 2) == os.getpgrp()
    except (OSError, ValueError):
        return False
