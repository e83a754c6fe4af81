"""``assay publisher``: trusted publishing, that is uploads by a CI that proves who it is, without a stored token."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now
from assay.cli.output import json_option, print_result
from assay.index.config import DataFolder, load_config
from assay.index.ledger import publishers
from assay.model.errors import CallerError
from assay.model.names import parse_project_name
from assay.provenance.identity_tokens import ANY_SUBJECT, TrustedPublisher
from assay.provenance.publishers import parse_publisher


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
@data_option
@json_option
def add(
    project: str,
    kind: str,
    email: str | None,
    issuer: str | None,
    subject: str | None,
    claims: tuple[str, ...],
    owner: str | None,
    data: Path,
    as_json: bool,
    **members: str | None,
) -> None:
    """Let a CI upload to PROJECT."""
    given: dict[str, object] = {"kind": kind, "email": email, "issuer": issuer, "subject": subject, **members}
    if kind == "OIDC" and subject is None and claims:
        given["subject"] = ANY_SUBJECT
    trusted = TrustedPublisher(parse_publisher(given), tuple(sorted(map(_claim, claims))))
    accepted = load_config(DataFolder(data.resolve()).config_file).oidc.issuers
    if trusted.issuer not in accepted:
        raise CallerError(
            "this index does not accept identity tokens of this issuer",
            rule="unknown-issuer",
            found=trusted.issuer,
            expected=", ".join(accepted) or "none: trusted publishing is off",
            next_step="add it to issuers in the section [oidc] of config.toml and start the index again",
        )
    with ledger_of(data, write=True) as connection:
        made = publishers.register(connection, parse_project_name(project), trusted, owner, ACTOR, now())
    result = {"id": made.id, "project": made.project, "publisher": trusted.describe(), "pending": made.pending}
    waiting = "; its first upload makes the project" if made.pending else ""
    print_result(result, f"{made.id}  {made.project}  {trusted.describe()}{waiting}", as_json=as_json)


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CallerError("not a claim", found=text, expected="NAME=VALUE")
    return name, value


@command.command("list")
@data_option
@json_option
def list_(data: Path, as_json: bool) -> None:
    """List the publishers in force."""
    with ledger_of(data) as connection:
        found = publishers.in_force(connection)
    rows = [
        {"id": each.id, "project": each.project, "publisher": each.trusted.describe(), "pending": each.pending}
        for each in found
    ]
    lines = [
        f"{row['id']}  {row['project']}  {row['publisher']}{'  pending' if row['pending'] else ''}" for row in rows
    ]
    print_result({"publishers": rows}, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("publisher_id", type=int)
@data_option
def remove(publisher_id: int, data: Path) -> None:
    """Take the right of the publisher PUBLISHER_ID away, and of every token it was given."""
    with ledger_of(data, write=True) as connection:
        publishers.revoke(connection, publisher_id, ACTOR, now())
