"""``assay token``: API tokens."""

from datetime import timedelta
from pathlib import Path
from secrets import token_bytes

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now
from assay.cli.output import json_option, print_result
from assay.index.ledger import accounts
from assay.model.names import parse_project_name
from assay.model.permissions import Action, Scope


@click.group()
def command() -> None:
    """Create, list and revoke API tokens."""


@command.command()
@click.argument("user")
@click.option(
    "--project", "projects", multiple=True, help="Limit it to a project (repeatable).  [default: all of USER's]"
)
@click.option(
    "--action", "actions", multiple=True, type=click.Choice(["upload", "read"]), default=["upload"], show_default=True
)
@click.option("--expires", type=float, metavar="DAYS", default=365, show_default=True)
@click.option("--description", default="")
@data_option
@json_option
def create(
    user: str,
    projects: tuple[str, ...],
    actions: tuple[str, ...],
    expires: float,
    description: str,
    data: Path,
    as_json: bool,
) -> None:
    """Create a token of USER. It is shown once."""
    scope = Scope(
        frozenset(Action(action) for action in actions),
        frozenset(parse_project_name(name) for name in projects) if projects else None,
    )
    moment = now()
    with ledger_of(data, write=True) as connection:
        token = accounts.create_token(
            connection,
            user,
            scope,
            ACTOR,
            moment,
            entropy=token_bytes(32),
            description=description,
            expires=moment + timedelta(days=expires),
        )
    print_result({"id": token.id, "token": token.text}, token.text, as_json=as_json)


@command.command("list")
@data_option
@json_option
def list_(data: Path, as_json: bool) -> None:
    """List tokens without their secrets."""
    with ledger_of(data) as connection:
        rows = accounts.list_tokens(connection)
    lines = [
        f"{row['id']}  {row['user']}  {','.join(row['actions'])}  {','.join(row['projects'] or ['all projects'])}"
        f"{'  revoked' if row['revoked'] else ''}"
        for row in rows
    ]
    print_result({"tokens": rows}, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("token_id")
@data_option
def revoke(token_id: str, data: Path) -> None:
    """Make the token TOKEN_ID useless from now on."""
    with ledger_of(data, write=True) as connection:
        accounts.revoke_token(connection, token_id, ACTOR, now())
    click.echo(f"revoked {token_id}")
