"""Where TUF speaks of the log: its key in ``targets`` (offline), its newest head in ``timestamp``.

Both are fields that TUF clients do not know and must ignore (TUF 1.0.34 section 4.1), inside what is signed. So the
log's key is vouched for by people, and a head is as fresh, and as witnessed, as the timestamp that carries it.
"""

import hashlib
from typing import Any, Final

from tuf.api.metadata import Targets, Timestamp

from assay.model.errors import VerificationFailed
from assay.trust.log.checkpoint import LogHead, LogIdentity
from assay.trust.log.note import KeyKind, VerifierKey, parse_vkey
from assay.trust.log.tree import HASH_BYTES, MAX_SIZE, Hash

LOG: Final = "log"
"""The name of the log's key among the index's online keys, and of its folder."""

FIELD: Final = "x-assay-log"
LOG_INDEX: Final = "log_index"
"""In a target's ``custom``: the number of the entry that published it."""

MAX_WITNESSES: Final = 32


def identity_of_key(public: bytes, origin: str | None = None) -> LogIdentity:
    """The identity of a log with this Ed25519 key; an ``origin`` is made of the key where none is given.

    The origin stays when the key is replaced: it names the tree.
    """
    name = origin or f"assay-log/{hashlib.sha256(public).hexdigest()[:20]}"
    return LogIdentity(name, VerifierKey(name, KeyKind.ED25519, public))


def name_log(targets: Targets, identity: LogIdentity) -> None:
    """Put the log's identity into a ``targets`` role that is about to be signed."""
    document: dict[str, Any] = {"origin": identity.origin, "vkey": str(identity.key)}
    if identity.witnesses:
        document |= {"witnesses": [str(key) for key in identity.witnesses], "threshold": identity.threshold}
    targets.unrecognized_fields[FIELD] = document


def named_log(targets: Targets) -> LogIdentity | None:
    """The log that a verified ``targets`` role names; None where it names none. Raises VerificationFailed."""
    document = targets.unrecognized_fields.get(FIELD)
    if document is None:
        return None
    try:
        witnesses = tuple(parse_vkey(text) for text in document.get("witnesses", []))
        identity = LogIdentity(
            document["origin"], parse_vkey(document["vkey"]), witnesses, document.get("threshold", 0)
        )
        sound = (
            isinstance(identity.origin, str)
            and identity.key.kind is KeyKind.ED25519
            and all(key.kind is KeyKind.COSIGNATURE for key in witnesses)
            and len({key.public for key in witnesses}) == len(witnesses) <= MAX_WITNESSES
            and type(identity.threshold) is int
            and 0 <= identity.threshold <= len(witnesses)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _malformed("targets", f"{type(error).__name__}: {error}") from error
    if not sound:
        raise _malformed("targets", str(document)[:200])
    return identity


def state_head(timestamp: Timestamp, head: LogHead) -> None:
    """Put the log's newest head into a ``timestamp`` that is about to be signed."""
    timestamp.unrecognized_fields[FIELD] = {"size": head.size, "root": head.root.hex()}


def stated_head(timestamp: Timestamp) -> LogHead | None:
    """The head that a verified ``timestamp`` states; None where it states none. Raises VerificationFailed."""
    document = timestamp.unrecognized_fields.get(FIELD)
    if document is None:
        return None
    try:
        size, root = document["size"], bytes.fromhex(document["root"])
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed("timestamp", f"{type(error).__name__}: {error}") from error
    if type(size) is not int or not 0 <= size <= MAX_SIZE or len(root) != HASH_BYTES:
        raise _malformed("timestamp", str(document)[:200])
    return LogHead(size, Hash(root))


def _malformed(role: str, found: str) -> VerificationFailed:
    return VerificationFailed(f"malformed {FIELD} field", subject=role, rule="malformed", found=found)
