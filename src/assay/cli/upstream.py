"""``assay upstream``: the index that projects are pulled through from."""

import sys
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO, Final

import click

from assay.cli.desk import now
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import data_passphrase
from assay.index.config import DataFolder, load_config
from assay.index.establish import establish, is_new
from assay.index.ledger import Ledger
from assay.index.published import PublishedStore
from assay.index.serve import only_process
from assay.index.signer.house import open_publisher
from assay.index.signer.online import Keyring
from assay.index.upstream.importing import Imported, ListingImport, record_import
from assay.model.errors import CallerError
from assay.trust.plan import bin_bits_for

CHUNK_BYTES: Final = 8_000_000
_FILE, _PAGE = b'"filename"', b"\n"


@click.group()
def command() -> None:
    """The index that projects are pulled through from."""


@command.command("import")
@click.argument("listing", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--url", required=True, help="The simple API whose pages these are: https://pypi.org/simple/")
@click.option("--data", type=click.Path(path_type=Path), default="assay-data", show_default=True, help="Data folder.")
@click.option("--files", "count", type=int, help="How many files a new index shall be laid out for, with LISTING -.")
@click.option("--insecure-dev-keys", is_flag=True, help="Leave all private keys unencrypted. For demos.")
@json_option
def import_(listing: Path, url: str, data: Path, count: int | None, insecure_dev_keys: bool, as_json: bool) -> None:
    """Publish a whole listing at once: PEP 691 JSON, one project page a line; - reads standard input.

    Not while `assay serve` runs on the same folder. Files are fetched when somebody asks for them. An interrupted
    import is begun again by the same command. A new index gets as many bins as the listing needs.
    """
    folder = DataFolder(data.resolve())
    address = url if url.endswith("/") else f"{url}/"
    if not address.startswith(("http://", "https://")):
        raise CallerError("not the address of a simple API", subject=url)
    passphrase = data_passphrase(folder, insecure=insecure_dev_keys)
    folder.make()
    config = load_config(folder.config_file)
    if is_new(folder):
        targets = count if count is not None else _count(listing)
        config = replace(config, trust=replace(config.trust, bin_bits=bin_bits_for(targets)))
    moment = now()
    with only_process(folder), _opened(listing) as stream:
        established = establish(folder, config, passphrase.encode() if passphrase is not None else None, moment)
        published = PublishedStore(folder.published)
        with closing(Ledger.open(folder.ledger_file)) as ledger:
            keyring = Keyring(folder.keys, passphrase, config.keys.uris())
            publisher = open_publisher(folder, config, keyring, ledger)
            work = ListingImport(ledger, published, stream, address, config.names.private, moment)
            publisher.publish_in_bulk(moment, folder.root / ".import", work.add_all)
            record_import(ledger, work.imported, address, now())
    token = established.admin_token
    result = asdict(work.imported) | ({"admin_token": token.text} if token is not None else {})
    lines = [_said(work.imported)] + ([f"admin token (shown once): {token.text}"] if token is not None else [])
    print_result(result, "\n".join(lines), as_json=as_json)


def _said(imported: Imported) -> str:
    left = f"left out: {imported.known_projects} projects that are known or private"
    unusable = f"{imported.unusable_files} files without hash, size or a readable name"
    return (
        f"published {imported.files} files of {imported.projects} projects; {left}, {unusable}, "
        f"{imported.unusable_lines} lines"
    )


def _count(listing: Path) -> int:
    """Roughly how many targets ``listing`` comes to."""
    if str(listing) == "-":
        raise CallerError("a listing from standard input needs --files for a new index")
    found = 0
    with listing.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            found += chunk.count(_FILE) + chunk.count(_PAGE)
    return found


def _opened(listing: Path) -> BinaryIO:
    return sys.stdin.buffer if str(listing) == "-" else listing.open("rb")
