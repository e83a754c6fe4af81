"""The online keys: one for timestamp, one for snapshot, one for all bins. Only the signer's process opens them."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Key, Signer, SSlibKey
from tuf.api.metadata import Root, Targets

from assay.keys.custody import key_file_uri, open_signer
from assay.keys.local import KeyFolder
from assay.keys.online import open_online_key
from assay.model.errors import KeyUnavailable
from assay.trust.layout import BIN_PREFIX, SNAPSHOT, TIMESTAMP
from assay.trust.log.checkpoint import LogIdentity
from assay.trust.log.identity import LOG
from assay.trust.log.note import Sign
from assay.trust.plan import succinct_roles


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """The signers of the online roles."""

    timestamp: Signer
    snapshot: Signer
    bin: Signer


def open_online_keys(folder: KeyFolder, root: Root, bins: Targets, passphrase: str | None) -> OnlineKeys:
    """Open the key of each online role, as ``root`` and ``bins`` name them. Raises KeyUnavailable.

    ``passphrase`` None: the key files are unencrypted (``--insecure-dev-keys``).
    """

    def secret(_name: str, /) -> str:
        return passphrase or ""

    def opened(role: str, keys: dict[str, Key], keyids: list[str]) -> Signer:
        if len(keyids) != 1:
            raise KeyUnavailable(
                "the index holds exactly one key of an online role", subject=role, found=str(len(keyids))
            )
        return open_signer(key_file_uri(folder.path(role), encrypted=passphrase is not None), keys[keyids[0]], secret)

    delegations = bins.delegations
    return OnlineKeys(
        timestamp=opened(TIMESTAMP, root.keys, root.roles[TIMESTAMP].keyids),
        snapshot=opened(SNAPSHOT, root.keys, root.roles[SNAPSHOT].keyids),
        bin=opened(BIN_PREFIX, delegations.keys if delegations else {}, succinct_roles(bins).keyids),
    )


def open_log_key(folder: KeyFolder, identity: LogIdentity, passphrase: str | None) -> Sign:
    """The signing function of the log's key, as ``identity`` names it. Raises KeyUnavailable."""
    public = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(identity.key.public))

    def secret(_name: str, /) -> str:
        return passphrase or ""

    signer = open_online_key(folder, LOG, public, secret, encrypted=passphrase is not None)
    return lambda message: bytes.fromhex(signer.sign(message).signature)
