"""``assay backup``: a copy of the whole index, while it serves."""

from dataclasses import asdict
from pathlib import Path

import click

from assay.cli.desk import data_folder, data_option, now
from assay.cli.output import json_option, print_result
from assay.index.upkeep.backup import back_up


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--with-keys", is_flag=True, help="The encrypted online key files, too. Keep such a backup like a key.")
@data_option
@json_option
def command(folder: Path, with_keys: bool, data: Path, as_json: bool) -> None:
    """Bring the backup in FOLDER up to date: ledger, blobs, what is published, configuration. Also while it serves.

    Run again, it copies what is new. The online keys are left out: keep their files, and their passphrase, elsewhere.
    """
    done = back_up(data_folder(data), folder.absolute(), now(), with_keys=with_keys)
    kept = done.manifest
    text = f"publication {kept.publication} is kept: {done.files} new files, {done.size} bytes"
    print_result({**asdict(kept), "new_files": done.files, "new_bytes": done.size}, text, as_json=as_json)
