"""``assay run -- COMMAND``: any installer, verified."""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from assay.cli.chosen import trusted_or_local
from assay.cli.output import colours
from assay.cli.policing import chosen_policy, policed
from assay.client import local_index
from assay.client.discover import PipSettings, ask_pip, default_indexes
from assay.client.enclosing import Enclosing, ask_enclosing, proxy_of_a_run
from assay.client.last_run import keep_last_run
from assay.client.registry import Registry, user_cache
from assay.client.run import RunReport, RunSetting, render_report, run_verified, run_within, utc_now
from assay.client.timings import TimedSource, Timings
from assay.policy.model import Policy

PING_S = 60.0


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--index", "url", metavar="URL", help="Which trusted index.  [default: the only one, or a local one]")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--strict", is_flag=True, help="No network at all but the verifying proxy (Linux).")
@click.option("--allow-detours", is_flag=True, help="Let it take files from this machine's disk, unverified.")
@click.option("--timings", is_flag=True, help="Say afterwards where the time went.")
@click.argument("child", metavar="-- COMMAND", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    url: str | None,
    policy_file: Path | None,
    strict: bool,
    allow_detours: bool,
    timings: bool,
    child: tuple[str, ...],
) -> None:
    """Run an installer so that every byte it gets from an index was verified first.

    Works for pip, uv, poetry, pdm, pipenv, hatch and what they start. Nothing in the project changes.
    """
    policy = chosen_policy(policy_file)
    around = proxy_of_a_run(os.environ)
    enclosing = asyncio.run(ask_enclosing(around)) if around else None
    if enclosing is not None and not enclosing.run.is_strict:
        enclosing.leave(os.environ)
        enclosing = None
    pip = ask_pip(os.environ, user_cache())
    discovered = default_indexes(pip, os.environ)
    if enclosing is not None:
        sys.exit(asyncio.run(_run_within(enclosing, child, url, policy, discovered, pip)))
    spent = Timings() if timings else None
    report = asyncio.run(
        _run(child, url, policy, discovered, pip, spent, is_strict=strict, allows_detours=allow_detours)
    )
    keep_last_run(child[0], report.exit_code, report.refusals, report.notices, utc_now())
    click.echo(render_report(report), nl=False, err=True, color=colours(sys.stderr))
    if spent is not None:
        click.echo(f"assay: timings {spent.line()}", err=True)
    sys.exit(report.exit_code)


async def _run(
    child: Sequence[str],
    url: str | None,
    policy: Policy,
    discovered: Sequence[str],
    pip: PipSettings,
    timings: Timings | None,
    *,
    is_strict: bool,
    allows_detours: bool,
) -> RunReport:
    entry, is_own = await trusted_or_local(url, discovered)
    notices: list[str] = []
    async with policed(entry, policy, notices.append, own=is_own) as found:
        setting = RunSetting(
            index=found.index if timings is None else TimedSource(found.index, timings),
            simple_urls=tuple(discovered),
            trust_root=entry.fingerprint,
            cache_root=user_cache(),
            environ=os.environ,
            policy=found.policy,
            pip=pip,
            others=found.others,
            books=found.books,
            chosen_policy=policy.digest(utc_now()),
            is_strict=is_strict,
            allows_detours=allows_detours,
        )
        pinging = asyncio.create_task(_ping(entry.url)) if is_own else None
        try:
            report = await run_verified(child, setting)
        finally:
            if pinging:
                pinging.cancel()
    return replace(report, notices=(*notices, *report.notices))


async def _run_within(
    enclosing: Enclosing,
    child: Sequence[str],
    url: str | None,
    policy: Policy,
    discovered: Sequence[str],
    pip: PipSettings,
) -> int:
    """In the strict run around this one there is no other way out than its proxy."""
    entry = Registry.of_user().find(url)
    if not enclosing.is_same(entry.url, entry.fingerprint, policy.digest(utc_now())):
        enclosing.leave(os.environ)
    return await run_within(child, enclosing, entry.url, tuple(discovered), os.environ, pip)


async def _ping(url: str) -> None:
    """Keep the local index from ending while the command runs without asking anything."""
    while True:
        await asyncio.sleep(PING_S)
        await asyncio.to_thread(local_index.is_alive, url)
