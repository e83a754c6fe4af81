"""What the office does with the stick: see how far it is, build, take copies home, merge, verify."""

from pathlib import Path

import click

from assay.cli.ceremony.options import FOLDER, around, describe_case, describe_plan, stick_option
from assay.cli.output import json_option, print_result
from assay.keys.ceremony import assembling, collecting, signing, steps
from assay.keys.ceremony.enrolment import read_enrolments
from assay.keys.ceremony.report import describe_progress
from assay.keys.ceremony.stick import Stick


@click.command()
@stick_option
@click.pass_context
def build(ctx: click.Context, stick: Path) -> None:
    """Make what will be signed, once everybody has enrolled."""
    case = steps.build_payloads(Stick.open(stick), around(ctx))
    click.echo(describe_case(case, around(ctx).now))


@click.command()
@stick_option
@click.argument("copy", type=FOLDER)
@click.pass_context
def collect(ctx: click.Context, stick: Path, copy: Path) -> None:
    """Take home what was enrolled and signed on COPY, a copy of the stick that was in another room."""
    branch = collecting.collect(Stick.open(stick), Stick.open(copy), around(ctx))
    click.echo(f"{len(branch.entries)} steps of the copy, after entry {branch.forked_after.number}")


@click.command()
@stick_option
@click.pass_context
def merge(ctx: click.Context, stick: Path) -> None:
    """Put the signatures together; while some are lacking, say whose."""
    state = assembling.merge(Stick.open(stick), around(ctx))
    click.echo("\n".join(describe_progress(one) for one in state))


@click.command()
@stick_option
@json_option
@click.pass_context
def verify(ctx: click.Context, stick: Path, as_json: bool) -> None:
    """Check the result as a client will: by the new keys and by the previous root's."""
    bundle = assembling.verify(Stick.open(stick), around(ctx).now)
    result = {"versions": dict(bundle.versions), "root_sha256": bundle.root_sha256}
    lines = [f"{role} version {version} is signed by enough" for role, version in bundle.versions.items()]
    print_result(result, "\n".join([*lines, f"root sha256:{bundle.root_sha256}"]), as_json=as_json)


@click.command()
@stick_option
def status(stick: Path) -> None:
    """Say where the ceremony stands and what comes next."""
    opened = Stick.open(stick)
    found = signing.read_plan(opened)
    enrolled = read_enrolments(opened, found)
    click.echo(describe_plan(found))
    missing = [name for name in found.enrol if name not in enrolled]
    online = [name for name in missing if found.participants[name].part == "online"]
    people = [name for name in missing if name not in online]
    if people:
        click.echo(f"next: assay ceremony enroll, on the machines of {', '.join(people)}")
    if online:
        click.echo(f"next: assay key rotate-online, on the index's machine, for {', '.join(online)}")
    if missing:
        return
    if not opened.names(signing.PAYLOADS):
        click.echo("next: assay ceremony build")
        return
    state = assembling.progress(opened, signing.open_case(opened))
    click.echo("\n".join(describe_progress(one) for one in state))
    if opened.names(assembling.MERGED):
        click.echo("next: assay ceremony verify, publish, countersign, audit")
    elif all(one.complete for one in state):
        click.echo("next: assay ceremony merge")
    else:
        lack = dict.fromkeys(name for one in state if not one.complete for name in one.lack)
        click.echo(f"next: assay ceremony show, then sign, on the machines of enough of {', '.join(lack)}")
