"""``assay user``: accounts."""

import click

from assay.cli.administering import Desk, administers
from assay.cli.output import print_result


@click.group()
def command() -> None:
    """Create and list accounts."""


@command.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="May administer the index.")
@administers
def create(name: str, admin: bool, desk: Desk, as_json: bool) -> None:
    """Create the account NAME."""
    result = desk.perform("user.create", name=name, admin=admin)
    print_result(result, f"created user {result['user']}", as_json=as_json)


@command.command("list")
@administers
def list_(desk: Desk, as_json: bool) -> None:
    """List the accounts."""
    result = desk.perform("user.list")
    print_result(result, "\n".join(str(row["name"]) for row in result["users"]), as_json=as_json)
