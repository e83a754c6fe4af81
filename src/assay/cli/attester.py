"""``assay attester``: the publishers whose PEP 740 attestations a project's files are expected to have."""

from pathlib import Path

import click

from assay.cli.desk import ACTOR, data_option, ledger_of, now, settle
from assay.cli.output import json_option, print_result
from assay.index.config import DataFolder
from assay.index.provenance.approvals import Approvals
from assay.index.provenance.changes import AddPublisher, EndPublisher, SignerChange
from assay.index.provenance.offices import SignersOffice
from assay.index.provenance.registry import describe_members, publisher_members
from assay.index.published import PublishedStore
from assay.model.errors import CallerError, NotFound
from assay.model.names import ProjectName, parse_project_name
from assay.model.signers import PublisherMembers, RegisteredPublisher


@click.group()
def command() -> None:
    """Register the publishers that attest a project's files; every client gets the list, signed, and checks."""


@command.command()
@click.argument("project")
@click.option("--github", metavar="OWNER/REPOSITORY")
@click.option("--gitlab", metavar="GROUP/PROJECT")
@click.option("--google", metavar="EMAIL")
@click.option("--oidc", nargs=2, metavar="ISSUER SUBJECT", help="Any identity of any issuer.")
@click.option("--workflow", help="GitHub: the file in .github/workflows. GitLab: the file's path.")
@click.option("--server", metavar="URL", help="A forge of one's own.")
@click.option("--issuer", metavar="URL", help="GitHub Enterprise: who issues identity tokens.")
@click.option("--owner-id", help="Immutable; protects against whoever takes over a deleted name.")
@click.option("--repository-id")
@click.option("--ref", help="The branch or tag that it runs on: refs/heads/main, or refs/tags/*.")
@click.option("--environment", help="Shown; it stands in no certificate.")
@click.option("--trust-root", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A trusted_root.json.")
@click.option("--optional", is_flag=True, help="Accept uploads without attestations, too.")
@data_option
@json_option
def add(  # one option each
    project: str,
    github: str | None,
    gitlab: str | None,
    google: str | None,
    oidc: tuple[str, str] | None,
    trust_root: Path | None,
    optional: bool,
    data: Path,
    as_json: bool,
    **details: str | None,
) -> None:
    """Expect the files of PROJECT to be attested by a publisher: exactly one of the first four options.

    Attestations verify with Sigstore's production root, or with the root of --trust-root.
    """
    members = publisher_members(_values(github, gitlab, google, oidc, details))
    root = trust_root.read_bytes() if trust_root else None
    _change(AddPublisher(parse_project_name(project), members, root, optional), members, data, as_json=as_json)


@command.command()
@click.argument("project")
@click.argument("number", type=int)
@click.option("--distrust", is_flag=True, help="Refuse what it attested before, too.")
@data_option
@json_option
def end(project: str, number: int, distrust: bool, data: Path, as_json: bool) -> None:
    """Expect no more attestations by the publisher that 'list' shows as NUMBER; what it attested until now counts."""
    name = parse_project_name(project)
    publishers = _office(data).signers(name).publishers
    if not 1 <= number <= len(publishers):
        raise NotFound("no such publisher", subject=f"{name} {number}", expected=f"1 to {len(publishers)}")
    members = publishers[number - 1].members
    _change(EndPublisher(name, members, distrust), members, data, as_json=as_json)


@command.command("list")
@click.argument("project")
@data_option
@json_option
def list_(project: str, data: Path, as_json: bool) -> None:
    """List every publisher that PROJECT ever had, as published."""
    name = parse_project_name(project)
    rows = [
        {
            "number": number,
            "publisher": dict(each.members),
            "state": _state(each),
            "since": each.term.since,
            "until": each.term.until,
            "trust_root": each.root or "sigstore production",
        }
        for number, each in enumerate(_office(data).signers(name).publishers, 1)
    ]
    lines = [
        f"{number}  {_state(each)}  {describe_members(each.members)}"
        for number, each in enumerate(_office(data).signers(name).publishers, 1)
    ]
    print_result({"project": name, "publishers": rows}, "\n".join(lines), as_json=as_json)


def _values(
    github: str | None,
    gitlab: str | None,
    google: str | None,
    oidc: tuple[str, str] | None,
    details: dict[str, str | None],
) -> dict[str, object]:
    """The publisher's members as ``parse_publisher`` reads them."""
    if sum(value is not None for value in (github, gitlab, google, oidc)) != 1:
        raise CallerError("say who attests: exactly one of --github, --gitlab, --google, --oidc", rule="publisher")
    workflow = details.pop("workflow")
    known: dict[str, object]
    if github is not None:
        known = {"kind": "GitHub", "repository": github, "workflow": workflow}
    elif gitlab is not None:
        known = {"kind": "GitLab", "repository": gitlab, "workflow_filepath": workflow}
    elif google is not None:
        known = {"kind": "Google", "email": google}
    else:
        issuer, subject = oidc or ("", "")
        known = {"kind": "OIDC", "issuer": issuer, "subject": subject}
    return {**details, **known} if oidc is None else known


def _state(each: RegisteredPublisher) -> str:
    if each.term.distrusted:
        return "distrusted"
    if each.term.until is not None:
        return f"ended {each.term.until:%Y-%m-%d}"
    if each.first_seen:
        return "first seen"
    return "optional" if each.term.optional else "required"


def _change(change: SignerChange, members: PublisherMembers, data: Path, *, as_json: bool) -> None:
    with ledger_of(data, write=True) as connection:
        seq = _office(data).propose(connection, change, ACTOR, now())
    state, project = settle(data, [seq]), ProjectName(change.project)
    result = {"project": project, "publisher": dict(members), "state": state}
    print_result(result, f"{project}: {describe_members(members)}: {state}", as_json=as_json)


def _office(data: Path) -> SignersOffice:
    folder = DataFolder(data.resolve())
    return SignersOffice(PublishedStore(folder.published), Approvals(folder.inbox))
