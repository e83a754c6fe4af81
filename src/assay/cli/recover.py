"""``assay recover``: after a break-in, the last good publication made the newest again."""

from datetime import UTC, datetime
from pathlib import Path

import click
from tuf.api.metadata import Snapshot

from assay import durable
from assay.cli.desk import data_folder, data_option, now
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import data_passphrase
from assay.client.registry import decode_bundle
from assay.index.config import DataFolder, load_config
from assay.index.recovery.notice import render_notice
from assay.index.recovery.recover import Recovered, Request, recover
from assay.index.serve import only_process
from assay.model.errors import CallerError
from assay.trust.envelope import parse_envelope
from assay.trust.layout import SNAPSHOT

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option(
    "--good", metavar="VERSION|TIME", help="The last good snapshot's version, or a time in UTC before the theft."
)
@click.option("--copy", "copies", type=_FOLDER, multiple=True, help="A published folder from elsewhere. Repeatable.")
@click.option("--bundle", "bundles", type=_FILE, multiple=True, help="A client's 'assay trust export'. Repeatable.")
@data_option
@json_option
def command(good: str | None, copies: tuple[Path, ...], bundles: tuple[Path, ...], data: Path, as_json: bool) -> None:
    """Make the last good publication the newest again, after somebody had the index's keys, database and files.

    Stop the index first. It is frozen until a ceremony has replaced every online key; what the holders signed offline
    was never the thief's. Every bin is compared with the good publication, with the seals, the copies and the log. All
    tokens are revoked. recovery/ in the data folder says what was lost, and holds the notice for your users.
    """
    folder = data_folder(data)
    snapshots = dict(_snapshot_of(path) for path in bundles)
    wanted = _parse_good(good) if good is not None else max(snapshots, default=None)
    if wanted is None:
        raise CallerError("say which publication was the last good one", next_step="--good VERSION|TIME, or --bundle")
    with only_process(folder):
        passphrase = data_passphrase(folder, insecure=False)
        request = Request(wanted, copies, snapshots)
        done = recover(folder, load_config(folder.config_file), passphrase, request, now())
        durable.write_file(folder.root / "recovery" / "notice.txt", render_notice(done, now()).encode())
    print_result(done.to_dict(), _tell(done, folder), as_json=as_json)


def _parse_good(text: str) -> int | datetime:
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CallerError(
            "neither a snapshot's version nor a time", subject=text, expected="17, or 2026-11-22T10:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _snapshot_of(path: Path) -> tuple[int, bytes]:
    """The version and the file of a bundle's snapshot."""
    data = decode_bundle(path.read_bytes()).snapshot
    if data is None:
        raise CallerError("this bundle holds no snapshot", subject=str(path))
    return parse_envelope(data, Snapshot, SNAPSHOT).signed.version, data


def _tell(done: Recovered, folder: DataFolder) -> str:
    lines = [f"publication {done.publication} has the content of {done.good}, made on {done.made:%Y-%m-%d %H:%M} UTC"]
    lines += [f"{number} {kind}" for kind, number in sorted(done.counts.items())]
    lines += [f"  {each.kind}: {each.path}" for each in done.examples]
    lines += [f"{done.rewritten} files were not what a copy has; the copy's were used"] if done.rewritten else []
    ended = done.withdrawn
    lines.append(f"revoked: {ended.tokens} tokens, {ended.passwords} passwords")
    lines.append(f"revoked, being newer: {ended.grants} grants, {ended.publishers} publishers")
    lines += [click.style(f"CONSIDER: {warning}", fg="yellow") for warning in done.warnings]
    lines += [
        f"everything that was lost: {folder.root / 'recovery' / 'lost.jsonl'}",
        f"for your users: {folder.root / 'recovery' / 'notice.txt'}",
        "FROZEN. next: assay scrub; assay key rotate-online and a ceremony that replaces every online key; assay serve",
    ]
    return "\n".join(lines)
