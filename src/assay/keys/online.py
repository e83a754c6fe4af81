"""The index's online keys as files: one for each role; while one is replaced, its successor lies beside it.

Invariants: one role's key serves no other role; a key is opened only as the one that signed metadata names; a key
that a root names for an offline role is never opened here.
"""

from collections.abc import Mapping
from pathlib import Path

from securesystemslib.signer import Key, Signer, SSlibKey
from tuf.api.metadata import Root, Targets

from assay import durable
from assay.keys.ceremony.building import keys_named
from assay.keys.custody import key_file_uri, open_signer
from assay.keys.files import Scheme, create_key_file
from assay.keys.local import KeyFolder
from assay.keys.passphrase import SecretsProvider
from assay.model.errors import CallerError, KeyUnavailable
from assay.trust.layout import BIN_PREFIX, ONLINE_ROLES, ROOT, TARGETS
from assay.trust.log.identity import LOG

ONLINE_KEYS = (*ONLINE_ROLES, LOG)
"""The index's own keys: one for each online role, and the transparency log's."""


def successor_path(folder: KeyFolder, role: str) -> Path:
    """Where the key lies that will take the place of ``role``'s."""
    return folder.path(role).with_suffix(".next.pem")


def create_online_key(
    folder: KeyFolder, role: str, passphrase: bytes | None, scheme: Scheme = Scheme.ED25519
) -> tuple[Path, SSlibKey]:
    """Make the key of an online role, or its successor when it has one. Raises AlreadyExists for a second successor."""
    if role not in ONLINE_KEYS:
        raise CallerError("not an online key's name", subject=role, expected=", ".join(ONLINE_KEYS))
    path = folder.path(role)
    if path.exists():
        path = successor_path(folder, role)
    return path, create_key_file(path, scheme, passphrase)


def open_online_key(
    folder: KeyFolder,
    role: str,
    public_key: Key,
    secrets: SecretsProvider,
    *,
    encrypted: bool = True,
    uris: Mapping[str, str] | None = None,
) -> Signer:
    """The signer of ``role`` whose public half the signed metadata names: by its URI, else the file or its successor.

    ``uris``: role -> key URI from the configuration (KMS, token, systemd credential). Raises KeyUnavailable.
    """
    if uris and role in uris:
        return open_signer(uris[role], public_key, secrets)
    successor = successor_path(folder, role)
    try:
        return open_signer(key_file_uri(folder.path(role), encrypted=encrypted), public_key, secrets)
    except KeyUnavailable as error:
        if error.rule != "key-mismatch" or not successor.exists():
            raise
    return open_signer(key_file_uri(successor, encrypted=encrypted), public_key, secrets)


def open_online_keys(
    folder: KeyFolder,
    root: Root,
    bins: Targets,
    secrets: SecretsProvider,
    *,
    encrypted: bool = True,
    uris: Mapping[str, str] | None = None,
) -> dict[str, Signer]:
    """The index's signer of each online role (``timestamp``, ``snapshot``, ``bin``), as the metadata names them.

    With witnesses a role names several keys; the index's own is the one that opens here. Raises KeyUnavailable, also
    when a key of an offline role would be used online.
    """
    found = {}
    for role in ONLINE_ROLES:
        named = keys_named(bins if role == BIN_PREFIX else root, role)
        for key in named.values():
            require_online_only(root, key)
        found[role] = _first_that_opens(folder, role, list(named.values()), secrets, encrypted=encrypted, uris=uris)
    return found


def _first_that_opens(
    folder: KeyFolder,
    role: str,
    named: list[Key],
    secrets: SecretsProvider,
    *,
    encrypted: bool,
    uris: Mapping[str, str] | None,
) -> Signer:
    if not named:
        raise KeyUnavailable("the metadata names no key for this role", subject=role)
    for key in named[:-1]:
        try:
            return open_online_key(folder, role, key, secrets, encrypted=encrypted, uris=uris)
        except KeyUnavailable as error:
            if error.rule != "key-mismatch":
                raise
    return open_online_key(folder, role, named[-1], secrets, encrypted=encrypted, uris=uris)


def promote_successor(
    folder: KeyFolder, role: str, public_key: Key, secrets: SecretsProvider, *, encrypted: bool
) -> bool:
    """Put the successor in the key's place once the metadata names it; the old key is gone. False: there is none."""
    successor = successor_path(folder, role)
    if not successor.exists():
        return False
    open_signer(key_file_uri(successor, encrypted=encrypted), public_key, secrets)
    with durable.storage_errors():
        successor.replace(folder.path(role))
        durable.sync(successor.parent)
    return True


def require_online_only(root: Root, public_key: Key) -> None:
    """Raise KeyUnavailable when an offline role's key would be used on the index's machine."""
    for role in (ROOT, TARGETS):
        if public_key.keyid in root.roles[role].keyids:
            raise KeyUnavailable(
                "a key of an offline role may not be used online",
                rule="offline-key-online",
                subject=role,
                found=public_key.keyid,
            )
