"""``assay explain PROJECT[==VERSION] [FILENAME]``: the chain of trust in words."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import click

from assay.cli.chosen import known_index
from assay.cli.output import json_option, print_result
from assay.client.catalogue import find_entry
from assay.client.explain import Explanation, explain_release, tell
from assay.client.last_run import read_last_run, tell_last_run
from assay.client.registry import opened
from assay.model.names import parse_project_name


@click.command()
@click.argument("release", metavar="PROJECT[==VERSION]", required=False)
@click.argument("filename", required=False)
@click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
@click.option("--last", is_flag=True, help="Explain what the last `assay run` refused; no index is asked.")
@click.option("--rule", metavar="RULE", help="Explain a rule that something was refused by; no index is asked.")
@json_option
def command(
    release: str | None, filename: str | None, url: str | None, last: bool, rule: str | None, as_json: bool
) -> None:
    """Tell who vouches for a release's files, since when, and with which authority.

    \b
    assay explain requests
    assay explain requests==2.32.0 requests-2.32.0.tar.gz --json
    assay explain --last
    assay explain --rule target-hash
    """
    if rule is not None:
        entry = find_entry(rule)
        print_result(asdict(entry), entry.tell(), as_json=as_json)
        return
    if last:
        document = read_last_run()
        print_result(document, tell_last_run(document), as_json=as_json)
        return
    if release is None:
        raise click.UsageError("name a project, or give --last or --rule")
    name, _, version = release.partition("==")
    explanations = asyncio.run(_explain(name, version or None, filename, url))
    print_result({"files": [asdict(e) for e in explanations]}, "\n".join(map(tell, explanations)), as_json=as_json)


async def _explain(name: str, version: str | None, filename: str | None, url: str | None) -> Sequence[Explanation]:
    async with opened(await known_index(url)) as index:
        await index.refresh()
        return await explain_release(index, parse_project_name(name), version, filename)
