"""``assay lock verify FILE...``: is every hash in these lock files the one that is vouched for?"""

import asyncio
import sys
from pathlib import Path

import click

from assay.cli.chosen import known_index
from assay.cli.output import colours, describe, json_option, print_result
from assay.client.lock.verify import LockReport, verify_lock
from assay.client.registry import opened
from assay.model.outcomes import gravest


@click.group()
def command() -> None:
    """Check lock files against the index, without installing anything."""


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--allow-elsewhere", is_flag=True, help="Take git, URL and path sources as they are.")
@json_option
def verify(files: tuple[Path, ...], url: str | None, allow_elsewhere: bool, as_json: bool) -> None:
    """Check every hash in requirements, pylock.toml, uv.lock, poetry.lock, pdm.lock and Pipfile.lock files."""
    reports = asyncio.run(_verify(files, url, allow_elsewhere=allow_elsewhere))
    errors = [finding.error for report in reports for finding in report.findings]
    print_result({"files": [_row(report) for report in reports]}, "\n".join(map(_tell, reports)), as_json=as_json)
    for error in errors:
        click.echo(describe(error), err=True, color=colours(sys.stderr))
    # 10 outranks 12: that something was altered matters more than that something was not allowed.
    sys.exit(gravest(errors))


async def _verify(files: tuple[Path, ...], url: str | None, *, allow_elsewhere: bool) -> list[LockReport]:
    async with opened(await known_index(url)) as index:
        await index.refresh()
        return [await verify_lock(index, path, allow_elsewhere=allow_elsewhere) for path in files]


def _row(report: LockReport) -> dict[str, object]:
    findings = [
        {
            "line": finding.locked.line,
            "project": finding.locked.project,
            "version": finding.locked.version,
            "file": finding.locked.filename,
            "rule": finding.error.rule,
            "reason": finding.error.what,
            "expected": finding.error.expected,
            "found": finding.error.found,
        }
        for finding in report.findings
    ]
    return {"file": str(report.path), "hashes": report.hashes, "packages": report.packages, "findings": findings}


def _tell(report: LockReport) -> str:
    counts = f"{report.hashes} hashes of {report.packages} packages"
    if report.findings:
        return click.style(f"refused   {report.path}: {len(report.findings)} findings, {counts}", fg="red")
    return click.style(f"verified  {report.path}: {counts}", fg="green")
