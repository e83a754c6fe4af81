"""``assay verify FILE...``: are these files what the index vouches for?"""

import asyncio
import sys
from pathlib import Path

import click

from assay.cli.output import colours, describe, json_option, print_result
from assay.client.registry import Registry, opened
from assay.client.verify import Verdict, verify_file
from assay.model.outcomes import exit_code_of


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@json_option
def command(files: tuple[Path, ...], url: str | None, as_json: bool) -> None:
    """Compare wheels and sdists with what the index vouches for under their names."""
    verdicts = asyncio.run(_verify(files, url))
    rows = [
        {
            "file": str(verdict.path),
            "sha256": verdict.sha256,
            "verified": verdict.error is None,
            "rule": verdict.error.rule if verdict.error else None,
            "reason": str(verdict.error) if verdict.error else None,
        }
        for verdict in verdicts
    ]
    good = [click.style(f"verified  {verdict.path}", fg="green") for verdict in verdicts if verdict.error is None]
    print_result({"files": rows}, "\n".join(good), as_json=as_json)
    errors = [verdict.error for verdict in verdicts if verdict.error is not None]
    for error in errors:
        click.echo(describe(error), err=True, color=colours(sys.stderr))
    sys.exit(max((exit_code_of(error) for error in errors), default=0))


async def _verify(files: tuple[Path, ...], url: str | None) -> list[Verdict]:
    async with opened(Registry.of_user().find(url)) as index:
        await index.refresh()
        return [await verify_file(index, path) for path in files]
