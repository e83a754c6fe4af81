"""From the ceremony to the index and to the file: publish, audit, reminders."""

from pathlib import Path

import click

from assay import durable
from assay.cli.ceremony.options import PATH, around, current_option, describe_points, read_current, stick_option
from assay.cli.output import json_option, print_result
from assay.keys.ceremony import assembling
from assay.keys.ceremony.audit import audit as audit_stick
from assay.keys.ceremony.bulletin import bulletin_of, render_announcement, render_bulletin
from assay.keys.ceremony.current import settled_end
from assay.keys.ceremony.publishing import publish_offline
from assay.keys.ceremony.report import render_html, render_text
from assay.keys.ceremony.stick import Stick
from assay.keys.expiry import reminders as due_reminders
from assay.keys.expiry import render_calendar
from assay.model.errors import CallerError
from assay.trust.layout import OFFLINE_ROLES, ROOT, Lifetimes


@click.command()
@stick_option
@click.option("--data", type=PATH, required=True, help="The index's data folder.")
@click.option("--bulletin", type=PATH, help="For a re-root: write the bulletin here (.json beside a .txt).")
@click.pass_context
def publish(ctx: click.Context, stick: Path, data: Path, bulletin: Path | None) -> None:
    """Hand the result to the index. Only what verifies is handed over."""
    here = around(ctx)
    bundle = assembling.verify(Stick.open(stick), here.now)
    if bundle.plan.replaces is not None:
        if bulletin is None:
            raise CallerError("a new identity needs its bulletin: say --bulletin")
        told = bulletin_of(bundle, here.now)
        durable.write_file(bulletin.absolute().with_suffix(".json"), render_bulletin(told))
        durable.write_file(bulletin.absolute().with_suffix(".txt"), render_announcement(told).encode())
    handover = publish_offline(bundle, data.absolute())
    click.echo("\n".join(handover.files))
    if handover.waits:
        click.echo("the signer takes them with its next publication")
    if ROOT in bundle.files:
        click.echo(f"root sha256:{bundle.root_sha256}")


@click.command()
@stick_option
@click.option("--html", type=PATH, help="Write the report as an HTML page.")
@click.option("--text", "text_file", type=PATH, help="Write the report as text.")
@json_option
@click.pass_context
def audit(ctx: click.Context, stick: Path, html: Path | None, text_file: Path | None, as_json: bool) -> None:
    """Check the transcript and everything that it speaks of; any edited line is found."""
    found = audit_stick(Stick.open(stick))
    now = around(ctx).now
    if html is not None:
        durable.write_file(html.absolute(), render_html(found, now).encode())
    if text_file is not None:
        durable.write_file(text_file.absolute(), render_text(found, now).encode())
    result = {
        "entries": len(found.entries),
        "complete": found.complete,
        "open_points": list(found.open_points),
        "sealed_up_to": dict(found.sealed_up_to),
        "last_entry_sha256": found.entries[-1].sha256,
    }
    lines = [f"the transcript holds: {len(found.entries)} entries, the last is sha256:{found.entries[-1].sha256}"]
    lines += [f"{name}'s seal covers entries 1 to {number}" for name, number in found.sealed_up_to.items()]
    print_result(result, "\n".join([*lines, describe_points(found.open_points)]), as_json=as_json)


@click.command()
@click.option("--index", default="this index", show_default=True, help="The index's name, for the calendar.")
@current_option
@click.option("--calendar", type=PATH, help="Write an iCalendar file with alarms.")
@json_option
@click.pass_context
def reminders(ctx: click.Context, index: str, current: Path | None, calendar: Path | None, as_json: bool) -> None:
    """Say which offline signatures end soon: at 90, 30 and 7 days."""
    if current is None:
        raise CallerError("say --current: the metadata that counts now")
    found = read_current(current)
    lives = Lifetimes()
    expiries = {role: found.role(role).expires for role in OFFLINE_ROLES} | settled_end(current)
    lifetimes = {"root": lives.root, "targets": lives.targets, "bins": lives.bins, "claimed": lives.claimed}
    now = around(ctx).now
    due = due_reminders(expiries, lifetimes, now)
    if calendar is not None:
        durable.write_file(calendar.absolute(), render_calendar(index, expiries, lifetimes, now))
    result = {"due": [{"role": one.role, "expires": one.expires, "days_left": one.days_left} for one in due]}
    print_result(result, "\n".join(map(str, due)) or "nothing is due", as_json=as_json)
