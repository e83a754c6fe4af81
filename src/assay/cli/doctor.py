"""``assay doctor``: does everything that the index says agree?"""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from assay.cli.desk import data_option, now
from assay.cli.output import json_option, print_result
from assay.index.config import DataFolder, load_config
from assay.index.doctor import examine


@click.command()
@click.option("--hash-blobs", is_flag=True, help="Read every blob, too (as long as the disk takes).")
@data_option
@json_option
def command(hash_blobs: bool, data: Path, as_json: bool) -> None:
    """Hold pages, ledger and blobs against the signed metadata, and say which signatures end soon.

    Changes nothing. Ends with status 1 when something is wrong.
    """
    folder = DataFolder(data.resolve())
    examined = examine(folder, now(), load_config(folder.config_file).lifetimes, hash_blobs=hash_blobs)
    lines = [f"{examined.projects} projects, {examined.files} files"]
    for finding in examined.findings:
        colour = "red" if finding.severity == "wrong" else "yellow"
        lines.append(click.style(f"{finding.severity}: {finding.subject}: {finding.text}", fg=colour))
        lines += [f"  next: {finding.next_step}"] if finding.next_step else []
    lines += [click.style("everything agrees", fg="green")] if examined.healthy else []
    result = {"healthy": examined.healthy, "findings": [asdict(finding) for finding in examined.findings]}
    print_result(result | {"projects": examined.projects, "files": examined.files}, "\n".join(lines), as_json=as_json)
    sys.exit(0 if examined.healthy else 1)
