"""What the verbs of ``assay ceremony`` share: their options, this machine as it is now, and how a case is told."""

from datetime import datetime
from pathlib import Path

import click
from platformdirs import user_data_path
from tuf.api.metadata import Root

from assay.keys.ceremony import signing
from assay.keys.ceremony.current import FOLDER as CURRENT
from assay.keys.ceremony.current import Current, find_current, parse_current
from assay.keys.ceremony.differences import describe_changes
from assay.keys.ceremony.plan import Plan, StartingPoint
from assay.keys.ceremony.surroundings import Surroundings, read_surroundings
from assay.keys.ceremony.words import fingerprint_words, render_words
from assay.model.digests import sha256_of
from assay.trust.envelope import parse_envelope
from assay.trust.layout import ROOT

PATH = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)

stick_option = click.option("--stick", type=PATH, required=True, envvar="ASSAY_CEREMONY_STICK", help="The stick.")
home_option = click.option(
    "--home",
    type=PATH,
    envvar="ASSAY_CEREMONY_HOME",
    default=lambda: user_data_path("assay") / "ceremony",
    show_default="your data folder",
    help="Your own folder: keys, and what you saw and signed.",
)
network_option = click.option(
    "--allow-network", metavar="REASON", help="This machine has a network; the reason goes into the transcript."
)
current_option = click.option(
    "--current", type=FOLDER, help="The metadata that counts now: the index's published/tuf, or a copy of it."
)


def around(ctx: click.Context) -> Surroundings:
    """This machine now; a program that embeds these verbs may give its own as the context's object."""
    return ctx.find_object(Surroundings) or read_surroundings()


def split_names(names: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def read_current(folder: Path) -> Current:
    """The newest metadata of a folder; its root is taken as it is, for a draft that people review."""
    files = find_current(folder)
    data = files[f"{CURRENT}{ROOT}.json"]
    start = StartingPoint(parse_envelope(data, Root, ROOT).signed.version, sha256_of(data))
    return parse_current(files, start)


def describe_plan(plan: Plan) -> str:
    """The plan's head: for which index, its digest, when, what."""
    kind = "REHEARSAL" if plan.rehearsal else "ceremony"
    return (
        f"{kind} for {plan.index}: {plan.purpose}\nplan sha256:{plan.sha256}\n"
        f"open from {plan.opens:%Y-%m-%d %H:%M} to {plan.closes:%Y-%m-%d %H:%M} UTC; "
        f"signs {', '.join(plan.sign)}; {len(plan.enrol)} new keys"
    )


def describe_case(case: signing.Case, now: datetime) -> str:
    """What is to be signed, and the words of its fingerprint."""
    lines = [*describe_changes(case, now), "", "The fingerprint, as words to be read aloud:"]
    return "\n".join([*lines, render_words(fingerprint_words(case.fingerprint)), f"sha256:{case.fingerprint}"])


def describe_points(points: tuple[str, ...]) -> str:
    """What an audit left open."""
    return "open: " + "; ".join(points) if points else "nothing is open"
