"""A policy that what is installed here would pass: proposed from the signed pages of its projects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from assay.client.trusted_index import TrustedIndex
from assay.formats.pages import ProjectPage
from assay.model.names import parse_project_name
from assay.provenance.publishers import describe_publisher, parse_publisher

COOLDOWN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy file's text. ``unknown``: installed projects that the index does not have."""

    text: str
    unknown: tuple[str, ...]


async def propose_policy(index: TrustedIndex, projects: Sequence[str], now: datetime) -> Proposal:
    """A policy for ``projects``: a cooldown, our own projects from this index only, and whoever signs each today."""
    pages: list[ProjectPage] = []
    unknown = []
    for project in sorted(set(projects)):
        found = await index.page(parse_project_name(project))
        if found is None:
            unknown.append(project)
        else:
            pages.append(found.page)
    own = [page.project for page in pages if page.origin == "upload"]
    lines = [
        "# Proposed by `assay policy init` from what is installed here; docs/policy.md tells what else there is.",
        'mode = "enforce"',
        f"cooldown_days = {COOLDOWN_DAYS}  # others find out first",
        *([f"except = {_text(own)}  # ours"] if own else []),
        "allow_hosts = []",
    ]
    if own:
        lines += ["", "[[rules]]  # ours come from here and from nowhere else", f"projects = {_text(own)}"]
        lines.append(f"index = {_text(index.url)}")
    for page in pages:
        lines += _signers(page, now)
    return Proposal("\n".join(lines) + "\n", tuple(unknown))


def _signers(page: ProjectPage, now: datetime) -> Iterator[str]:
    """The rules that say who signs ``page`` now; none where nobody must."""
    certificates = [each.fingerprint for each in page.signers.certificates if each.term.holds(now)]
    publishers = [each for each in page.signers.publishers if each.term.holds(now) and each.root is None]
    demanded = page.signers.demand_signature(now), page.signers.demand_attestation(now)
    foretold = page.signers.foretell_attestation(now)
    if certificates and demanded[0]:
        yield from ("", "[[rules]]", f"projects = {_text([page.project])}", f"signed_by = {_text(certificates)}")
    if publishers and (demanded[1] or foretold):
        names = ", ".join(describe_publisher(parse_publisher(dict(each.members))) for each in publishers)
        rows = ", ".join(_table(dict(each.members)) for each in publishers)
        yield from ("", f"[[rules]]  # {names}", f"projects = {_text([page.project])}", f"published_by = [{rows}]")


def _table(members: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{name} = {_text(value)}" for name, value in members.items()) + " }"


def _text(value: object) -> str:
    """JSON's strings and lists of strings are TOML's."""
    return orjson.dumps(value).decode().replace('","', '", "')
