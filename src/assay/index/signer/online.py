"""The online keys: one for timestamp, one for snapshot, one for all bins. Only the signer's process opens them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import Signer, SSlibKey
from tuf.api.metadata import Root, Targets

from assay.keys.local import KeyFolder
from assay.keys.online import open_online_key, open_online_keys, promote_successor
from assay.model.errors import KeyUnavailable
from assay.trust.layout import BIN_PREFIX, SNAPSHOT, TIMESTAMP
from assay.trust.log.checkpoint import LogIdentity
from assay.trust.log.identity import LOG
from assay.trust.log.note import Sign


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """The signers of the online roles."""

    timestamp: Signer
    snapshot: Signer
    bin: Signer


@dataclass(frozen=True, slots=True)
class Keyring:
    """Where the signer's private keys are. ``uris``: role -> key URI of those that are no files.

    ``passphrase`` None: the key files are unencrypted (``--insecure-dev-keys``).
    """

    folder: KeyFolder
    passphrase: str | None = field(repr=False)
    uris: Mapping[str, str] = field(default_factory=dict)

    def open(self, root: Root, bins: Targets) -> OnlineKeys:
        """The signer of each online role, as ``root`` and ``bins`` name them. Raises KeyUnavailable."""
        encrypted = self.passphrase is not None
        return OnlineKeys(
            **open_online_keys(self.folder, root, bins, self._secret, encrypted=encrypted, uris=self.uris)
        )

    def open_log(self, identity: LogIdentity) -> Sign:
        """The signing function of the log's key, as ``identity`` names it. Raises KeyUnavailable."""
        public = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(identity.key.public))
        encrypted = self.passphrase is not None
        signer = open_online_key(self.folder, LOG, public, self._secret, encrypted=encrypted, uris=self.uris)
        return lambda message: bytes.fromhex(signer.sign(message).signature)

    def promote(self, keys: OnlineKeys) -> None:
        """Put each key file that is named by now in the place of the one before it; that one is gone."""
        for role, signer in ((TIMESTAMP, keys.timestamp), (SNAPSHOT, keys.snapshot), (BIN_PREFIX, keys.bin)):
            try:
                promote_successor(
                    self.folder, role, signer.public_key, self._secret, encrypted=self.passphrase is not None
                )
            except KeyUnavailable as error:
                if error.rule != "key-mismatch":
                    raise

    def _secret(self, _name: str, /) -> str:
        return self.passphrase or ""
