"""``assay scrub``: is every blob still the bytes that its name says?"""

import signal
import sys
from dataclasses import asdict
from pathlib import Path

import click

from assay.cli.desk import data_folder, data_option, now
from assay.cli.output import json_option, print_result
from assay.index.upkeep.scrub import Pace, forget, scrub

MEGABYTE = 1_000_000


@click.command()
@click.option("--rate", type=click.FloatRange(min=0.001), default=50.0, show_default=True, help="Megabytes a second.")
@click.option("--restart", is_flag=True, help="Begin anew, not where the last one was interrupted.")
@data_option
@json_option
def command(rate: float, restart: bool, data: Path, as_json: bool) -> None:
    """Read every blob and page and hold it against the hash in its name. Changes nothing; may run while it serves.

    Interrupted, it goes on from there the next time. Ends with status 1 when something is bad.
    """
    folder = data_folder(data)
    if restart:
        forget(folder)
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda signum, _frame: stopped.append(signum))
    state = scrub(folder, now(), Pace(rate * MEGABYTE), lambda: bool(stopped))
    lines = [f"{state.files} files, {state.size} bytes since {state.started}"]
    lines += [click.style(f"bad: {name}", fg="red") for name in state.bad]
    if state.bad:
        lines.append("next: put each back from a backup or a mirror; clients refuse it meanwhile")
    lines += [] if state.finished else ["interrupted: run it again to go on"]
    print_result(asdict(state), "\n".join(lines), as_json=as_json)
    sys.exit(1 if state.bad else 0)
