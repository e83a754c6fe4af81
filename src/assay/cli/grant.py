"""``assay grant``: who may upload to a project."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now
from assay.index.ledger import accounts
from assay.model.errors import NotFound
from assay.model.names import parse_project_name
from assay.model.permissions import USER_ROLES, ProjectRole


@click.command()
@click.argument("user")
@click.argument("role", type=click.Choice([*(role.value for role in USER_ROLES), "none"]))
@click.argument("project")
@data_option
def command(user: str, role: str, project: str, data: Path) -> None:
    """Give USER the ROLE on PROJECT, in the place of the one they have; 'none' takes it away."""
    name = parse_project_name(project)
    with ledger_of(data, write=True) as connection:
        if role != "none":
            accounts.grant_role(connection, name, user, ProjectRole(role), ACTOR, now())
        elif not accounts.revoke_role(connection, name, user, ACTOR, now()):
            raise NotFound("this user has no role on this project", subject=f"{user} on {name}")
    click.echo(f"{user}: {role} of {name}")
