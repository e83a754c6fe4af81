"""``assay bundle``: what a lock file needs, in one folder, for a machine without a network."""

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from assay import durable
from assay.cli.output import colours, json_option, print_result
from assay.cli.policing import chosen_policy
from assay.client.bundle.contents import Contents, fetch_locked
from assay.client.bundle.making import describe, recording
from assay.client.bundle.opening import opened_bundle, read_bundle, trust_bundle
from assay.client.discover import ask_pip, default_indexes
from assay.client.last_run import keep_last_run
from assay.client.organisation import current_policy, organisation_layer
from assay.client.policed import PolicedSource
from assay.client.registry import Registry, TrustedEntry, user_cache
from assay.client.run import RunReport, RunSetting, render_report, run_verified, utc_now
from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import CallerError
from assay.policy.model import Policy
from assay.policy.rules import provenance_of

DEFAULT_MAX_AGE_DAYS = 30
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.group()
def command() -> None:
    """Carry what a lock file needs to machines without a network, where it is verified again (docs/air-gap.md)."""


@command.command()
@click.argument("locks", metavar="LOCKFILE...", nargs=-1, required=True, type=_FILE)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--all-platforms", is_flag=True, help="Every pinned file, not only what is usable on this machine.")
@json_option
def create(locks: tuple[Path, ...], out: Path, url: str | None, all_platforms: bool, as_json: bool) -> None:
    """Put every file that LOCKFILEs pin, with its metadata, provenance and pages, into the folder OUT.

    \b
    assay lock pin requirements.in
    assay bundle create requirements.txt requirements.build.txt -o bundle
    """
    names = [path.name for path in locks]
    if len(set(names)) != len(names):
        raise CallerError("two lock files have one name; a bundle keeps both beside each other", found=", ".join(names))
    entry = Registry.of_user().find(url)
    contents = asyncio.run(_create(entry, locks, out, chosen_policy(None), everywhere=all_platforms))
    durable.write_files({out / path.name: path.read_bytes() for path in locks})
    describe(out, entry.url, contents.files, names)
    result = {"bundle": str(out), "index": entry.url, "files": list(contents.files), "bytes": contents.size}
    text = f"bundled   {len(contents.files)} files, {contents.size:,} bytes, of {entry.url} in {out}"
    print_result(result, text, as_json=as_json)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("child", metavar="[-- COMMAND]", nargs=-1, type=click.UNPROCESSED)
@click.option("--fingerprint", metavar="sha256:HEX", help="Trust the bundle's index by this root, the first time.")
@click.option("--max-age", type=click.IntRange(0), default=DEFAULT_MAX_AGE_DAYS, show_default=True, metavar="DAYS")
@click.option("--policy", "policy_file", type=_FILE, help="In the place of the project's.")
def install(
    folder: Path, child: tuple[str, ...], fingerprint: str | None, max_age: int, policy_file: Path | None
) -> None:
    """Run COMMAND with the bundle DIR in the place of the index: verified as online, and nothing reaches a network.

    Without COMMAND its lock files are installed with uv, or pip where there is no uv.

    \b
    assay bundle install bundle --fingerprint sha256:...
    assay bundle install bundle -- pip install -r bundle/requirements.txt
    """
    wanted = parse_sha256(fingerprint.removeprefix("sha256:")) if fingerprint is not None else None
    report = asyncio.run(_install(folder, child, wanted, timedelta(days=max_age), chosen_policy(policy_file)))
    keep_last_run(child[0] if child else "bundle install", report.exit_code, report.refusals, report.notices, utc_now())
    click.echo(render_report(report), nl=False, err=True, color=colours(sys.stderr))
    sys.exit(report.exit_code)


async def _create(
    entry: TrustedEntry, locks: Sequence[Path], out: Path, policy: Policy, *, everywhere: bool
) -> Contents:
    def notice(text: str) -> None:
        click.secho(f"assay: let pass by policy: {text}", fg="yellow", err=True, color=colours(sys.stderr))

    async with recording(entry, out) as index:
        _, layer = await current_policy(index)
        policy = policy.with_layers([layer] if layer is not None else [])
        index.policy = provenance_of(policy)
        return await fetch_locked(PolicedSource([index], policy, utc_now, notice), locks, everywhere=everywhere)


async def _install(
    folder: Path, child: Sequence[str], fingerprint: Sha256 | None, max_age: timedelta, policy: Policy
) -> RunReport:
    bundle, now = read_bundle(folder), datetime.now(UTC)
    entry = trust_bundle(bundle, fingerprint, now)
    pip = ask_pip(os.environ, user_cache())
    notices: list[str] = []
    async with opened_bundle(bundle, entry, max_age, now, notices.append) as index:
        if (layer := await organisation_layer(index, entry.folder, notices.append)) is not None:
            policy = policy.with_layers([layer])
        index.policy = provenance_of(policy)
        for notice in notices:
            click.secho(f"assay: {notice}", fg="yellow", err=True, color=colours(sys.stderr))
        return await run_verified(
            child or _default_command(folder, bundle.locks),
            RunSetting(
                index=index,
                simple_urls=default_indexes(pip, os.environ),
                trust_root=entry.fingerprint,
                cache_root=user_cache(),
                environ=os.environ,
                policy=policy,
                pip=pip,
            ),
        )


def _default_command(folder: Path, locks: Sequence[str]) -> list[str]:
    """Install the bundle's requirements: uv where there is one, else pip. Raises CallerError."""
    files = [folder / name for name in locks if name.endswith(".txt") and not name.endswith(".build.txt")]
    build = [folder / name for name in locks if name.endswith(".build.txt")]
    if not files:
        raise CallerError(
            "the bundle has no requirements file", found=", ".join(locks), next_step="say what installs: -- uv sync ..."
        )
    program = "uv" if shutil.which("uv") else "pip"
    constraint = "--build-constraints" if program == "uv" else "--build-constraint"
    command = [*(["uv", "pip"] if program == "uv" else ["pip"]), "install", "--require-hashes"]
    command += [word for path in files for word in ("-r", str(path))]
    return command + [word for path in build for word in (constraint, str(path))]
