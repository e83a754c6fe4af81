"""``assay takedown``: a sealed file that must never be installed again."""

import os
from pathlib import Path

import click

from assay.cli.desk import data_option, now
from assay.cli.seal import folder_argument, key_option
from assay.index.config import DataFolder
from assay.index.handover import hand_over
from assay.index.takedown import plan_takedown
from assay.keys.offline_draft import OfflineDraft
from assay.keys.passphrase import secrets_from_environment
from assay.keys.takedown import KIND, read_takedown
from assay.trust.layout import Lifetimes


@click.group()
def command() -> None:
    """Take files down for every client, stock ones too: plan on the index, sign offline, publish on the index."""


@command.command()
@folder_argument
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@data_option
def plan(folder: Path, paths: tuple[str, ...], data: Path) -> None:
    """On the index: draft the takedown of PATH..., each packages/<project>/<version>/<filename>."""
    for path in plan_takedown(DataFolder(data.resolve()), folder, paths, now()):
        click.echo(f"would be taken down: {path}")
    click.echo(f"next, offline, by each holder of targets: assay takedown sign {folder} --key FILE")


@command.command()
@folder_argument
@key_option
def sign(folder: Path, key: str) -> None:
    """Offline: add a holder's signature."""
    draft = OfflineDraft(folder)
    click.echo(f"the draft starts from the root sha256:{draft.root_fingerprint()}; compare it with the one you know")
    takedown = read_takedown(draft, now(), Lifetimes())
    for path in takedown.paths:
        click.echo(f"takes down: {path}")
    keyid = draft.sign(key, secrets_from_environment(os.environ, key), takedown.bodies)
    missing = draft.missing_signatures()
    state = "complete: assay takedown publish" if not missing else f"{missing} more holders must sign"
    click.echo(f"signed by {keyid[:16]}; {state}")


@command.command()
@folder_argument
@data_option
def publish(folder: Path, data: Path) -> None:
    """On the index: hand the signed draft to the signer."""
    draft = OfflineDraft(folder)
    draft.plan(KIND)
    hand_over(draft, DataFolder(data.resolve()), now())
    click.echo("the takedown is in the inbox; the signer publishes it within seconds")
