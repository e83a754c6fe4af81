"""``assay serve``: run the index."""

import json
import logging
import os
import sys
from pathlib import Path

import click

from assay import durable
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import MARKER, data_passphrase
from assay.client.discover import discover_indexes
from assay.client.registry import user_cache
from assay.index.config import DataFolder, load_config
from assay.index.establish import is_new
from assay.index.serve import Running, ServeOptions, serve
from assay.model.errors import CallerError, OperatorError

PIP, OFF = "pip", "off"


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default="assay-data", show_default=True, help="Data folder.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8421, show_default=True, help="0: any free port.")
@click.option("--tls-cert", type=click.Path(path_type=Path, exists=True), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True), help="Its private key (PEM).")
@click.option("--insecure-dev-keys", is_flag=True, help="Leave all private keys unencrypted. For demos.")
@click.option("--upstream", metavar="URL|pip|off", help="What projects are pulled through from; pip: what pip uses.")
@click.option("--idle-exit", type=float, metavar="SECONDS", help="End after so long without a request.")
@click.option("--announce", type=click.Path(path_type=Path), help="Write address and fingerprint to this file, too.")
@json_option
def command(
    data: Path,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure_dev_keys: bool,
    upstream: str | None,
    idle_exit: float | None,
    announce: Path | None,
    as_json: bool,
) -> None:
    """Run the index. On an empty data folder, make its keys, its trust root and an administrator's token first.

    The keys' passphrase is read from the file that ASSAY_PASSPHRASE_FILE names, from the descriptor in
    ASSAY_PASSPHRASE_FD, or asked for.
    """
    logging.basicConfig(level=logging.INFO, format="assay: %(message)s")
    if (tls_cert is None) != (tls_key is None):
        raise CallerError("--tls-cert and --tls-key belong together")
    folder = DataFolder(data.resolve())
    _require_index_or_empty(folder)
    options = ServeOptions(
        data=folder,
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        passphrase=data_passphrase(folder, insecure=insecure_dev_keys),
        upstream=_upstream(upstream or load_config(folder.config_file).upstream.url),
        idle_exit_s=idle_exit,
    )
    serve(options, lambda running: _announce(running, options, announce, as_json))


def _require_index_or_empty(data: DataFolder) -> None:
    """Raise OperatorError for a folder that holds something else: an index is never strewn among a user's files."""
    if data.root.is_dir():
        if not is_new(data):
            return
        ours = {data.config_file, data.ledger_file.parent, data.blobs, data.published, data.incoming, data.inbox}
        ours |= {data.socket.parent, data.keys.root, data.root / MARKER}
        foreign = (path.name for path in data.root.iterdir() if path not in ours and not path.name.startswith("."))
        found = ", ".join(sorted(foreign)[:5])
    else:
        found = "a file" if data.root.exists() else ""
    if found:
        raise OperatorError(
            "this is no data folder of an index, and it is not empty",
            subject=str(data.root),
            rule="not-an-index",
            found=found,
            next_step="name an empty or new folder with --data",
        )


def _upstream(setting: str) -> str | None:
    if setting == OFF:
        return None
    url = discover_indexes(os.environ, user_cache())[0] if setting == PIP else setting
    if not url.startswith(("http://", "https://")):
        raise CallerError(
            "not an upstream that can be pulled through", subject=url, next_step="--upstream off, or a URL"
        )
    return url if url.endswith("/") else f"{url}/"


def _announce(running: Running, options: ServeOptions, file: Path | None, as_json: bool) -> None:
    token = running.established.admin_token
    fingerprint = f"sha256:{running.established.fingerprint}"
    address = {"url": running.url, "fingerprint": fingerprint, "upstream": options.upstream}
    if file is not None:
        durable.write_file(file.absolute(), json.dumps(address).encode())
    result = address | ({"admin_token": token.text} if token else {})
    lines = [f"serving {running.url}", f"root    {fingerprint}", f"upstream {options.upstream or 'off'}"]
    if token:
        lines.append(f"admin token (shown once): {token.text}")
        offline = options.data.keys.root / "offline"
        if options.passphrase is not None and offline.is_dir():
            lines.append(f"move {offline} to offline media now: the index runs without it")
    lines.append(f"clients: assay trust add {running.url} --fingerprint {fingerprint}")
    print_result(result, "\n".join(lines), as_json=as_json)
    sys.stdout.flush()
