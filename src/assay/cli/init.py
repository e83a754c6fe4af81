"""``assay init``: make the data folder of an index, to be served later; with its witnesses from the beginning."""

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click

from assay import durable
from assay.cli.desk import now
from assay.cli.output import json_option, print_result
from assay.cli.passphrases import data_passphrase
from assay.index.config import DataFolder, load_config
from assay.index.establish import Established, establish, is_new
from assay.keys.local import LocalWitness
from assay.model.errors import CallerError, OperatorError
from assay.trust.layout import ONLINE_ROLES
from assay.trust.witness_memory import quorum_advice
from assay.witness.keys import PublicKeys, read_public


@dataclass(frozen=True, slots=True)
class EnrolledWitness:
    """A witness as the command line names it."""

    name: str
    url: str
    public: PublicKeys

    def local(self) -> LocalWitness:
        """As the local ceremony takes it."""
        return LocalWitness({role: self.public.keys[role] for role in ONLINE_ROLES}, self.public.log)


def parse_witness(text: str) -> EnrolledWitness:
    """``NAME=URL=KEYFILE``. Raises CallerError."""
    name, _, rest = text.partition("=")
    url, _, file = rest.rpartition("=")
    if not name or urlsplit(url).scheme not in ("http", "https") or not file:
        raise CallerError("not a witness", subject=text, expected="NAME=URL=KEYFILE")
    public = read_public(Path(file))
    if public.name != name:
        raise CallerError("the keys of another witness", subject=file, expected=name, found=public.name)
    return EnrolledWitness(name, url, public)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default="assay-data", show_default=True, help="Data folder.")
@click.option("--insecure-dev-keys", is_flag=True, help="Leave all private keys unencrypted. For demos.")
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    metavar="NAME=URL=KEYFILE",
    help="A witness (assay witness init): from the first publication on nothing counts without one of them.",
)
@click.option("--witnesses-needed", type=int, default=1, show_default=True, help="How many of them must co-sign.")
@json_option
def command(
    data: Path, insecure_dev_keys: bool, witnesses: tuple[str, ...], witnesses_needed: int, as_json: bool
) -> None:
    """Make the keys, the trust root and an administrator's token of a new index. `assay serve` runs it.

    The keys' passphrase is read from the file that ASSAY_PASSPHRASE_FILE names, from the descriptor in
    ASSAY_PASSPHRASE_FD, or asked for.
    """
    folder = DataFolder(data.resolve())
    if not is_new(folder):
        raise OperatorError("there is an index in this folder", subject=str(data), rule="index-exists")
    enrolled = [parse_witness(text) for text in witnesses]
    if enrolled and not 1 <= witnesses_needed <= len({one.name for one in enrolled}) == len(enrolled):
        raise CallerError(
            "so many different witnesses are not there",
            expected=f"at most {len(enrolled)}, each once",
            found=str(witnesses_needed),
        )
    for advice in quorum_advice(len(enrolled), witnesses_needed):
        click.echo(f"assay init: consider: {advice}", err=True)
    passphrase = data_passphrase(folder, insecure=insecure_dev_keys)
    folder.make()
    if enrolled:
        _configure(folder, enrolled)
    config = load_config(folder.config_file)
    secret = passphrase.encode() if passphrase is not None else None
    local = [witness.local() for witness in enrolled]
    established = establish(folder, config, secret, now(), local, witnesses_needed)
    _print(established, enrolled, folder, encrypted=passphrase is not None, as_json=as_json)


def _configure(folder: DataFolder, enrolled: list[EnrolledWitness]) -> None:
    """Tell the configuration where the witnesses answer."""
    before = folder.config_file.read_text(encoding="utf-8") if folder.config_file.exists() else ""
    tables = [f"\n[[witness]]\nname = {json.dumps(one.name)}\nurl = {json.dumps(one.url)}\n" for one in enrolled]
    durable.write_file(folder.config_file, (before + "".join(tables)).encode())


def _print(
    established: Established, enrolled: list[EnrolledWitness], folder: DataFolder, *, encrypted: bool, as_json: bool
) -> None:
    fingerprint, token = f"sha256:{established.fingerprint}", established.admin_token
    result: dict[str, object] = {"fingerprint": fingerprint, "witnesses": [one.name for one in enrolled]}
    lines = [f"root    {fingerprint}"]
    if token is not None:
        result["admin_token"] = token.text
        lines.append(f"admin token (shown once): {token.text}")
    if encrypted:
        lines.append(f"move {folder.keys.root / 'offline'} to offline media now: the index runs without it")
    lines += [
        f"on witness {one.name}: assay witness follow --folder ... --index URL --fingerprint {fingerprint}"
        for one in enrolled
    ]
    lines.append(f"next: assay serve --data {folder.root}")
    print_result(result, "\n".join(lines), as_json=as_json)
