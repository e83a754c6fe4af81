"""The folder of an attestation authority, and its log on disk.

Invariants: the log's state moves under a lock, and the entry is durable with the new state before an attestation is
handed out, so that no two entries are ever appended to one state; private keys lie in ``keys/`` alone.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assay import durable
from assay.model.errors import CallerError, NotAllowed, OperatorError
from assay.provenance.own_root.log import EMPTY_LOG, LogState

ISSUING, CERTIFICATE_LOG, LOG = "issuing", "certificate-log", "log"
ONLINE: Final = (ISSUING, CERTIFICATE_LOG, LOG)
FORMAT: Final = "assay-attestation-authority/1"


@dataclass(frozen=True, slots=True)
class AuthorityFolder:
    """An attestation authority at ``root``."""

    root: Path

    def key(self, name: str) -> Path:
        """The key file of one of ``ONLINE``."""
        return self.root / "keys" / f"{name}.pem"

    @property
    def plan_file(self) -> Path:
        """What was planned: names and public keys."""
        return self.root / "plan.json"

    @property
    def authority_file(self) -> Path:
        """The authority's two certificates, once its offline key signed them."""
        return self.root / "authority.json"

    @property
    def trusted_root(self) -> Path:
        """What verifiers are given."""
        return self.root / "trusted_root.json"

    @property
    def identities_file(self) -> Path:
        """Whom attestations are issued to (docs/provenance.md)."""
        return self.root / "identities.toml"

    # --- the log ----------------------------------------------------------------------------------------------

    @contextmanager
    def log_locked(self) -> Iterator[LogState]:
        """The newest state of the log; nobody else appends while the block lasts. Raises OperatorError."""
        durable.make_folder(self._log, mode=0o700)
        descriptor = os.open(self._log / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield self._read_state()
        finally:
            os.close(descriptor)

    def append(self, before: LogState, after: LogState, attestation: bytes) -> None:
        """Keep ``attestation``, the entry that leads from ``before`` to ``after``. Durable on return."""
        entry = self._log / f"{before.size}.json"
        state = json.dumps({"size": after.size, "peaks": [peak.hex() for peak in after.peaks]}).encode()
        durable.write_file(entry, attestation)
        durable.write_file(self._log / "state.json", state)

    def spend(self, token: str) -> None:
        """Note that the identity token with this id was used. Raises NotAllowed (``reused-token``) the second time."""
        spent = self.root / "spent"
        durable.make_folder(spent, mode=0o700)
        try:
            os.close(os.open(spent / token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise NotAllowed(
                "this identity token was used before",
                rule="reused-token",
                next_step="ask the issuer for a new one; a token buys attestations once",
            ) from None
        durable.sync(spent)

    @property
    def _log(self) -> Path:
        return self.root / "log"

    def _read_state(self) -> LogState:
        try:
            document = json.loads((self._log / "state.json").read_bytes())
            state = LogState(int(document["size"]), tuple(bytes.fromhex(peak) for peak in document["peaks"]))
        except FileNotFoundError:
            state = EMPTY_LOG
        except (ValueError, KeyError, TypeError) as error:
            raise _broken_log(f"its state cannot be read: {error}") from error
        if state.size.bit_count() != len(state.peaks):
            raise _broken_log("its state is not that of a log")
        if (self._log / f"{state.size}.json").exists():
            return state  # a crash before the state was written: the entry was never handed out, and is written again
        if state.size and not (self._log / f"{state.size - 1}.json").exists():
            raise _broken_log("its newest entry is gone")
        return state


def read_document(path: Path) -> dict[str, Any]:
    """A JSON document of the folder or a draft. Raises CallerError."""
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError("another format")
    except FileNotFoundError:
        raise CallerError("this is not there", subject=str(path), rule="attestation-authority") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CallerError(
            "not a file of an attestation authority", subject=str(path), rule="attestation-authority", found=str(error)
        ) from error
    return document


def write_document(path: Path, facts: dict[str, Any]) -> None:
    """Write a JSON document. Durable on return."""
    durable.write_file(path, json.dumps({"format": FORMAT, **facts}, indent=1, sort_keys=True).encode())


def _broken_log(found: str) -> OperatorError:
    return OperatorError(
        "the authority's log cannot be continued",
        rule="attestation-log-state",
        found=found,
        next_step="restore the folder 'log' from a backup; never begin it anew under the same key",
    )
