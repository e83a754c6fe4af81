"""``assay lock pin``: resolve behind the proxy, verify, and write."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from assay import durable
from assay.cli.chosen import trusted_or_local
from assay.cli.output import colours, print_result
from assay.cli.policing import books, chosen_policy, policed
from assay.client.discover import ask_pip, default_indexes
from assay.client.last_run import keep_last_run
from assay.client.lock.pin import Pinned, Pinning, ResolverFailed, build_file
from assay.client.lock.resolving import LockFormat, Resolver, find_resolver
from assay.client.registry import user_cache
from assay.client.run import RunReport, RunSetting, render_report, run_verified, utc_now
from assay.client.seen import Watcher
from assay.model.errors import CallerError
from assay.model.outcomes import EXIT_FINE
from assay.policy.model import FirstSeen, Policy
from assay.policy.rules import provenance_of


def pin_files(
    inputs: Sequence[Path],
    out: Path,
    resolver: str | None,
    url: str | None,
    policy_file: Path | None,
    extra: Sequence[str],
    *,
    as_json: bool,
) -> int:
    """Do it; the exit code of the run where the resolver failed."""
    wanted = _format_of(out)
    policy = chosen_policy(policy_file)
    try:
        pinned = asyncio.run(_pin(inputs, wanted, Resolver(resolver) if resolver else None, url, policy, extra))
    except ResolverFailed as failed:
        report = failed.report
        keep_last_run("lock pin", report.exit_code, report.refusals, report.notices, utc_now())
        click.echo(render_report(failed.report), nl=False, err=True, color=colours(sys.stderr))
        click.secho(f"assay: {failed.what}; {out} is as it was", fg="red", err=True, color=colours(sys.stderr))
        return failed.report.exit_code
    written = {out: pinned.text.encode()}
    if pinned.build is not None:
        written[build_file(out)] = pinned.build.encode()
    durable.write_files(written)
    result = {
        "written": [str(path) for path in written],
        "packages": pinned.packages,
        "attested": pinned.attested,
        "build": pinned.build is not None,
    }
    text = f"pinned    {pinned.packages} packages in {out}, {pinned.attested} with attestation identities"
    text += f"; what builds them in {build_file(out)}" if pinned.build is not None else ""
    print_result(result, text, as_json=as_json)
    return EXIT_FINE


def _format_of(out: Path) -> LockFormat:
    if out.name.startswith("pylock") and out.suffix == ".toml":
        return LockFormat.PYLOCK
    if out.suffix == ".txt":
        return LockFormat.REQUIREMENTS
    raise CallerError(
        "the name does not say the format", rule="lock-format", subject=str(out), expected="*.txt or pylock*.toml"
    )


async def _pin(
    inputs: Sequence[Path],
    wanted: LockFormat,
    resolver: Resolver | None,
    url: str | None,
    policy: Policy,
    extra: Sequence[str],
) -> Pinned:
    pip = ask_pip(os.environ, user_cache())
    discovered = default_indexes(pip, os.environ)
    entry, is_own = await trusted_or_local(url, discovered)
    chosen, words = find_resolver(os.environ, resolver)

    def notice(text: str) -> None:
        click.secho(f"assay: let pass by policy: {text}", fg="yellow", err=True, color=colours(sys.stderr))

    async with policed(entry, policy, notice, own=is_own) as found:
        record = books(Path.cwd(), begin=True)
        refuse = provenance_of(found.policy).first_seen is FirstSeen.REFUSE
        watcher = Watcher.of(record, refuse=refuse, notice=notice)

        async def run(command: Sequence[str]) -> RunReport:
            return await run_verified(
                command,
                RunSetting(
                    index=found.index,
                    simple_urls=tuple(discovered),
                    trust_root=entry.fingerprint,
                    cache_root=user_cache(),
                    environ=os.environ,
                    policy=found.policy,
                    pip=pip,
                    others=found.others,
                    books=found.books,
                ),
            )

        pinning = Pinning(run, found.source(notice, (watcher,)), found.index, found.index_of, chosen, words, extra)
        pinned = await pinning.pin(inputs, wanted)
        for book in record:
            book.add(watcher.new)
    return pinned
