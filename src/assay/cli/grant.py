"""``assay grant``: who may upload to a project."""

import click

from assay.cli.administering import Desk, administers
from assay.cli.output import print_result


@click.command()
@click.argument("user")
@click.argument("role", type=click.Choice(["owner", "maintainer", "none"]))
@click.argument("project")
@administers
def command(user: str, role: str, project: str, desk: Desk, as_json: bool) -> None:
    """Give USER the ROLE on PROJECT, in the place of the one they have; 'none' takes it away."""
    result = desk.perform("grant", user=user, role=role, project=project)
    print_result(result, f"{user}: {role} of {result['project']}", as_json=as_json)
