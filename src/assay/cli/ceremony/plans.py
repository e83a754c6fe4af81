"""The plan: drafted, checked and begun, practised."""

from pathlib import Path

import click

from assay import durable
from assay.cli.ceremony.options import (
    FILE,
    PATH,
    around,
    current_option,
    describe_plan,
    describe_points,
    read_current,
    split_names,
    stick_option,
)
from assay.keys.ceremony import drafting, steps
from assay.keys.ceremony.current import find_current
from assay.keys.ceremony.plan import MAX_PLAN_BYTES, parse_plan
from assay.keys.ceremony.rehearsal import rehearse as hold_rehearsal
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings
from assay.model.errors import CallerError


@click.command()
@click.argument("plan_file", type=PATH)
@click.option("--index", required=True, help="The index's name, as people know it.")
@click.option("--holders", help="Names of the holders, with commas. For a first ceremony.")
@click.option("--threshold", type=click.IntRange(1), help="How many holders must sign. For a first ceremony.")
@click.option("--observers", default="", help="Names of those who countersign, with commas.")
@click.option("--bin-bits", type=click.IntRange(1, 14), default=8, show_default=True, help="2**BITS bins.")
@click.option("--rehearsal", is_flag=True, help="For practice: production refuses it.")
@click.option("--new-key", "changing", multiple=True, metavar="NAME", help="NAME gets a new key. Repeatable.")
@current_option
@click.pass_context
def draft(
    ctx: click.Context,
    plan_file: Path,
    index: str,
    holders: str | None,
    threshold: int | None,
    observers: str,
    bin_bits: int,
    rehearsal: bool,
    changing: tuple[str, ...],
    current: Path | None,
) -> None:
    """Write a first draft of a plan to PLANFILE, to be edited and reviewed."""
    watchers = split_names(observers)
    if current is not None:
        made = drafting.draft_next(index, read_current(current), watchers, changing, None)
    elif holders and threshold:
        made = drafting.draft_first(
            index, split_names(holders), threshold, watchers, bin_bits=bin_bits, rehearsal=rehearsal
        )
    else:
        raise CallerError("say --holders and --threshold for a first ceremony, or --current for a later one")
    _write_plan(plan_file, made, around(ctx))


@click.command("re-root")
@click.argument("plan_file", type=PATH)
@click.option("--index", required=True, help="The index's name, as people know it.")
@click.option("--reason", required=True, help="Why: it is published.")
@click.option("--observers", default="", help="Names of those who countersign, with commas.")
@current_option
@click.pass_context
def re_root(ctx: click.Context, plan_file: Path, index: str, reason: str, observers: str, current: Path | None) -> None:
    """Write a draft for a NEW IDENTITY, when a threshold of the root's keys is lost or stolen.

    The old root cannot vouch for the new one: no client follows by itself. 'publish' writes the bulletin that tells
    people, and each client is moved by hand with 'assay trust replace'.
    """
    if current is None:
        raise CallerError("say --current: the metadata that the new identity replaces")
    made = drafting.draft_next(index, read_current(current), split_names(observers), (), reason)
    _write_plan(plan_file, made, around(ctx))


@click.command()
@click.argument("plan_file", type=FILE)
@stick_option
@current_option
@click.pass_context
def plan(ctx: click.Context, plan_file: Path, stick: Path, current: Path | None) -> None:
    """Check PLANFILE and begin the ceremony on an empty stick."""
    data = _read_plan_file(plan_file)
    parse_plan(data)
    found = find_current(current) if current else {}
    begun = steps.begin(Stick.create(stick), data, found, around(ctx))
    click.echo(describe_plan(begun))


@click.command()
@click.argument("plan_file", type=FILE)
@click.option("--into", type=PATH, required=True, help="A new folder for the rehearsal's homes, stick and data.")
@click.pass_context
def rehearse(ctx: click.Context, plan_file: Path, into: Path) -> None:
    """Practise PLANFILE on this machine alone: software keys, every step, all of it worthless afterwards."""
    found = hold_rehearsal(parse_plan(_read_plan_file(plan_file)), into, around(ctx), click.echo)
    click.echo(f"the rehearsal holds together: {len(found.entries)} entries; {describe_points(found.open_points)}")


def _read_plan_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_PLAN_BYTES + 1)


def _write_plan(path: Path, made: drafting.Draft, here: Surroundings) -> None:
    if path.exists():
        raise CallerError("the file exists; a plan is not overwritten", subject=str(path))
    text = drafting.render_draft(made, here.now).encode()
    parse_plan(text)
    durable.write_file(path.absolute(), text)
    click.echo(f"wrote {path}: edit it, have it reviewed, then: assay ceremony plan {path}")
