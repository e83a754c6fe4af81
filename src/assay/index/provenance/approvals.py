"""What the operator asked for, said where the web process cannot write: a change of signers counts only with that.

The ledger alone proposes, and whoever breaks into the web process writes the ledger (threat B16). An approval is an
empty file in ``inbox/signers/``, named by the SHA-256 of the change; it goes when the signer has dealt with the change.
"""

from dataclasses import dataclass
from pathlib import Path

import orjson

from assay import durable
from assay.index.provenance.changes import SignerChange, encode_signer_change
from assay.model.digests import sha256_of
from assay.model.errors import SignerRefused


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals in the folder ``inbox`` of an index."""

    inbox: Path

    def give(self, change: SignerChange) -> None:
        """Approve ``change``. Durable on return."""
        durable.make_folder(self.inbox)
        durable.make_folder(self._path(change).parent)
        durable.replace_file(self._path(change), b"")

    def require(self, change: SignerChange) -> None:
        """Raise SignerRefused where the operator did not ask for ``change``."""
        if not self._path(change).is_file():
            raise SignerRefused(
                "nobody who may write the inbox asked for this change of signers",
                subject=change.project,
                rule="signers-not-approved",
                next_step="if this surprises you, web was broken into; else use assay certificate or attester",
            )

    def take_back(self, change: SignerChange) -> None:
        """Let ``change`` not be made once more."""
        self._path(change).unlink(missing_ok=True)

    def _path(self, change: SignerChange) -> Path:
        document = orjson.dumps(encode_signer_change(change), option=orjson.OPT_SORT_KEYS)
        return self.inbox / "signers" / sha256_of(document)
