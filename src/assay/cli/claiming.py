"""What ``assay claim`` and ``assay publish`` share: the developer's key, the token, roles that travel."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import orjson
from securesystemslib.signer import Key, Signer

from assay import durable
from assay.client.developer import ClaimWork, cosign_work
from assay.client.registry import user_data
from assay.keys.custody import create_key, key_file_uri, open_signer, read_public_key
from assay.keys.files import Scheme
from assay.keys.offline_draft import key_uri
from assay.keys.passphrase import SecretOnce, secrets_from_environment
from assay.model.errors import CallerError, KeyUnavailable
from assay.model.names import ProjectName, parse_project_name
from assay.trust.claims import claim_role

FORMAT: Final = "assay-claim-roles/1"
F = TypeVar("F", bound=Callable[..., Any])

index_option = click.option("--index", "url", metavar="URL", help="Which trusted index; needed when there are several.")
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Do not send: write what is signed to a file, for the others to sign.",
)


def own_key_file(project: ProjectName) -> Path:
    """Where this user's key for ``project`` lies if they made it with ``--key new``."""
    return user_data() / "keys" / f"{project}.pem"


def open_key(key: str | None, project: ProjectName) -> Signer:
    """The signer of the developer's ``key``: a file, a URI, ``new``, or None for the one made here before."""
    path = own_key_file(project)
    if key == "new":
        secrets = SecretOnce(secrets_from_environment(os.environ, f"your new key for {project}", confirm=True))
        uri = key_file_uri(path)
        public: Key = create_key(uri, Scheme.ED25519, secrets)
        click.echo(f"made your key: {path} (keep a copy, or name a second key: without one nobody publishes)", err=True)
        return open_signer(uri, public, secrets)
    if key is None and not path.exists():
        raise KeyUnavailable("say which key signs", subject=project, next_step="--key FILE, --key URI or --key new")
    uri = key_uri(key if key is not None else str(path))
    secrets = SecretOnce(secrets_from_environment(os.environ, uri))
    return open_signer(uri, read_public_key(uri, secrets), secrets)


def require_named(work: ClaimWork, signer: Signer, project: ProjectName) -> None:
    """Raise KeyUnavailable unless ``signer`` has a key that signs for the project."""
    if signer.public_key.keyid not in {key.keyid for key in work.signing_keys()}:
        raise KeyUnavailable(
            "this key does not sign for the project",
            subject=project,
            rule="key-not-a-holder",
            expected=", ".join(key.keyid[:16] for key in work.signing_keys()),
            found=signer.public_key.keyid[:16],
        )


def read_public(path: Path) -> Key:
    """A public key as ``assay key show --json`` prints it. Raises CallerError."""
    try:
        document = orjson.loads(path.read_bytes())
        fields = {name: document[name] for name in ("keytype", "scheme", "keyval")}
        return Key.from_dict(document["keyid"], fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CallerError(
            "not a public key", subject=str(path), expected="what `assay key show URI --json` prints", found=str(error)
        ) from error


def write_roles(path: Path, project: ProjectName, roles: Sequence[bytes]) -> None:
    """Write signed roles for other developers to sign, and for whoever sends them."""
    document = {"format": FORMAT, "project": project, "roles": [role.decode() for role in roles]}
    durable.write_file(path.absolute(), orjson.dumps(document, option=orjson.OPT_INDENT_2))


def read_roles(path: Path) -> tuple[ProjectName, list[bytes]]:
    """The inverse of ``write_roles``. Raises CallerError."""
    try:
        document = orjson.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError("another format")
        return parse_project_name(document["project"]), [text.encode() for text in document["roles"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallerError("no signed roles in this file", subject=str(path), found=str(error)) from error


def cosign_roles(path: Path, signer: Signer) -> int:
    """Add a signature to every role in the file; returns how many."""
    project, roles = read_roles(path)
    write_roles(path, project, [cosign_work(role, [signer], claim_role(project)) for role in roles])
    return len(roles)
