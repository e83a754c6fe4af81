"""``assay key``: make and inspect private keys; replace the index's online keys."""

import os
from pathlib import Path

import click

from assay.cli.output import json_option, print_result
from assay.keys.ceremony import signing, steps
from assay.keys.ceremony.home import Home
from assay.keys.ceremony.plan import Plan
from assay.keys.ceremony.publishing import refuse_data_folder
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings, read_surroundings
from assay.keys.custody import create_key, custody_facts, key_file_uri, open_signer, read_public_key
from assay.keys.files import SCHEMES, Scheme, load_key_file
from assay.keys.local import KeyFolder
from assay.keys.online import ONLINE_KEYS, create_online_key, successor_path
from assay.keys.passphrase import SecretOnce, SecretsProvider, secrets_from_environment
from assay.keys.speed import measure, measure_software
from assay.model.errors import CallerError

_INSECURE_MARKER = "INSECURE-DEV-KEYS"
scheme_option = click.option(
    "--scheme", type=click.Choice(list(SCHEMES)), default="ed25519", show_default=True, help="Which kind of key."
)


@click.group()
def command() -> None:
    """Make and inspect private keys.

    A key is named by a URI: keyfile:PATH (PKCS#8 under scrypt), hsm:N?label=TOKEN (PKCS#11), awskms:, gcpkms:,
    azurekms:, hv: (key services), credential:NAME (systemd), file2:PATH (unencrypted). The passphrase or PIN is read
    from the file that ASSAY_PASSPHRASE_FILE names, from the descriptor in ASSAY_PASSPHRASE_FD, or asked for.
    """


@command.command()
@click.argument("uri")
@scheme_option
@json_option
def create(uri: str, scheme: str, as_json: bool) -> None:
    """Make a private key at URI, and print its public half. Nothing is ever overwritten."""
    if uri.startswith(("keyfile:", "file2:")):
        refuse_data_folder(Path(uri.partition(":")[2]))
    secrets = SecretOnce(secrets_from_environment(os.environ, uri, confirm=not uri.startswith("hsm:")))
    key = create_key(uri, SCHEMES[scheme], secrets)
    print_result({"keyid": key.keyid, "uri": uri, **key.to_dict()}, f"{key.scheme} key {key.keyid}", as_json=as_json)


@command.command()
@click.argument("uri")
@json_option
def show(uri: str, as_json: bool) -> None:
    """Print the public half of the key at URI, and what this machine says of its place."""
    secrets = SecretOnce(secrets_from_environment(os.environ, uri))
    key = read_public_key(uri, secrets)
    facts = custody_facts(uri, secrets)
    lines = [f"{key.scheme} key {key.keyid}", *(f"{name}: {value}" for name, value in facts.items())]
    print_result({"keyid": key.keyid, "custody": facts, **key.to_dict()}, "\n".join(lines), as_json=as_json)


@command.command("rotate-online")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The index's data folder.")
@click.option("--stick", type=click.Path(path_type=Path), required=True, envvar="ASSAY_CEREMONY_STICK")
@click.option("--key", "elsewhere", multiple=True, metavar="NAME=URI", help="NAME's key is at URI, not in a file.")
@click.option("--insecure-dev-keys", is_flag=True, help="Leave new key files unencrypted. For demos.")
@scheme_option
@click.pass_context
def rotate_online(
    ctx: click.Context, data: Path, stick: Path, elsewhere: tuple[str, ...], insecure_dev_keys: bool, scheme: str
) -> None:
    """Make the online keys that the ceremony on the stick asks for, on the index's machine.

    The old keys stay until the ceremony is published: the root's signature makes the change, not this command. Run
    again after an interruption, it enrols the keys that it made before.
    """
    opened = Stick.open(stick)
    plan = signing.read_plan(opened)
    insecure = insecure_dev_keys or (data / _INSECURE_MARKER).exists()
    folder = KeyFolder(data / "keys")
    secrets = _index_secrets(folder, insecure=insecure)
    uris = _parse_elsewhere(elsewhere, plan)
    for name in (name for name in plan.enrol if plan.participants[name].part == "online"):
        where = uris.get(name) or _online_file(plan, name, data, secrets, SCHEMES[scheme], insecure=insecure)
        new = steps.NewKey(where, read_public_key(where, secrets), custody_facts(where, secrets))
        home = Home(data / "keys" / "enrolled")
        around = ctx.find_object(Surroundings) or read_surroundings()
        enrolment = steps.enrol(opened, home, name, new, around, secrets)
        click.echo(f"{name} is enrolled with {enrolment.key.scheme}, key {enrolment.key.keyid}")


@command.command()
@click.option("--key", "uris", multiple=True, metavar="URI", help="Measure this key, too. Repeatable.")
@click.option("--seconds", type=float, default=0.5, show_default=True, help="For each kind.")
@json_option
def bench(uris: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Signatures per second, for each kind of key."""
    found = measure_software(seconds)
    for uri in uris:
        secrets = SecretOnce(secrets_from_environment(os.environ, uri))
        public = read_public_key(uri, secrets)
        found.append(measure(f"{public.scheme} at {uri}", open_signer(uri, public, secrets), seconds))
    text = "\n".join(f"{one.rate:>10,.0f}/s  {one.what}" for one in found)
    print_result({"signatures_per_second": {one.what: one.rate for one in found}}, text, as_json=as_json)


def _index_secrets(folder: KeyFolder, *, insecure: bool) -> SecretsProvider:
    """The passphrase of the index's key files: typed twice for the first of them, and that of the others afterwards.

    Raises KeyUnavailable for another one: the signer opens all of them with one.
    """
    present = next((path for role in ONLINE_KEYS if (path := folder.path(role)).exists()), None)
    secrets = SecretOnce(secrets_from_environment(os.environ, f"the keys of {folder.root}", confirm=present is None))
    if present is not None and not insecure:
        load_key_file(present, secrets("passphrase").encode())
    return secrets


def _parse_elsewhere(options: tuple[str, ...], plan: Plan) -> dict[str, str]:
    found = dict(option.partition("=")[::2] for option in options)
    for name, uri in found.items():
        if not uri or name not in plan.named("online"):
            raise CallerError("not NAME=URI of an online key", subject=name, expected=", ".join(plan.named("online")))
    return found


def _online_file(plan: Plan, name: str, data: Path, secrets: SecretsProvider, scheme: Scheme, *, insecure: bool) -> str:
    """The URI of the key file that ``name`` gets: the one that an earlier try made, or a new one."""
    roles = plan.roles_of(name)
    if len(roles) != 1:
        raise CallerError("an online key holds one role", subject=name, found=", ".join(roles) or "none")
    folder = KeyFolder(data / "keys")
    path, successor = folder.path(roles[0]), successor_path(folder, roles[0])
    if successor.exists():
        path = successor
    elif not path.exists() or plan.starts_from is not None:
        passphrase = None if insecure else secrets("passphrase").encode()
        path, _key = create_online_key(folder, roles[0], passphrase, scheme)
    return key_file_uri(path.absolute(), encrypted=not insecure)
