"""``assay project``: the projects of an index."""

import click

from assay.cli.administering import Desk, administers
from assay.cli.output import print_result


@click.group()
def command() -> None:
    """Register, show, list and transfer projects."""


@command.command()
@click.argument("name")
@click.option("--owner", metavar="USER", help="Who owns it from the start.")
@click.option("--private", is_flag=True, help="Never pulled through from the upstream, even while it has no files.")
@administers
def create(name: str, owner: str | None, private: bool, desk: Desk, as_json: bool) -> None:
    """Register the project NAME."""
    result = desk.perform("project.create", project=name, owner=owner, private=private)
    print_result(result, f"created {result['project']}", as_json=as_json)


@command.command("list")
@administers
def list_(desk: Desk, as_json: bool) -> None:
    """List the projects."""
    result = desk.perform("project.list")
    print_result(result, "\n".join(result["projects"]), as_json=as_json)


@command.command()
@click.argument("name")
@administers
def show(name: str, desk: Desk, as_json: bool) -> None:
    """Show the state of the project NAME and who has which role on it."""
    result = desk.perform("project.show", project=name)
    roles = [f"{row['role']:<10}  {row['user']}  granted by {row['granted_by']}" for row in result["roles"]]
    private = ", private" if result["private"] else ""
    lines = [f"{result['project']}: {result['status']}, origin {result['origin']}{private}", *roles]
    print_result(result, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("name")
@click.argument("user")
@administers
def transfer(name: str, user: str, desk: Desk, as_json: bool) -> None:
    """Make USER the only owner of the project NAME. Maintainers keep their role."""
    result = desk.perform("project.transfer", project=name, user=user)
    print_result(result, f"{result['project']} belongs to {user} now", as_json=as_json)
