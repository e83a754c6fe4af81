"""``assay remove``: take a file, a version or a project away for good."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now, settle
from assay.cli.output import json_option, print_result
from assay.index import states
from assay.model.errors import CallerError
from assay.model.names import parse_project_name


@click.command()
@click.argument("project")
@click.argument("what", metavar="[VERSION|FILENAME]", required=False)
@click.option("--whole-project", is_flag=True, help="Remove PROJECT with every file; its name is never given again.")
@click.option("--reason", required=True, help="For the log.")
@data_option
@json_option
def command(project: str, what: str | None, whole_project: bool, reason: str, data: Path, as_json: bool) -> None:
    """Remove a version or a file of PROJECT. Its filenames never return; this cannot be undone.

    A file that was sealed stays vouched for: ``assay takedown`` is for those.
    """
    if (what is None) != whole_project:
        raise CallerError("name a version or a file, or give --whole-project", rule="remove-what")
    name = parse_project_name(project)
    with ledger_of(data, write=True) as connection:
        if what is None:
            proposals = states.remove_project(connection, name, reason, ACTOR, now())
        else:
            proposals = states.remove_files(connection, name, what, reason, ACTOR, now())
    outcome = settle(data, proposals)
    result = {"project": name, "what": what, "state": outcome}
    print_result(result, f"removed {name}{f' {what}' if what else ''}: {outcome}", as_json=as_json)
