"""``assay publish FILE...``: sign on this machine, upload files and signatures in one step."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from securesystemslib.signer import Signer

from assay.cli.claiming import (
    index_option,
    open_key,
    out_option,
    read_roles,
    require_named,
    write_roles,
)
from assay.cli.credentials import read_token, token_option
from assay.client.developer import (
    ClaimWork,
    LocalFile,
    lacks_signatures,
    read_files,
    read_work,
    sign_work,
    with_file,
)
from assay.client.registry import Registry, opened
from assay.client.sending import Uploader
from assay.model.errors import CallerError, NotFound
from assay.model.names import ProjectName

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--key", metavar="FILE|URI", help="Your key for the project.  [default: the one made here]")
@click.option("--signed", type=_FILE, help="Send these signatures, which enough developers made with --out and cosign.")
@index_option
@token_option
@out_option
def command(
    files: tuple[Path, ...],
    key: str | None,
    signed: Path | None,
    url: str | None,
    token_file: Path | None,
    out: Path | None,
) -> None:
    """Publish wheels and sdists of a project that you claimed (assay claim init).

    The private key never leaves this machine. Each file is installable when its line appears.
    """
    local = read_files(files)
    project = local[0].distribution.project
    entry = Registry.of_user().find(url)
    if signed is not None:
        of, roles = read_roles(signed)
        if of != project or len(roles) != len(local):
            raise CallerError("these signatures are of other files", subject=str(signed), found=f"{len(roles)} of {of}")
    else:
        work = asyncio.run(_read(url, project))
        signer = open_key(key, project)
        require_named(work, signer, project)
        roles = _sign_each(work, local, signer)
        if out is not None:
            write_roles(out, project, roles)
            click.echo(f"wrote {out}: the others run `assay claim cosign {out}`, then send it with --signed {out}")
            return
        if lacks_signatures(work, roles[0], project):
            raise CallerError(
                "one signature is not enough", subject=project, rule="signature-threshold", next_step="--out FILE"
            )
    asyncio.run(_send(Uploader(entry.url, read_token(token_file, entry.url)), local, roles))


async def _read(url: str | None, project: ProjectName) -> ClaimWork:
    async with opened(Registry.of_user().find(url)) as index:
        work = await read_work(index, project)
    if work.authority is None:
        raise NotFound(
            "nobody claimed this project", subject=project, next_step="assay claim init PROJECT, or upload with twine"
        )
    return work


def _sign_each(work: ClaimWork, files: Sequence[LocalFile], signer: Signer) -> list[bytes]:
    """One role for each file, each listing one more: so that every file is whole with its own upload."""
    now = datetime.now(UTC)
    roles = []
    for file in files:
        work = with_file(work, file, signer, now)
        roles.append(sign_work(work, [signer], now))
        work = replace(work, version=work.version + 1)
    return roles


async def _send(uploader: Uploader, files: Sequence[LocalFile], roles: Sequence[bytes]) -> None:
    for file, role in zip(files, roles, strict=True):
        await uploader.send_file(file, role)
        click.echo(f"published  {file.path.name}  sha256 {file.sha256}")
