"""``assay seal``: make what was published unchangeable, for ever, for every client."""

import os
from pathlib import Path

import click

from assay.cli.desk import data_option, now
from assay.cli.output import json_option, print_result
from assay.cli.progress import told_progress
from assay.index.config import DataFolder
from assay.index.handover import hand_over
from assay.index.sealing import plan_sealing
from assay.keys.offline_draft import OfflineDraft
from assay.keys.passphrase import secrets_from_environment
from assay.keys.sealing import KIND, Sealed, read_seal, sign_seal
from assay.trust.layout import Lifetimes

folder_argument = click.argument("folder", metavar="DRAFT", type=click.Path(path_type=Path, file_okay=False))
key_option = click.option("--key", required=True, metavar="FILE|URI", help="The holder's key for the role targets.")


@click.group()
def command() -> None:
    """Seal what was published: plan on the index, sign offline, publish on the index.

    DRAFT is a folder that travels on a stick.
    """


@command.command()
@folder_argument
@data_option
@json_option
def plan(folder: Path, data: Path, as_json: bool) -> None:
    """On the index: write a draft of everything that was published since the last sealing."""
    planned = plan_sealing(DataFolder(data.resolve()), folder, now())
    result = {
        "seal": planned.seal,
        "files": planned.files,
        "projects": planned.projects,
        "closed_releases": planned.closed,
        "merged": planned.merged,
        "origins": dict(planned.origins),
    }
    origins = ", ".join(f"{count} from {origin}" for origin, count in sorted(planned.origins.items()))
    lines = [
        f"{planned.seal}: {planned.files} files of {planned.projects} projects ({origins})",
        f"{planned.closed} releases are closed and get a manifest",
        f"merges {', '.join(planned.merged)}" if planned.merged else "merges no older seal",
        f"next, on the offline machine: assay seal sign {folder} --key FILE",
    ]
    print_result(result, "\n".join(lines), as_json=as_json)


@command.command()
@folder_argument
@key_option
def sign(folder: Path, key: str) -> None:
    """Offline: sign the seal with a key that is made for it and then destroyed; add the first holder's signature."""
    draft = _opened(folder)
    with told_progress("sealing") as progress:
        sealed = sign_seal(draft, now(), Lifetimes(), progress)
    click.echo(f"{sealed.seal}: {sealed.files} files in {sealed.roles} roles; its key is gone")
    _sign(draft, key, sealed)


@command.command()
@folder_argument
@key_option
def cosign(folder: Path, key: str) -> None:
    """Offline: work the seal out again, compare, and add another holder's signature."""
    draft = _opened(folder)
    with told_progress("comparing") as progress:
        sealed = read_seal(draft, now(), Lifetimes(), progress)
    click.echo(f"{sealed.seal}: {sealed.files} files in {sealed.roles} roles, as the draft lists them")
    _sign(draft, key, sealed)


@command.command()
@folder_argument
@data_option
def publish(folder: Path, data: Path) -> None:
    """On the index: hand the signed draft to the signer, which checks and publishes it."""
    draft = OfflineDraft(folder)
    draft.plan(KIND)
    count = hand_over(draft, DataFolder(data.resolve()), now())
    click.echo(f"{count} signed roles are in the inbox; the signer publishes them within seconds")


def _opened(folder: Path) -> OfflineDraft:
    draft = OfflineDraft(folder)
    click.echo(f"the draft starts from the root sha256:{draft.root_fingerprint()}; compare it with the one you know")
    return draft


def _sign(draft: OfflineDraft, key: str, sealed: Sealed) -> None:
    if len(sealed.bodies) > 1:
        click.echo(f"renews the settled claims as they are, in {len(sealed.bodies) - 1} roles")
    keyid = draft.sign(key, secrets_from_environment(os.environ, key), sealed.bodies)
    missing = draft.missing_signatures()
    state = "complete: assay seal publish" if not missing else f"{missing} more holders must sign: assay seal cosign"
    click.echo(f"signed by {keyid[:16]}; {state}")
