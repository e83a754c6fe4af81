"""``assay yank``: installers pass a file or version over unless it is pinned."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now, settle
from assay.cli.output import json_option, print_result
from assay.index import states
from assay.model.names import parse_project_name


@click.command()
@click.argument("project")
@click.argument("what", metavar="VERSION|FILENAME")
@click.option("--reason", default="", help="Shown to whoever installs it anyway.")
@data_option
@json_option
def command(project: str, what: str, reason: str, data: Path, as_json: bool) -> None:
    """Yank a version or a file of PROJECT (PEP 592). ``assay unyank`` undoes it."""
    name = parse_project_name(project)
    with ledger_of(data, write=True) as connection:
        proposals = states.yank(connection, name, what, reason, ACTOR, now())
    outcome = settle(data, proposals)
    result = {"project": name, "what": what, "files": len(proposals), "state": outcome}
    print_result(result, f"yanked {name} {what}: {outcome}", as_json=as_json)
