"""``assay log verify``: does the index show everybody the same, and is everything that it signed in its log?"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from assay.cli.output import json_option, print_result
from assay.cli.progress import told_progress
from assay.client.explain import explain_release
from assay.client.log.audit import FullAudit, LogAuditor, opened_log
from assay.client.log.heads import BelievedLog
from assay.client.log.monitor import MonitorConfig, alarm, beginning, messages, read_head, write_head
from assay.client.registry import Registry
from assay.mail import send
from assay.model.errors import AssayError, NotFresh, VerificationFailed
from assay.model.names import parse_project_name
from assay.settings import read_settings
from assay.trust.layout import TargetPath
from assay.trust.verify import VerifiedTarget


@click.group()
def command() -> None:
    """The index's transparency log: what happened there, in an order that nobody can change later."""


@command.command()
@click.argument("releases", nargs=-1, metavar="[PROJECT[==VERSION]]...")
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--full", is_flag=True, help="Read every entry, and compare with everything that is signed.")
@json_option
def verify(releases: tuple[str, ...], url: str | None, full: bool, as_json: bool) -> None:
    """Check that the log only grew since this machine saw it last, and that it agrees with what is signed.

    For each release that is named (without a version: the newest), the entries of its files are proved to be in the
    log and compared with the signed targets. With --full, every entry is read and everything is compared, both ways.
    """
    log, proved, audit = asyncio.run(_verify(url, releases, full=full, quiet=as_json))
    result: dict[str, Any] = {
        "origin": log.identity.origin,
        "size": log.checkpoint.head.size,
        "root": log.checkpoint.head.root.hex(),
        "seen_before": log.seen.size if log.seen else None,
        "witnesses": [{"name": each.key.name, "time": each.time_s} for each in log.checkpoint.witnesses],
        "files": [{"path": path, "entry": number} for path, number in proved],
        "audit": {"entries": audit.entries, "files": audit.files, "pages": audit.pages} if audit else None,
    }
    print_result(result, "\n".join(_tell(log, proved, audit)), as_json=as_json)


@command.command()
@click.argument("config_file", metavar="MONITOR.TOML", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--once", is_flag=True, help="Look once and end, for cron; otherwise look for ever.")
@click.option("--from-start", is_flag=True, help="The first time, tell what happened so far, too.")
def monitor(config_file: Path, once: bool, from_start: bool) -> None:
    """Mail everybody who watches a project about each event on it, and everybody if the log is not what it was.

    Run it on a machine that is not the index's: whoever takes the index would silence it. See docs/log.md.
    """
    config, memory = read_settings(config_file, MonitorConfig), config_file.with_suffix(".told.json")
    asyncio.run(_watch(config, memory, once=once, from_start=from_start))


async def _watch(config: MonitorConfig, memory: Path, *, once: bool, from_start: bool) -> None:
    cried: str | None = None
    while True:
        try:
            await _look(config, memory, from_start=from_start)
            cried = None
        except (VerificationFailed, NotFresh) as error:
            if cried != error.rule:
                send(config.mail, alarm(config, config.index or "the index", error))
                cried = error.rule
            if once:
                raise
            click.echo(f"assay log monitor: ALARM: {error} [{error.rule}]", err=True)
        except AssayError as error:
            if once:
                raise
            click.echo(f"assay log monitor: {error} [{error.rule}]", err=True)
        if once:
            return
        await asyncio.sleep(config.every_s)


async def _look(config: MonitorConfig, memory: Path, *, from_start: bool) -> None:
    """Tell what is new, and remember that it was told."""
    async with opened_log(Registry.of_user().find(config.index)) as auditor:
        log = await auditor.believe()
        told = read_head(memory) or (beginning() if from_start else log.stated)
        entries = await auditor.since(log, told)
        mails = messages(config, auditor.index.url, entries)
        if mails:
            for recipient in await asyncio.to_thread(send, config.mail, mails):
                click.echo(f"assay log monitor: the mail server does not take {recipient}", err=True)
        write_head(memory, log.stated)
        click.echo(f"{len(entries)} new entries, {len(mails)} mails")


async def _verify(
    url: str | None, releases: Sequence[str], *, full: bool, quiet: bool
) -> tuple[BelievedLog, list[tuple[TargetPath, int]], FullAudit | None]:
    async with opened_log(Registry.of_user().find(url)) as auditor:
        targets = [target for release in releases for target in await _targets_of(auditor, release)]
        log = await auditor.believe()
        proved = [(target.path, await auditor.require_logged(log, target, hint)) for target, hint in targets]
        return log, proved, await _audit(auditor, log, quiet=quiet) if full else None


async def _targets_of(auditor: LogAuditor, release: str) -> list[tuple[VerifiedTarget, int | None]]:
    """The files of ``release``, each with the log entry that its page names."""
    name, _, version = release.partition("==")
    found = await explain_release(auditor.index, parse_project_name(name), version or None, None)
    return [(each.target, each.entry.log_index) for each in found]


async def _audit(auditor: LogAuditor, log: BelievedLog, *, quiet: bool) -> FullAudit:
    with told_progress("reading the log", quiet=quiet) as progress:
        return await auditor.audit(log, lambda done: progress(done, log.stated.size))


def _tell(log: BelievedLog, proved: Sequence[tuple[TargetPath, int]], audit: FullAudit | None) -> list[str]:
    head = log.checkpoint.head
    seen = f"it grew from the {log.seen.size} entries seen here before" if log.seen else "seen here for the first time"
    witnesses = ", ".join(each.key.name for each in log.checkpoint.witnesses) or "none"
    lines = [
        f"log        {log.identity.origin}, {head.size} entries, root {head.root.hex()}",
        f"consistent {seen}",
        f"witnesses  {witnesses}",
        *(f"logged     {path} (entry {number})" for path, number in proved),
    ]
    if audit is not None:
        lines.append(
            f"agrees     {audit.entries} entries with {audit.files} signed files and {audit.pages} signed pages"
        )
    return lines
