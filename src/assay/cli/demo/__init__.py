"""``assay demo``: the whole story in a minute on loopback, ending in attacks that fail.

Everything lies in one temporary folder and every process is ended, however the demo ends; ``--keep`` leaves the first
index running. Results are measured by the real programs: ``assay``, twine, pip, uv, python-tuf.
"""

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from assay.cli.demo.minutes import Minutes
from assay.cli.demo.play import play
from assay.cli.demo.programs import Programs
from assay.cli.demo.served import ServedIndex
from assay.cli.output import json_option, print_result

WIDTH = 130
"""Characters of a line where there is no terminal."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave the index running, and say how to use and stop it.")
@json_option
def command(keep: bool, as_json: bool) -> None:
    """Tell the whole story: publish with twine, install with pip and uv, then attack the index. Needs no network."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    programs = Programs.find()
    console = Console(stderr=as_json, highlight=False)
    minutes = Minutes(console if console.is_terminal else Console(stderr=as_json, highlight=False, width=WIDTH))
    folder = Path(tempfile.mkdtemp(prefix="assay-demo-"))
    folder.chmod(0o755)
    kept: ServedIndex | None = None
    try:
        kept = play(folder, programs, minutes, keep=keep)
        print_result(minutes.result(), _farewell(minutes, folder, kept), as_json=as_json)
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if minutes.failed else 0)


def _farewell(minutes: Minutes, folder: Path, kept: ServedIndex | None) -> str:
    if kept is None:
        return minutes.summary()
    return (
        f"the index still runs at {kept.url}\n"
        f"  token    {kept.admin_token}\n"
        f"  trust    assay trust add {kept.url} --fingerprint {kept.fingerprint}\n"
        f"  stop     kill {kept.process.pid}; rm -r {folder}\n"
        f"{minutes.summary()}"
    )
