"""``assay policy``: what may be installed, by whose word, and what a change of it takes away."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from assay import durable
from assay.cli.chosen import known_index
from assay.cli.credentials import read_token, token_option
from assay.cli.output import colours, json_option, print_result
from assay.cli.policing import Policed, books, chosen_policy, policed
from assay.client.audit.installed import find_environment, installed_in
from assay.client.policies import PROJECT, load_layer, project_folder
from assay.client.registry import Registry, opened, user_data
from assay.client.seen import SEEN_FILENAME, SeenBook, rewritten
from assay.formats.pages import PageFile, ProjectPage, version_of
from assay.model.distributions import parse_distribution
from assay.model.errors import AlreadyExists, CallerError, NotFound, RefusedByPolicy, VerificationFailed
from assay.model.names import parse_project_name
from assay.model.outcomes import EXIT_FINE, EXIT_POLICY
from assay.policy.compare import loosened, tell_rule
from assay.policy.judge import ended_exemptions, rules_for
from assay.policy.model import Facts, Layer, Policy
from assay.policy.parse import POLICY_FILENAME

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_index = click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")


@click.group()
def command() -> None:
    """What may be installed here: the project's policy, yours, and the organisation's (docs/policy.md).

    \b
    assay policy init                      propose one from what is installed
    assay policy check --base ../main      what would this pull request loosen?
    assay policy explain requests          which rules, and does each file pass?
    """


@command.command()
@click.argument("file", required=False, type=_FILE)
@click.option("--base", type=click.Path(path_type=Path, file_okay=False, exists=True), help="The folder as it was.")
@json_option
def check(file: Path | None, base: Path | None, as_json: bool) -> None:
    """Read the policy here (or FILE) and the record of first-seen publishers; say what no longer counts.

    With --base, say what they loosen compared with another checkout: exit code 12 where they do. No index is asked.

    \b
    assay policy check
    git worktree add ../main origin/main && assay policy check --base ../main
    """
    policy = Policy((load_layer(file, PROJECT),)) if file is not None else chosen_policy(None)
    findings = list(ended_exemptions(policy, datetime.now(UTC)))
    here = project_folder(Path.cwd())
    record = _record(here).read()
    if base is not None:
        findings += loosened(_layer_in(base), _layer_in(here) if file is None else policy.layers[0])
        findings += rewritten(_record(base).read(), record)
    result = {"layers": [_document(layer) for layer in policy.layers], "recorded": len(record), "findings": findings}
    lines = [click.style(finding, fg="yellow") for finding in findings]
    rules = sum(len(layer.rules) for layer in policy.layers)
    lines.append(f"{len(policy.layers)} policies, {rules} rules, {len(record)} projects recorded: {_count(findings)}")
    print_result(result, "\n".join(lines), as_json=as_json)
    sys.exit(EXIT_POLICY if findings else EXIT_FINE)


@command.command()
@click.argument("release", metavar="[PROJECT[==VERSION]]", required=False)
@_index
@json_option
def explain(release: str | None, url: str | None, as_json: bool) -> None:
    """Tell every rule that counts here, or those about PROJECT and what they make of each file of its newest version.

    \b
    assay policy explain
    assay policy explain requests==2.32.0 --json
    """
    name, _, version = (release or "").partition("==")
    result, text, refused = asyncio.run(_explain(name or None, version or None, url))
    print_result(result, text, as_json=as_json)
    sys.exit(EXIT_POLICY if refused else EXIT_FINE)


@command.command()
@click.option(
    "--python",
    type=click.Path(path_type=Path, exists=True),
    default=lambda: Path(sys.executable),
    show_default="the one that runs assay",
    help="An interpreter, or the folder of a virtual environment.",
)
@_index
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help=f"[default: {POLICY_FILENAME} here]")
@json_option
def init(python: Path, url: str | None, out: Path | None, as_json: bool) -> None:
    """Propose a policy that what is installed passes, and begin the record of who was seen first.

    \b
    assay policy init --python .venv
    """
    path = out or Path(POLICY_FILENAME)
    if path.exists():
        raise AlreadyExists("there is a policy here", subject=str(path), next_step="--out FILE, and compare")
    projects = [one.project for one in installed_in(find_environment(python)) if one.origin is None]
    text, unknown = asyncio.run(_propose(projects, url))
    durable.write_file(path, text.encode())
    for record in books(Path.cwd(), begin=True):
        record.add({})
    result = {"policy": str(path), "record": str(record.path), "projects": len(projects), "unknown": list(unknown)}
    lines = [f"wrote {path} and {record.path}: read them, change them, commit them"]
    lines += [f"not on the index, so nothing is proposed: {', '.join(unknown)}"] if unknown else []
    print_result(result, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("project")
@json_option
def accept(project: str, as_json: bool) -> None:
    """Accept that somebody else makes PROJECT now: forget who was seen first, here and in your own copy of the record.

    \b
    assay policy accept requests && git add assay-seen.json
    """
    name = parse_project_name(project)
    forgotten = [str(book.path) for book in books(Path.cwd()) if book.forget(name)]
    if not forgotten:
        raise NotFound("nobody was recorded for this project", subject=name)
    text = f"whoever makes {name} next is seen first; forgotten in {', '.join(forgotten)}"
    print_result({"project": name, "forgotten": forgotten}, text, as_json=as_json)


@command.command()
@click.argument("file", type=_FILE)
@_index
@token_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Only write the wheel, to be signed.")
@json_option
def publish(file: Path, url: str | None, token_file: Path | None, out: Path | None, as_json: bool) -> None:
    """Make FILE the organisation's policy: the next version of the project assay-policy on the index.

    Every client gets it with its next command. Claim the project (assay claim), and only your own keys can change it.

    \b
    assay policy publish policy.toml
    assay policy publish policy.toml --out dist && assay publish dist/assay_policy-*.whl
    """
    from assay.client.organisation_publish import publish_policy

    entry = Registry.of_user().find(url)
    token = read_token(token_file, entry.url) if out is None else None
    found = asyncio.run(publish_policy(entry, file, token, out))
    text = f"{'wrote' if out else 'published'} {found['file']}"
    text += "".join(f"\nloosened: {line}" for line in found["loosened"])
    print_result(found, text, as_json=as_json)


# --- explaining ------------------------------------------------------------------------------------------------


async def _explain(name: str | None, version: str | None, url: str | None) -> tuple[dict[str, Any], str, bool]:
    notices: list[str] = []
    async with policed(await known_index(url), chosen_policy(None), notices.append) as found:
        for notice in notices:
            click.secho(f"assay: {notice}", fg="yellow", err=True, color=colours(sys.stderr))
        if name is None:
            documents = [_document(layer) for layer in found.policy.layers]
            return {"layers": documents}, "\n".join(map(_tell_layer, found.policy.layers)) or "no policy", False
        return await _explain_project(found, name, version)


async def _explain_project(found: Policed, name: str, version: str | None) -> tuple[dict[str, Any], str, bool]:
    project = parse_project_name(name)
    now = datetime.now(UTC)
    rules = rules_for(found.policy, Facts(project, found.index.url, now))
    lines = [f"{layer.name:<13} {tell_rule(rule)}  ({rule.where})" for layer, rule in rules]
    result: dict[str, Any] = {"project": project, "rules": lines, "files": []}
    verdicts = [await _verdict(found, page, file) for page, file in await _files(found, name, version)]
    for filename, refusal, notices in verdicts:
        result["files"].append({"file": filename, "refused": refusal and str(refusal), "notices": notices})
        colour, word = ("red", "refused") if refusal else ("green", "passes")
        lines.append(click.style(f"{word:<13} {filename}", fg=colour) + (f": {refusal}" if refusal else ""))
        lines += [f"{'':<13} {notice}" for notice in notices]
    return result, "\n".join(lines), any(refusal for _, refusal, _ in verdicts)


async def _files(found: Policed, name: str, version: str | None) -> Sequence[tuple[ProjectPage, PageFile]]:
    project = parse_project_name(name)
    source = found.source(lambda _: None)
    page = await source.page(project)
    if page is None or not page.page.files:
        raise NotFound("the index has no such project", subject=name)
    wanted = version or version_of(project, page.page.files[-1])
    return [(page.page, file) for file in page.page.files if version_of(project, file) == wanted]


async def _verdict(
    found: Policed, page: ProjectPage, file: PageFile
) -> tuple[str, RefusedByPolicy | VerificationFailed | None, list[str]]:
    notices: list[str] = []
    try:
        await found.source(notices.append).file(parse_distribution(file.filename, page.project))
    except (RefusedByPolicy, VerificationFailed) as refusal:
        return file.filename, refusal, notices
    return file.filename, None, notices


# --- helpers of the other verbs --------------------------------------------------------------------------------


async def _propose(projects: Sequence[str], url: str | None) -> tuple[str, tuple[str, ...]]:
    from assay.client.proposing import propose_policy

    async with opened(await known_index(url)) as index:
        proposal = await propose_policy(index, projects, datetime.now(UTC))
    return proposal.text, proposal.unknown


def _record(folder: Path) -> SeenBook:
    return SeenBook(folder / SEEN_FILENAME, user_data() / "seen")


def _layer_in(folder: Path) -> Layer:
    """The policy of a checkout; one without any is empty."""
    path = folder / POLICY_FILENAME
    try:
        return load_layer(path, PROJECT) if path.exists() or path.is_symlink() else Layer(PROJECT, str(path))
    except CallerError as error:
        error.next_step = "compare two policies that can be read"
        raise


def _document(layer: Layer) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "source": layer.source,
        "rules": [{"kind": rule.kind, "rule": tell_rule(rule), "where": rule.where} for rule in layer.rules],
        "exemptions": [str(each) for each in layer.exemptions],
        "allow_hosts": layer.hosts,
        "repositories": [each.url for each in layer.repositories] if layer.repositories is not None else None,
    }


def _tell_layer(layer: Layer) -> str:
    lines = [click.style(f"{layer.name}'s policy, {layer.source}", bold=True)]
    lines += [f"  {tell_rule(rule)}" for rule in layer.rules]
    lines += [f"  exempt: {each}" for each in layer.exemptions]
    if layer.hosts is not None:
        lines.append(f"  unverified hosts: {', '.join(layer.hosts) or 'none'}")
    lines += [f"  repository: {each.url}{'' if each.pinned else ', any branch'}" for each in layer.repositories or ()]
    return "\n".join(lines)


def _count(findings: Sequence[str]) -> str:
    return "nothing to say" if not findings else f"{len(findings)} findings"
