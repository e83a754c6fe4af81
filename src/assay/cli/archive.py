"""``assay archive``: a project that takes no more uploads."""

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
    """Refuse uploads to PROJECT; its files stay (PEP 792). ``assay reactivate`` undoes it."""
    name = parse_project_name(project)
    with ledger_of(data, write=True) as connection:
        proposals = states.set_status(connection, name, "archived", reason, ACTOR, now())
    outcome = settle(data, proposals)
    result = {"project": name, "status": "archived", "state": outcome}
    print_result(result, f"archived {name}: {outcome}", as_json=as_json)
