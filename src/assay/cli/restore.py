"""``assay restore``: a backup brought back, never below what was published; a ledger made again."""

from pathlib import Path

import click

from assay.cli.desk import data_folder, data_option, now
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import data_passphrase
from assay.client.registry import decode_bundle
from assay.index.config import DataFolder, load_config
from assay.index.published import PublishedStore
from assay.index.serve import only_process
from assay.index.upkeep.confirm import Confirmed, Seen, confirm
from assay.index.upkeep.newledger import make_ledger_again
from assay.index.upkeep.restore import bring_back
from assay.model.errors import CallerError

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("backup", type=_FOLDER, required=False)
@click.option("--published", "copies", type=_FOLDER, multiple=True, help="A mirror's copy of the published folder.")
@click.option("--bundle", "bundles", type=_FILE, multiple=True, help="A client's 'assay trust export'. Repeatable.")
@click.option("--nothing-newer", is_flag=True, help="Nothing was published after this backup, and you know it.")
@click.option("--rebuild-ledger", is_flag=True, help="Make the ledger again from what is published; accounts are lost.")
@data_option
@json_option
def command(
    backup: Path | None,
    copies: tuple[Path, ...],
    bundles: tuple[Path, ...],
    nothing_newer: bool,
    rebuild_ledger: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Bring BACKUP back into an empty data folder, or say of a restored one what was published after the backup.

    Clients and witnesses never go back. So nothing is served until you name the newest publication that anybody saw:
    a mirror's copy (nothing is lost then), a client's bundle (the numbers go on above it), or that there was none.
    """
    folder = DataFolder(data.resolve()) if backup is not None else data_folder(data)
    if rebuild_ledger:
        with only_process(folder):
            rebuilt = make_ledger_again(folder, now())
        text = f"{rebuilt.projects} projects made again; the old ledger: {rebuilt.aside}\nadmin token: {rebuilt.token}"
        print_result({"projects": rebuilt.projects, "admin_token": rebuilt.token}, text, as_json=as_json)
        return
    if backup is None and not (copies or bundles or nothing_newer):
        raise CallerError("say what to restore, or what was published after it", next_step="assay restore --help")
    if backup is not None:
        kept = bring_back(backup, folder)
        click.echo(f"publication {kept.publication} of {kept.taken} is back", err=True)
    if not (copies or bundles or nothing_newer):
        text = "FROZEN until you say what was published after it: --published FOLDER, --bundle FILE or --nothing-newer"
        print_result({"frozen": True}, text, as_json=as_json)
        return
    with only_process(folder):
        passphrase = data_passphrase(folder, insecure=False) if copies or bundles else None
        stores = [PublishedStore(path) for path in copies]
        seen = [_seen(path) for path in bundles]
        done = confirm(folder, load_config(folder.config_file), passphrase, stores, seen, now())
    result = {"publication": done.publication, "backup": done.backup, "seen": done.seen, "lost": done.lost}
    print_result(result, _tell(done), as_json=as_json)


def _seen(path: Path) -> Seen:
    bundle = decode_bundle(path.read_bytes())
    if bundle.timestamp is None or bundle.snapshot is None:
        raise CallerError("this bundle holds no timestamp and snapshot", subject=str(path))
    return Seen(bundle.timestamp, bundle.snapshot)


def _tell(done: Confirmed) -> str:
    if done.lost:
        return (
            f"goes on as publication {done.publication}, above {done.seen} that was seen\n"
            f"LOST: what publications {done.backup + 1} to {done.seen} brought: ask for those uploads again\n"
            "the log is shorter than it was: monitors will say so, rightly\nnext: assay scrub; assay serve"
        )
    return f"goes on from publication {done.publication}; nothing is lost\nnext: assay scrub; assay serve"
