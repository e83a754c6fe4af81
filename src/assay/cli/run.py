"""``assay run -- COMMAND``: any installer, verified."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from assay.cli.chosen import trusted_or_local
from assay.cli.output import colours
from assay.client import local_index
from assay.client.discover import PipSettings, ask_pip, default_indexes
from assay.client.policy import POLICY_FILENAME, Policy, load_policy
from assay.client.registry import opened, user_cache
from assay.client.run import RunReport, RunSetting, render_report, run_verified
from assay.client.timings import TimedSource, Timings

PING_S = 60.0


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--index", "url", metavar="URL", help="Which trusted index.  [default: the only one, or a local one]")
@click.option("--policy", "policy_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--timings", is_flag=True, help="Say afterwards where the time went.")
@click.argument("child", metavar="-- COMMAND", nargs=-1, required=True, type=click.UNPROCESSED)
def command(url: str | None, policy_file: Path | None, timings: bool, child: tuple[str, ...]) -> None:
    """Run an installer so that every byte it gets from an index was verified first.

    Works for pip, uv, poetry, pdm, pipenv, hatch and what they start. Nothing in the project changes.
    """
    policy = _policy(policy_file)
    pip = ask_pip(os.environ, user_cache())
    discovered = default_indexes(pip, os.environ)
    notices: list[str] = []
    spent = Timings() if timings else None
    report = asyncio.run(_run(child, url, policy, discovered, pip, notices, spent))
    for notice in notices:
        click.secho(f"assay: let pass by policy: {notice}", fg="yellow", err=True, color=colours(sys.stderr))
    click.echo(render_report(report), nl=False, err=True, color=colours(sys.stderr))
    if spent is not None:
        click.echo(f"assay: timings {spent.line()}", err=True)
    sys.exit(report.exit_code)


def _policy(path: Path | None) -> Policy:
    found = path or (Path(POLICY_FILENAME) if Path(POLICY_FILENAME).is_file() else None)
    return load_policy(found) if found else Policy()


async def _run(
    child: Sequence[str],
    url: str | None,
    policy: Policy,
    discovered: Sequence[str],
    pip: PipSettings,
    notices: list[str],
    timings: Timings | None,
) -> RunReport:
    entry, keep_alive = await trusted_or_local(url, discovered)
    async with opened(entry, policy.provenance, notices.append) as index:
        setting = RunSetting(
            index=index if timings is None else TimedSource(index, timings),
            simple_urls=tuple(discovered),
            trust_root=entry.fingerprint,
            cache_root=user_cache(),
            environ=os.environ,
            policy=policy,
            pip=pip,
        )
        pinging = asyncio.create_task(_ping(entry.url)) if keep_alive else None
        try:
            return await run_verified(child, setting)
        finally:
            if pinging:
                pinging.cancel()


async def _ping(url: str) -> None:
    """Keep the local index from ending while the command runs without asking anything."""
    while True:
        await asyncio.sleep(PING_S)
        await asyncio.to_thread(local_index.is_alive, url)
