"""``assay publisher``: trusted publishing, that is uploads by a CI that proves who it is, without a stored token."""

import click

from assay.cli.administering import Desk, administers
from assay.cli.output import print_result
from assay.model.errors import CallerError


@click.group()
def command() -> None:
    """Say which CI may upload to which project (trusted publishing)."""


@command.command()
@click.argument("project")
@click.argument("kind", type=click.Choice(["GitHub", "GitLab", "Google", "OIDC"], case_sensitive=False))
@click.option("--repository", help="GitHub, GitLab: OWNER/NAME.")
@click.option("--workflow", help="GitHub: its filename below .github/workflows.")
@click.option("--workflow-filepath", help="GitLab: the pipeline's file.  [default: .gitlab-ci.yml]")
@click.option("--environment", help="GitHub, GitLab: only runs in this environment.")
@click.option("--owner-id", help="GitHub, GitLab: the owner's number, so that a reused name does not count.")
@click.option("--repository-id", help="GitHub, GitLab: the repository's number.")
@click.option("--server", help="GitHub, GitLab: a server of one's own.")
@click.option("--issuer", help="OIDC, or a GitHub of one's own: who signs the identity tokens.")
@click.option("--email", help="Google: the service account.")
@click.option("--subject", help="OIDC: the token's subject.  [default: any, if there is a --claim]")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="Must be in the token, too (repeatable).")
@click.option("--owner", metavar="USER", help="Who will own PROJECT, if its first upload makes it.")
@administers
def add(
    project: str,
    kind: str,
    email: str | None,
    issuer: str | None,
    subject: str | None,
    claims: tuple[str, ...],
    owner: str | None,
    desk: Desk,
    as_json: bool,
    **members: str | None,
) -> None:
    """Let a CI upload to PROJECT."""
    given = {"kind": kind, "email": email, "issuer": issuer, "subject": subject, **members}
    publisher = {name: value for name, value in given.items() if value is not None}
    result = desk.perform(
        "publisher.add", project=project, publisher=publisher, claims=dict(map(_claim, claims)), owner=owner
    )
    waiting = "; its first upload makes the project" if result["pending"] else ""
    print_result(result, f"{result['id']}  {result['project']}  {result['publisher']}{waiting}", as_json=as_json)


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CallerError("not a claim", found=text, expected="NAME=VALUE")
    return name, value


@command.command("list")
@administers
def list_(desk: Desk, as_json: bool) -> None:
    """List the publishers in force."""
    result = desk.perform("publisher.list")
    lines = [
        f"{row['id']}  {row['project']}  {row['publisher']}{'  pending' if row['pending'] else ''}"
        for row in result["publishers"]
    ]
    print_result(result, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("publisher_id", type=int)
@administers
def remove(publisher_id: int, desk: Desk, as_json: bool) -> None:
    """Take the right of the publisher PUBLISHER_ID away, and of every token it was given."""
    print_result(desk.perform("publisher.remove", id=publisher_id), f"removed {publisher_id}", as_json=as_json)
