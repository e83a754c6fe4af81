"""``assay audit``: is this installed environment what the index vouches for?"""

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from assay import durable
from assay.cli.chosen import known_index
from assay.cli.output import colours, describe, json_option, print_result
from assay.client.audit.audit import Audit, Finding, Verdict, audit
from assay.client.audit.installed import Environment, find_environment
from assay.client.audit.sbom import render_sbom
from assay.client.registry import opened
from assay.model.outcomes import EXIT_FINE, EXIT_VERIFICATION

SHOWN_DIFFERENCES = 20


@click.command()
@click.option(
    "--python",
    type=click.Path(path_type=Path, exists=True),
    default=lambda: Path(sys.executable),
    show_default="the one that runs assay",
    help="An interpreter, or the folder of a virtual environment.",
)
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--bytecode", is_flag=True, help="Compile every source again and compare its byte-code. Slow.")
@click.option("--strict", is_flag=True, help="Exit with 10 also for what nobody vouches for.")
@click.option("--sbom", type=click.Path(path_type=Path, dir_okay=False), help="Write a CycloneDX bill of materials.")
@json_option
def command(python: Path, url: str | None, bytecode: bool, strict: bool, sbom: Path | None, as_json: bool) -> None:
    """Compare every installed file with the wheel that the index vouches for.

    \b
    assay audit --python .venv
    assay audit --python .venv --strict --bytecode --sbom sbom.json --json
    """
    done = asyncio.run(_audit(find_environment(python), url, bytecode=bytecode))
    if sbom is not None:
        durable.write_file(sbom, render_sbom(done))
    print_result(_document(done), _tell(done), as_json=as_json)
    for finding in done.findings:
        if finding.error is not None:
            click.echo(describe(finding.error), err=True, color=colours(sys.stderr))
    unsound = done.with_verdict(Verdict.ALTERED) or (
        strict and (done.with_verdict(Verdict.NOT_VOUCHED_FOR) or done.strays)
    )
    sys.exit(EXIT_VERIFICATION if unsound else EXIT_FINE)


async def _audit(environment: Environment, url: str | None, *, bytecode: bool) -> Audit:
    async with opened(await known_index(url)) as index:
        return await audit(index, environment, with_bytecode=bytecode)


def _document(done: Audit) -> dict[str, Any]:
    return {
        "python": str(done.environment.python),
        "distributions": [
            {
                "project": finding.installed.project,
                "version": finding.installed.version,
                "verdict": finding.verdict.value,
                "file": finding.file.filename if finding.file else None,
                "sha256": finding.file.sha256 if finding.file else None,
                "reason": str(finding.error) if finding.error else finding.reason,
                "rule": finding.error.rule if finding.error else None,
                "receipt": asdict(finding.receipt) if finding.receipt else None,
                "differences": [
                    {"path": one.path, "expected": one.expected, "found": one.found} for one in finding.differences
                ],
            }
            for finding in done.findings
        ],
        "strays": list(done.strays),
        "bytecode": {"files": done.bytecode, "compared": done.bytecode_compared},
    }


def _tell(done: Audit) -> str:
    lines = [line for finding in done.findings for line in _tell_one(finding)]
    lines += [
        click.style(f"stray            {path}: no distribution accounts for it", fg="yellow") for path in done.strays
    ]
    counts = [f"{len(done.with_verdict(verdict))} {verdict.value}" for verdict in _ORDER]
    if done.strays:
        counts.append(f"{len(done.strays)} stray files")
    if done.bytecode:
        how = "compared with their sources" if done.bytecode_compared else "not compared (--bytecode compares them)"
        lines.append(f"{done.bytecode} compiled files were {how}")
    return "\n".join([*lines, ", ".join(counts)])


_ORDER = (Verdict.VERIFIED, Verdict.NOT_VOUCHED_FOR, Verdict.ALTERED)


def _tell_one(finding: Finding) -> list[str]:
    name = f"{finding.installed.project} {finding.installed.version}"
    if finding.verdict is Verdict.VERIFIED:
        return []
    if finding.verdict is Verdict.NOT_VOUCHED_FOR:
        return [click.style(f"not vouched for  {name}: {finding.reason}", fg="yellow")]
    lines = [click.style(f"altered          {name}", fg="red", bold=True)]
    lines += [
        f"                 {one.path}: expected {one.expected}, found {one.found}"
        for one in finding.differences[:SHOWN_DIFFERENCES]
    ]
    if len(finding.differences) > SHOWN_DIFFERENCES:
        lines.append(f"                 and {len(finding.differences) - SHOWN_DIFFERENCES} more files")
    return lines
