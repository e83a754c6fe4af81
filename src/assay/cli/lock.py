"""``assay lock``: pin what uv or pip resolve behind the proxy; is every hash in these files the vouched-for one?"""

import asyncio
import sys
from pathlib import Path

import click

from assay.cli.chosen import known_index
from assay.cli.output import colours, describe, json_option, print_result
from assay.client.lock.verify import LockReport, verify_lock
from assay.client.policies import PROJECT, load_layer
from assay.client.registry import opened
from assay.model.outcomes import gravest
from assay.policy.model import Policy

_INPUT = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def command() -> None:
    """Pin requirements with hashes, and check lock files against the index, without installing anything."""


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--allow-elsewhere", is_flag=True, help="Take git, URL and path sources as they are.")
@click.option("--policy", "policy_file", type=_INPUT, help="Take the repositories that this policy allows.")
@json_option
def verify(
    files: tuple[Path, ...], url: str | None, allow_elsewhere: bool, policy_file: Path | None, as_json: bool
) -> None:
    """Check every hash in requirements, pylock.toml, uv.lock, poetry.lock, pdm.lock and Pipfile.lock files.

    The attestation identities of a pylock.toml are compared with who attested. A repository passes where --policy
    allows it; the project's own policy is not asked, because whoever edits a lock file may edit that, too.

    \b
    assay lock verify uv.lock
    assay lock verify requirements.txt requirements.build.txt --json
    """
    policy = Policy((load_layer(policy_file, PROJECT),) if policy_file is not None else ())
    reports = asyncio.run(_verify(files, url, policy, allow_elsewhere=allow_elsewhere))
    errors = [finding.error for report in reports for finding in report.findings]
    print_result({"files": [_row(report) for report in reports]}, "\n".join(map(_tell, reports)), as_json=as_json)
    for error in errors:
        click.echo(describe(error), err=True, color=colours(sys.stderr))
    # 10 outranks 12: that something was altered matters more than that something was not allowed.
    sys.exit(gravest(errors))


@command.command()
@click.argument("inputs", metavar="FILE...", nargs=-1, required=True, type=_INPUT)
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: requirements.txt here]")
@click.option("--with", "resolver", type=click.Choice(["uv", "pip"]), help="Who resolves.  [default: uv, else pip]")
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--policy", "policy_file", type=_INPUT, help="In the place of the project's.")
@click.option("-x", "--extra", multiple=True, metavar="WORD", help="A further word for the resolver: -x --universal")
@json_option
def pin(
    inputs: tuple[Path, ...],
    out: Path | None,
    resolver: str | None,
    url: str | None,
    policy_file: Path | None,
    extra: tuple[str, ...],
    as_json: bool,
) -> None:
    """Resolve requirements (FILE: requirements.in, pyproject.toml) and write them with a hash of every file.

    OUT's name says the format: requirements*.txt, or pylock.toml with the identities that attested each package. The
    build dependencies of what is built from source are pinned in OUT.build.txt, for --build-constraint. Every file
    that would be installed here is fetched, verified and judged by the policy first; else nothing is written.

    \b
    assay lock pin requirements.in
    assay lock pin pyproject.toml -o pylock.toml -x --universal
    assay run -- uv pip install -r requirements.txt --build-constraints requirements.build.txt
    """
    from assay.cli.pinning import pin_files

    sys.exit(pin_files(inputs, out or Path("requirements.txt"), resolver, url, policy_file, extra, as_json=as_json))


async def _verify(
    files: tuple[Path, ...], url: str | None, policy: Policy, *, allow_elsewhere: bool
) -> list[LockReport]:
    async with opened(await known_index(url)) as index:
        await index.refresh()
        return [await verify_lock(index, path, allow_elsewhere=allow_elsewhere, policy=policy) for path in files]


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
