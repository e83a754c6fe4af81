"""``assay trust-root``: an organisation's own attestation authority (a Sigstore root that needs no network)."""

import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
from cryptography import x509

from assay.cli.output import json_option, print_result
from assay.keys.attesting.ceremony import (
    AuthorityPlan,
    plan_authority,
    publish_authority,
    read_plan,
    sign_authority,
)
from assay.keys.attesting.folder import AuthorityFolder
from assay.keys.custody import key_file_uri
from assay.keys.files import Scheme, create_key_file, read_private_file
from assay.keys.passphrase import SecretOnce, SecretsProvider, secrets_from_environment
from assay.model.digests import sha256_of
from assay.model.errors import CallerError

folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
organization_option = click.option("--organization", required=True, metavar="NAME", help="Stands in the certificates.")
url_option = click.option("--url", required=True, help="Names the instance for people; nothing is fetched from it.")
dev_option = click.option("--insecure-dev-keys", is_flag=True, help="Leave all private keys unencrypted. For demos.")


@click.group()
def command() -> None:
    """Make the certificate authority, certificate log and log of an organisation's own attestations.

    Its trusted_root.json goes to verifiers: assay attester add --trust-root, the policy, or stock sigstore-python.
    """


@command.command()
@folder_argument
@organization_option
@url_option
@dev_option
@json_option
def init(folder: Path, organization: str, url: str, insecure_dev_keys: bool, as_json: bool) -> None:
    """Do all of the ceremony on this machine, then move FOLDER/offline away: it is needed again in ten years."""
    authority, secrets, now = AuthorityFolder(folder), _secrets(folder, insecure_dev_keys, confirm=True), _now()
    passphrase = None if insecure_dev_keys else secrets("passphrase").encode()
    made = plan_authority(authority, organization, _checked(url), _origin(url), passphrase, now)
    offline = folder / "offline" / "root.pem"
    create_key_file(offline, Scheme.P256, passphrase)
    uri, out = key_file_uri(offline.absolute(), encrypted=not insecure_dev_keys), folder / "certificates.json"
    sign_authority(made, uri, secrets, now, x509.random_serial_number, out)
    root = publish_authority(authority, out, secrets, encrypted=not insecure_dev_keys)
    _print_root(authority, root, f"move {folder / 'offline'} to offline media now", as_json=as_json)


@command.command()
@folder_argument
@organization_option
@url_option
@dev_option
def plan(folder: Path, organization: str, url: str, insecure_dev_keys: bool) -> None:
    """On the machine that will attest: make the online keys in FOLDER, and the plan that travels, FOLDER/plan.json."""
    secrets = _secrets(folder, insecure_dev_keys, confirm=True)
    passphrase = None if insecure_dev_keys else secrets("passphrase").encode()
    made = plan_authority(AuthorityFolder(folder), organization, _checked(url), _origin(url), passphrase, _now())
    _tell(made)
    click.echo(f"next, offline: assay trust-root sign {folder / 'plan.json'} certificates.json --key KEY")


@command.command()
@click.argument("plan_file", metavar="PLAN", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("certificates", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--key", required=True, metavar="FILE|URI", help="The root key, P-256; assay key create makes one.")
def sign(plan_file: Path, certificates: Path, key: str) -> None:
    """Offline: sign what PLAN says, and write the two CERTIFICATES to carry back."""
    made = read_plan(plan_file)
    _tell(made)
    secrets = SecretOnce(secrets_from_environment(os.environ, key))
    sign_authority(made, _uri(key), secrets, _now(), x509.random_serial_number, certificates)
    click.echo(f"next, on the attesting machine: assay trust-root publish FOLDER {certificates}")


@command.command()
@folder_argument
@click.argument("certificates", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
def publish(folder: Path, certificates: Path, as_json: bool) -> None:
    """On the attesting machine: check the signed CERTIFICATES, and write FOLDER/trusted_root.json."""
    authority = AuthorityFolder(folder)
    encrypted = is_encrypted(authority)
    root = publish_authority(authority, certificates, _secrets(folder, not encrypted), encrypted=encrypted)
    _print_root(authority, root, "give trusted_root.json to every verifier", as_json=as_json)


def is_encrypted(folder: AuthorityFolder) -> bool:
    """Whether the online keys need a passphrase."""
    return b"ENCRYPTED PRIVATE KEY" in read_private_file(folder.key("log"))


def _secrets(folder: Path, insecure: bool, *, confirm: bool = False) -> SecretsProvider:
    if insecure:
        return lambda _name, /: ""
    return SecretOnce(secrets_from_environment(os.environ, f"the keys of {folder}", confirm=confirm))


def _uri(key: str) -> str:
    if ":" in key:
        return key
    path = Path(key).absolute()
    return key_file_uri(path, encrypted=b"ENCRYPTED PRIVATE KEY" in read_private_file(path))


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise CallerError("not an address", subject=url, expected="https://HOST")
    return url.rstrip("/")


def _origin(url: str) -> str:
    """The log's name in its checkpoints."""
    return f"{urlsplit(url).hostname}/attestations"


def _tell(made: AuthorityPlan) -> None:
    click.echo(f"attestation authority of {made.organization}, {made.url}, log {made.origin}, since {made.since}")
    for name, key in made.keys.items():
        click.echo(f"  {name:<16} {key.scheme} {key.keyid}")


def _print_root(folder: AuthorityFolder, root: bytes, next_step: str, *, as_json: bool) -> None:
    fingerprint = sha256_of(root)
    result = {"trusted_root": str(folder.trusted_root), "sha256": fingerprint}
    print_result(result, f"{folder.trusted_root}  sha256 {fingerprint}\n{next_step}", as_json=as_json)


def _now() -> datetime:
    return datetime.now(UTC)
