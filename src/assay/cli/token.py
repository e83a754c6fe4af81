"""``assay token``: API tokens."""

import click

from assay.cli.administering import Desk, administers
from assay.cli.output import print_result


@click.group()
def command() -> None:
    """Create, list and revoke API tokens."""


@command.command()
@click.argument("user")
@click.option(
    "--project", "projects", multiple=True, help="Limit it to a project (repeatable).  [default: all of USER's]"
)
@click.option(
    "--action",
    "actions",
    multiple=True,
    type=click.Choice(["upload", "read", "admin"]),
    default=["upload"],
    show_default=True,
    help="admin: of an administrator everything, of an owner what owners may do to their projects.",
)
@click.option("--expires", type=float, metavar="DAYS", default=365, show_default=True)
@click.option("--description", default="")
@administers
def create(
    user: str,
    projects: tuple[str, ...],
    actions: tuple[str, ...],
    expires: float,
    description: str,
    desk: Desk,
    as_json: bool,
) -> None:
    """Create a token of USER. It is shown once."""
    result = desk.perform(
        "token.create",
        user=user,
        projects=list(projects),
        actions=list(actions),
        days=expires,
        description=description,
    )
    print_result(result, result["token"], as_json=as_json)


@command.command("list")
@administers
def list_(desk: Desk, as_json: bool) -> None:
    """List tokens without their secrets."""
    result = desk.perform("token.list")
    lines = [
        f"{row['id']}  {row['user']}  {','.join(row['actions'])}  {','.join(row['projects'] or ['all projects'])}"
        f"{'  revoked' if row['revoked'] else ''}"
        for row in result["tokens"]
    ]
    print_result(result, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("token_id")
@administers
def revoke(token_id: str, desk: Desk, as_json: bool) -> None:
    """Make the token TOKEN_ID useless from now on."""
    print_result(desk.perform("token.revoke", id=token_id), f"revoked {token_id}", as_json=as_json)
