"""``assay claim``: from now on only the project's own developers can publish for it."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from assay.cli.claiming import (
    cosign_roles,
    index_option,
    open_key,
    out_option,
    read_public,
    read_roles,
    require_named,
    write_roles,
)
from assay.cli.credentials import read_token, token_option
from assay.client.developer import ClaimWork, lacks_signatures, read_work, sign_work
from assay.client.registry import Registry, opened
from assay.client.sending import Uploader
from assay.keys.claiming import SettledClaims, read_claims
from assay.keys.offline_draft import OfflineDraft
from assay.keys.passphrase import secrets_from_environment
from assay.model.errors import AlreadyExists, CallerError, NotFound
from assay.model.names import ProjectName, parse_project_name
from assay.trust.claims import Claim
from assay.trust.layout import Lifetimes

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_FOLDER = click.Path(path_type=Path, file_okay=False)
draft_argument = click.argument("folder", metavar="DRAFT", type=_FOLDER)
data_option = click.option("--data", type=_FOLDER, default="assay-data", show_default=True)
key_option = click.option("--key", metavar="FILE|URI|new", help="Your key.  [default: the one made here]")


@click.group()
def command() -> None:
    """Claim a project: its developers' own keys sign its files, and the index's cannot.

    Developers: init, keys, cosign, send; then `assay publish`. The index's offline holders settle new claims, so that
    not even stolen online keys undo them: plan on the index, sign offline, publish on the index.
    """


@command.command()
@click.argument("name", metavar="PROJECT")
@key_option
@click.option("--add", "more", multiple=True, type=_FILE, metavar="FILE", help="Another developer's public key.")
@click.option("--threshold", type=int, default=1, show_default=True, help="How many must sign every publication.")
@click.option("--yes", is_flag=True, help="Do not ask whether the list of files is right.")
@index_option
@token_option
@out_option
def init(
    name: str,
    key: str | None,
    more: tuple[Path, ...],
    threshold: int,
    yes: bool,
    url: str | None,
    token_file: Path | None,
    out: Path | None,
) -> None:
    """Claim PROJECT. Your token must be an owner's.

    The first role signs every file that the index vouches for now and that is not sealed: read the list, and compare
    it with what you released.
    """
    project = parse_project_name(name)
    work = asyncio.run(_read(url, project))
    if work.authority is not None:
        raise AlreadyExists(
            "this project is claimed already", subject=project, next_step="assay claim keys PROJECT ..."
        )
    _show(project, work)
    if not yes:
        click.confirm("Did you release exactly these files?", abort=True, err=True)
    signer = open_key(key, project)
    keys = (signer.public_key, *(read_public(path) for path in more))
    work = replace(work, wanted=Claim(project, keys, threshold))
    _finish(project, work, sign_work(work, [signer], _now()), url, token_file, out)
    click.echo(f"{project} is claimed for {len(keys)} keys, threshold {threshold}" if out is None else f"wrote {out}")


@command.command()
@click.argument("name", metavar="PROJECT")
@key_option
@click.option("--add", "more", multiple=True, type=_FILE, metavar="FILE", help="A public key that shall sign, too.")
@click.option(
    "--remove", multiple=True, metavar="KEYID", help="A key that shall sign no more (its first characters do)."
)
@click.option("--threshold", type=int, help="How many must sign from then on.")
@index_option
@token_option
@out_option
def keys(
    name: str,
    key: str | None,
    more: tuple[Path, ...],
    remove: tuple[str, ...],
    threshold: int | None,
    url: str | None,
    token_file: Path | None,
    out: Path | None,
) -> None:
    """Show who signs for PROJECT, or change it. A change is signed by the old keys and by the new ones.

    It counts at once while the claim is new, and from the next ceremony on when the offline holders settled it.
    """
    project = parse_project_name(name)
    work = asyncio.run(_read(url, project))
    if work.authority is None or work.wanted is None:
        raise NotFound("nobody claimed this project", subject=project, next_step="assay claim init PROJECT")
    if not (more or remove or threshold):
        _show(project, work)
        return
    kept = [old for old in work.wanted.keys if not old.keyid.startswith(remove or ("-",))]
    if remove and len(kept) + len(remove) != len(work.wanted.keys):
        raise CallerError("each --remove must name one key", found=", ".join(remove))
    wanted = Claim(project, (*kept, *map(read_public, more)), threshold or work.wanted.threshold)
    work = replace(work, wanted=wanted)
    signer = open_key(key, project)
    require_named(work, signer, project)
    _finish(project, work, sign_work(work, [signer], _now()), url, token_file, out)
    click.echo(f"{project}: {len(wanted.keys)} keys, threshold {wanted.threshold}" if out is None else f"wrote {out}")


@command.command()
@click.argument("file", type=_FILE)
@key_option
def cosign(file: Path, key: str | None) -> None:
    """Add your signature to what another developer wrote with --out."""
    project, _ = read_roles(file)
    signer = open_key(key, project)
    click.echo(f"signed {cosign_roles(file, signer)} roles of {project} with {signer.public_key.keyid[:16]}")


@command.command()
@click.argument("file", type=_FILE)
@index_option
@token_option
def send(file: Path, url: str | None, token_file: Path | None) -> None:
    """Send a role without files that enough developers signed. (With files: assay publish --signed FILE dist/*)."""
    project, roles = read_roles(file)
    uploader = _uploader(url, token_file)
    for role in roles:
        asyncio.run(uploader.send_role(project, role))
    click.echo(f"the claim on {project} is published")


@command.command()
@draft_argument
@click.option("--revoke", multiple=True, metavar="PROJECT", help="Take a claim back: its keys are lost or stolen.")
@data_option
def plan(folder: Path, revoke: tuple[str, ...], data: Path) -> None:
    """On the index: draft what the offline holders shall settle. Without new claims it renews the old ones."""
    from assay.index.claim_plan import plan_claims
    from assay.index.config import DataFolder

    settled = plan_claims(DataFolder(data.resolve()), folder, [parse_project_name(name) for name in revoke], _now())
    _tell(settled)
    click.echo(f"next, offline, by each holder of targets: assay claim sign {folder} --key FILE")


@command.command()
@draft_argument
@click.option("--key", required=True, metavar="FILE|URI", help="The holder's key for the role targets.")
def sign(folder: Path, key: str) -> None:
    """Offline: read the list, and add a holder's signature."""
    draft = OfflineDraft(folder)
    click.echo(f"the draft starts from the root sha256:{draft.root_fingerprint()}; compare it with the one you know")
    settled = read_claims(draft, _now(), Lifetimes())
    _tell(settled)
    keyid = draft.sign(key, secrets_from_environment(os.environ, key), settled.bodies)
    missing = draft.missing_signatures()
    state = "complete: assay claim publish" if not missing else f"{missing} more holders must sign"
    click.echo(f"signed by {keyid[:16]}; {state}")


@command.command()
@draft_argument
@data_option
def publish(folder: Path, data: Path) -> None:
    """On the index: hand the signed draft to the signer."""
    from assay.index.config import DataFolder
    from assay.index.handover import hand_over

    count = hand_over(OfflineDraft(folder), DataFolder(data.resolve()), _now())
    click.echo(f"{count} signed roles are in the inbox; the signer publishes them within seconds")


def _now() -> datetime:
    return datetime.now(UTC)


async def _read(url: str | None, project: ProjectName) -> ClaimWork:
    async with opened(Registry.of_user().find(url)) as index:
        return await read_work(index, project)


def _finish(
    project: ProjectName, work: ClaimWork, role: bytes, url: str | None, token_file: Path | None, out: Path | None
) -> None:
    if out is not None:
        write_roles(out, project, [role])
        return
    if lacks_signatures(work, role, project):
        raise CallerError(
            "one signature is not enough",
            subject=project,
            rule="signature-threshold",
            next_step="--out FILE; the others run `assay claim cosign FILE`; then `assay claim send FILE`",
        )
    asyncio.run(_uploader(url, token_file).send_role(project, role))


def _show(project: ProjectName, work: ClaimWork) -> None:
    for claim, label in ((work.authority, "signs now"), (work.wanted, "signs from the next ceremony on")):
        if claim is not None and (label == "signs now" or claim != work.authority):
            for key in claim.keys:
                click.echo(f"{key.scheme} key {key.keyid}  {label}, threshold {claim.threshold}")
    click.echo(f"{project}: {len(work.files)} files are not sealed yet" + (":" if work.files else ""))
    for path, file in sorted(work.files.items()):
        click.echo(f"  sha256 {file.hashes['sha256']}  {path.rpartition('/')[2]}")


def _tell(settled: SettledClaims) -> None:
    lines: Sequence[str] = [
        f"settles {claim.project}: {claim.threshold} of {', '.join(key.keyid[:16] for key in claim.keys)}"
        for claim in settled.adopted
    ]
    for line in (*lines, *(f"revokes {project}" for project in settled.revoked)):
        click.echo(line)
    click.echo(f"{settled.total} claims are settled then, in {len(settled.bodies) - 1} roles")


def _uploader(url: str | None, token_file: Path | None) -> Uploader:
    address = Registry.of_user().find(url).url
    return Uploader(address, read_token(token_file, address))
