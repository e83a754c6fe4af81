"""``assay quarantine``: offer nothing of a project, take nothing for it."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now, settle
from assay.cli.output import json_option, print_result
from assay.index import states
from assay.model.names import parse_project_name


@click.command()
@click.argument("project")
@click.option("--reason", help="Shown on the project's page.")
@data_option
@json_option
def command(project: str, reason: str | None, data: Path, as_json: bool) -> None:
    """Hide every file of PROJECT and refuse uploads to it (PEP 792), until ``assay reactivate``."""
    name = parse_project_name(project)
    with ledger_of(data, write=True) as connection:
        proposals = states.set_status(connection, name, "quarantined", reason, ACTOR, now())
    outcome = settle(data, proposals)
    result = {"project": name, "status": "quarantined", "state": outcome}
    print_result(result, f"quarantined {name}: {outcome}", as_json=as_json)
