"""``assay project``: the projects of an index."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now
from assay.cli.output import json_option, print_result
from assay.index import states
from assay.index.ledger import accounts
from assay.model.names import parse_project_name
from assay.model.permissions import ProjectRole


@click.group()
def command() -> None:
    """Register, list and transfer projects."""


@command.command()
@click.argument("name")
@click.option("--owner", metavar="USER", help="Who owns it from the start.")
@click.option("--private", is_flag=True, help="Never pulled through from the upstream, even while it has no files.")
@data_option
@json_option
def create(name: str, owner: str | None, private: bool, data: Path, as_json: bool) -> None:
    """Register the project NAME."""
    project, moment = parse_project_name(name), now()
    with ledger_of(data, write=True) as connection:
        accounts.create_project(connection, project, ACTOR, moment, private=private)
        if owner:
            accounts.grant_role(connection, project, owner, ProjectRole.OWNER, ACTOR, moment)
    print_result({"project": project, "owner": owner, "private": private}, f"created {project}", as_json=as_json)


@command.command("list")
@data_option
@json_option
def list_(data: Path, as_json: bool) -> None:
    """List the projects."""
    with ledger_of(data) as connection:
        names = accounts.project_names(connection)
    print_result({"projects": names}, "\n".join(names), as_json=as_json)


@command.command()
@click.argument("name")
@click.argument("user")
@data_option
@json_option
def transfer(name: str, user: str, data: Path, as_json: bool) -> None:
    """Make USER the only owner of the project NAME. Maintainers keep their role."""
    project = parse_project_name(name)
    with ledger_of(data, write=True) as connection:
        former = states.transfer(connection, project, user, ACTOR, now())
    result = {"project": project, "owner": user, "former_owners": former}
    print_result(result, f"{project} belongs to {user} now", as_json=as_json)
