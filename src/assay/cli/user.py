"""``assay user``: accounts."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now
from assay.cli.output import json_option, print_result
from assay.index.ledger import accounts


@click.group()
def command() -> None:
    """Create and list accounts."""


@command.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="May administer the index.")
@data_option
@json_option
def create(name: str, admin: bool, data: Path, as_json: bool) -> None:
    """Create the account NAME."""
    with ledger_of(data, write=True) as connection:
        accounts.create_user(connection, name, ACTOR, now(), is_admin=admin)
    print_result({"user": name, "is_admin": admin}, f"created user {name}", as_json=as_json)


@command.command("list")
@data_option
@json_option
def list_(data: Path, as_json: bool) -> None:
    """List the accounts."""
    with ledger_of(data) as connection:
        rows = accounts.list_users(connection)
    print_result({"users": rows}, "\n".join(str(row["name"]) for row in rows), as_json=as_json)
