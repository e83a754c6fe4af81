"""``assay witness``: a second pair of eyes on somebody else's machine."""

import asyncio
import json
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from assay import durable
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import marked_passphrase
from assay.keys.files import make_private_folder
from assay.model.digests import parse_sha256
from assay.model.errors import CallerError, OperatorError
from assay.witness.config import WitnessFolder
from assay.witness.keys import PublicKeys, WitnessKeys, make_keys, open_keys, read_public, render_public
from assay.witness.serve import Listening, running
from assay.witness.store import WitnessStore

_TEMPLATE = """\
# The configuration of a witness; see docs/witness.md. Unknown keys are refused.
name = {name}
poll_s = 30                      # how often the index is looked at

[rule]                           # the longest lifetimes that are co-signed: those of the index's config.toml
timestamp_hours = 24
bin_days = 30
tolerance_s = 300                # of clocks

# [alarm]
# webhook = "https://..."        # each alarm is posted there as JSON
# [alarm.mail]
# host = "localhost"
# sender = "witness@example.org"
# to = ["admins@example.org"]

# [[peer]]                       # each other witness of this index: `assay witness show` there prints this
# name = "w2"
# url = "https://w2.example.org:8422"
# keys = ["...", "...", "..."]
"""

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), required=True, help="The witness's folder: keys, memory, witness.toml."
)
index_option = click.option("--index", "url", metavar="URL", help="The index to follow.")
fingerprint_option = click.option(
    "--fingerprint", metavar="sha256:HEX", help="The index's first root, as its ceremony announced it."
)


@click.group()
def command() -> None:
    """Co-sign what an index publishes, if it contradicts nothing that was co-signed before."""


@command.command()
@folder_option
@click.option("--name", help="What the witness is called; the folder's name if not given.")
@index_option
@fingerprint_option
@click.option("--insecure-dev-keys", is_flag=True, help="Leave the private keys unencrypted. For demos.")
@json_option
def init(
    folder: Path, name: str | None, url: str | None, fingerprint: str | None, insecure_dev_keys: bool, as_json: bool
) -> None:
    """Make the keys and the memory of a new witness; print the public keys, which the index's ceremony enrols."""
    place = WitnessFolder(folder.resolve())
    if place.database.exists() or place.public_keys.exists():
        raise OperatorError("there is a witness in this folder", subject=str(folder), rule="witness-exists")
    passphrase = marked_passphrase(
        place.root, "witness", new=True, insecure=insecure_dev_keys, make=lambda: make_private_folder(place.root)
    )
    make_private_folder(place.root)
    public = make_keys(place.keys, name or place.root.name, passphrase.encode() if passphrase is not None else None)
    durable.write_file(place.config_file, _TEMPLATE.format(name=json.dumps(public.name)).encode())
    durable.make_folder(place.database.parent, mode=0o700)
    store = WitnessStore.create(place.database)
    if url is not None or fingerprint is not None:
        _follow(store, url, fingerprint)
    store.close()
    durable.write_file(place.public_keys, render_public(public))
    _show(place, public, as_json=as_json)


@command.command()
@folder_option
@index_option
@fingerprint_option
def follow(folder: Path, url: str | None, fingerprint: str | None) -> None:
    """Say which index this witness follows. One for life; only its URL may change."""
    store = WitnessStore.open(WitnessFolder(folder.resolve()).database)
    _follow(store, url, fingerprint)
    store.close()


@command.command()
@folder_option
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Print the public keys, and what another witness's witness.toml says of this one."""
    place = WitnessFolder(folder.resolve())
    _show(place, read_public(place.public_keys), as_json=as_json)


@command.command()
@folder_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8422, show_default=True, help="0: any free port.")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="Its private key (PEM).")
@click.option("--announce", type=click.Path(path_type=Path), help="Write the address to this file, too.")
@json_option
def run(
    folder: Path,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    announce: Path | None,
    as_json: bool,
) -> None:
    """Answer the index, follow it, and raise the alarm.

    The keys' passphrase is read from the file that ASSAY_PASSPHRASE_FILE names, from the descriptor in
    ASSAY_PASSPHRASE_FD, or asked for.
    """
    logging.basicConfig(level=logging.INFO, format="assay witness: %(message)s")
    logging.getLogger("tuf").setLevel(logging.ERROR)  # it tells of every signature that is not there yet
    if (tls_cert is None) != (tls_key is None):
        raise CallerError("--tls-cert and --tls-key belong together")
    place = WitnessFolder(folder.resolve())
    public = read_public(place.public_keys)
    store = WitnessStore.open(place.database)
    passphrase = marked_passphrase(place.root, "witness", new=False, insecure=False, make=lambda: None)
    keys = open_keys(place.keys, public, lambda _name: passphrase or "", encrypted=passphrase is not None)
    at = announce.absolute() if announce is not None else None
    asyncio.run(_run(place, store, keys, Listening(host, port, tls_cert, tls_key), at, as_json=as_json))
    store.close()


async def _run(
    place: WitnessFolder,
    store: WitnessStore,
    keys: WitnessKeys,
    listening: Listening,
    announce: Path | None,
    *,
    as_json: bool,
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running(store, keys, place.load_config(), listening, lambda: datetime.now(UTC)) as url:
        facts = {"url": url, "witness": keys.public.name, "index": store.index}
        if announce is not None:
            await asyncio.to_thread(durable.write_file, announce, json.dumps(facts).encode())
        print_result(facts, f"witness {keys.public.name} answers at {url}", as_json=as_json)
        sys.stdout.flush()
        await stopping.wait()


def _follow(store: WitnessStore, url: str | None, fingerprint: str | None) -> None:
    if url is None or fingerprint is None or not url.startswith(("http://", "https://")):
        raise CallerError("--index URL and --fingerprint sha256:HEX belong together")
    store.follow(url, parse_sha256(fingerprint.removeprefix("sha256:")))


def _show(place: WitnessFolder, public: PublicKeys, *, as_json: bool) -> None:
    keyids = public.keyids()
    peer = (
        f'[[peer]]\nname = {json.dumps(public.name)}\nurl = "https://..."\nkeys = {json.dumps(list(keyids.values()))}'
    )
    lines = [f"witness {public.name}", *(f"  {role:<10} {keyid}" for role, keyid in keyids.items())]
    lines += [f"  log        {public.log}", f"public keys: {place.public_keys}"]
    lines += ["enrol them in a ceremony, or for a new index: assay init --witness NAME=URL=KEYFILE"]
    lines += ["in witness.toml of the index's other witnesses:", peer]
    result = {"name": public.name, "keys": keyids, "log": str(public.log), "file": str(place.public_keys)}
    print_result(result, "\n".join(lines), as_json=as_json)
