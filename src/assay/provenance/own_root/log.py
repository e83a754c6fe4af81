"""The log: entries as Rekor v1 keeps them, each with the log's signed promise and its proof of inclusion.

Invariants: the log's state is its size and the roots of its perfect subtrees (RFC 6962 section 2.1), so that the proof
for the newest entry follows without any other entry. Two entries must never be appended to one state: the caller stores
the new state durably, compared and swapped, before it hands out the entry.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from securesystemslib.signer import Signer

from assay.provenance.own_root.signing import log_id_of, public_key_of, sign_der


@dataclass(frozen=True, slots=True)
class LogState:
    """A log of ``size`` entries. ``peaks``: roots of its perfect subtrees, largest first, one per bit of ``size``."""

    size: int
    peaks: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The tree's root hash (RFC 6962 section 2.1)."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = _node(peak, root)
        return root


EMPTY_LOG = LogState(0, ())


def append_leaf(state: LogState, leaf: bytes) -> tuple[LogState, tuple[bytes, ...]]:
    """The log with ``leaf`` as its newest entry, and the hashes that prove it is included, lowest first."""
    proof = tuple(reversed(state.peaks))
    peaks = [*state.peaks, hashlib.sha256(b"\x00" + leaf).digest()]
    size = state.size
    while size & 1:
        right, left = peaks.pop(), peaks.pop()
        peaks.append(_node(left, right))
        size >>= 1
    return LogState(state.size + 1, tuple(peaks)), proof


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def dsse_entry_body(payload: bytes, signature: bytes, certificate: x509.Certificate, envelope: bytes) -> bytes:
    """The canonical body of a Rekor ``dsse`` 0.0.1 entry: hashes of envelope and payload, the signature, who signed."""
    verifier = base64.b64encode(certificate.public_bytes(Encoding.PEM)).decode()
    return _canonical(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(envelope).hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [{"signature": base64.b64encode(signature).decode(), "verifier": verifier}],
            },
        }
    )


def append_entry(
    state: LogState, body: bytes, signer: Signer, origin: str, *, now: datetime
) -> tuple[LogState, dict[str, object]]:
    """Append ``body`` and say so: the new state, and the entry as the bundle format has it.

    ``origin``: the log's name in its checkpoints, one line without spaces.
    """
    log_id = log_id_of(public_key_of(signer))
    grown, proof = append_leaf(state, body)
    integrated = int(now.timestamp())
    promise = _canonical(
        {"body": _text(body), "integratedTime": integrated, "logID": log_id.hex(), "logIndex": state.size}
    )
    entry: dict[str, object] = {
        "logIndex": str(state.size),
        "logId": {"keyId": _text(log_id)},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": str(integrated),
        "inclusionPromise": {"signedEntryTimestamp": _text(sign_der(signer, promise))},
        "inclusionProof": {
            "logIndex": str(state.size),
            "rootHash": _text(grown.root),
            "treeSize": str(grown.size),
            "hashes": [_text(step) for step in proof],
            "checkpoint": {"envelope": _checkpoint(grown, signer, origin, log_id)},
        },
        "canonicalizedBody": _text(body),
    }
    return grown, entry


def _checkpoint(state: LogState, signer: Signer, origin: str, log_id: bytes) -> str:
    """A signed note (C2SP tlog-checkpoint) with the key hash that Rekor uses: the first bytes of the log's id."""
    note = f"{origin}\n{state.size}\n{_text(state.root)}\n"
    signature = log_id[:4] + sign_der(signer, note.encode())
    return f"{note}\n\u2014 {origin} {_text(signature)}\n"


def _canonical(document: dict[str, object]) -> bytes:
    """RFC 8785, for documents of ASCII texts and whole numbers, as these are."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
