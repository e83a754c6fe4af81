"""A witness's keys, one for each online role and one for the log; what is signed with them: what ``judge`` approved.

Invariants: one role's key serves no other role (a signature over a bin is none over a snapshot); a statement to another
witness has a type of its own, which is no TUF role.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer, SSlibKey

from assay.keys.custody import key_file_uri, open_signer, sign_bytes
from assay.keys.files import Scheme, create_key_file
from assay.keys.local import KeyFolder
from assay.keys.passphrase import SecretsProvider
from assay.model.errors import AssayError, CallerError, KeyUnavailable, VerificationFailed
from assay.trust import canonical
from assay.trust.candidate import Candidate, Cosignatures, cosigned, timestamp_of
from assay.trust.layout import BIN_PREFIX, ONLINE_ROLES, SNAPSHOT, TIMESTAMP
from assay.trust.log.checkpoint import render_head
from assay.trust.log.identity import LOG
from assay.trust.log.note import KeyKind, NoteSignature, VerifierKey, cosign_note
from assay.trust.witness_memory import Approval, Kind

KEY_NAMES = (*ONLINE_ROLES, LOG)
PUBLIC_FORMAT = "assay-witness-keys/1"
MAX_PUBLIC_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What others need to know of a witness: its name, and key name -> public key."""

    name: str
    keys: Mapping[str, SSlibKey]

    def keyids(self) -> dict[str, str]:
        """Key name -> key id, of the keys that stand in TUF roles."""
        return {role: self.keys[role].keyid for role in ONLINE_ROLES}

    @property
    def log(self) -> VerifierKey:
        """The key that stands under the log's checkpoints (C2SP tlog-cosignature)."""
        return VerifierKey(self.name, KeyKind.COSIGNATURE, bytes.fromhex(self.keys[LOG].keyval["public"]))


@dataclass(frozen=True, slots=True)
class Signed:
    """An approval in signatures. ``files``: the co-signed roles' files with the witness's signature; ``snapshot``: its
    file with every signature that is known.
    """

    answer: Cosignatures
    files: Mapping[str, bytes]
    snapshot: bytes


@dataclass(frozen=True, slots=True)
class WitnessKeys:
    """The open keys of a witness."""

    public: PublicKeys
    signers: Mapping[str, Signer]

    def cosign(self, approval: Approval, candidate: Candidate, now: datetime) -> Signed:
        """Sign what was approved, at ``now``; the timestamp where ``candidate`` makes clear which snapshot it names."""
        signatures = {
            role: sign_bytes(self.signers[SNAPSHOT if role == SNAPSHOT else BIN_PREFIX], payload)
            for role, payload in approval.payloads.items()
        }
        files = {
            role: cosigned(data, [signatures[role]]) if role in signatures else data
            for role, data in candidate.roles.items()
            if approval.accepted.get(role) is not None and approval.accepted[role].kind is not Kind.RETIRED
        }
        others = candidate.cosignatures or (signatures[SNAPSHOT],)
        snapshot = cosigned(candidate.snapshot, others)
        clear = candidate.cosignatures or approval.thresholds[SNAPSHOT] <= 2
        stamp = timestamp_of(approval.stamp, approval.snapshot.signed.version, snapshot)
        timestamp = sign_bytes(self.signers[TIMESTAMP], canonical.encode(stamp.to_dict())) if clear else None
        return Signed(Cosignatures(signatures, timestamp, self._cosign_log(approval, now)), files, snapshot)

    def _cosign_log(self, approval: Approval, now: datetime) -> NoteSignature | None:
        """The line under the checkpoint, where the log names this witness."""
        identity, head = approval.log, approval.stamp.log
        if identity is None or head is None or self.public.log not in identity.witnesses:
            return None
        signer = self.signers[LOG]
        sign = lambda message: bytes.fromhex(sign_bytes(signer, message).signature)  # noqa: E731
        return cosign_note(render_head(identity.origin, head), self.public.log, sign, int(now.timestamp()))

    def state(self, statement: Mapping[str, Any]) -> bytes:
        """``statement`` to another witness, signed. Its ``_type`` must be no TUF role's."""
        signature = sign_bytes(self.signers[SNAPSHOT], canonical.encode(dict(statement)))
        return orjson.dumps({"statement": statement, "signature": signature.to_dict()})


def read_statement(data: bytes, keyids: frozenset[str], keys: Mapping[str, Key]) -> dict[str, Any]:
    """A statement of another witness, signed by one of ``keys`` (by key id) that is in ``keyids``.

    Raises VerificationFailed.
    """
    try:
        document = orjson.loads(data)
        statement: dict[str, Any] = document["statement"]
        signature = Signature.from_dict(document["signature"])
        if signature.keyid not in keyids:
            raise ValueError("not this witness's key")
        keys[signature.keyid].verify_signature(signature, canonical.encode(statement))
    except (ValueError, KeyError, TypeError, AttributeError, AssayError, UnverifiedSignatureError) as error:
        raise VerificationFailed(
            "not a statement of the witness that was asked",
            rule="witness-statement",
            found=f"{type(error).__name__}: {error}"[:200],
        ) from error
    return statement


def make_keys(folder: KeyFolder, name: str, passphrase: bytes | None) -> PublicKeys:
    """Make the keys of a new witness below ``folder``. Raises AlreadyExists, KeyUnavailable."""
    keys = {role: create_key_file(folder.path(role), Scheme.ED25519, passphrase) for role in KEY_NAMES}
    return PublicKeys(name, keys)


def open_keys(folder: KeyFolder, public: PublicKeys, secrets: SecretsProvider, *, encrypted: bool) -> WitnessKeys:
    """Open the keys that ``public`` names. Raises KeyUnavailable."""
    signers = {
        role: open_signer(key_file_uri(folder.path(role), encrypted=encrypted), key, secrets)
        for role, key in public.keys.items()
    }
    return WitnessKeys(public, signers)


def render_public(public: PublicKeys) -> bytes:
    """The file that an operator hands to the index and to the ceremony."""
    keys = {role: {"keyid": key.keyid, "key": key.to_dict()} for role, key in public.keys.items()}
    document = {"format": PUBLIC_FORMAT, "name": public.name, "keys": keys}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


def parse_public(data: bytes, subject: str) -> PublicKeys:
    """The inverse of ``render_public``. Raises CallerError, KeyUnavailable for a key under another's id."""
    try:
        document = orjson.loads(data[: MAX_PUBLIC_BYTES + 1])
        if document["format"] != PUBLIC_FORMAT or set(document["keys"]) != set(KEY_NAMES):
            raise ValueError("another format, or not one key for each role")
        keys = {role: SSlibKey.from_dict(entry["keyid"], entry["key"]) for role, entry in document["keys"].items()}
        public = PublicKeys(str(document["name"]), keys)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CallerError("not the public keys of a witness", subject=subject, found=str(error)[:200]) from error
    for key in public.keys.values():
        if key.keyid != SSlibKey.from_crypto(key._crypto_key(), scheme=key.scheme).keyid:
            raise KeyUnavailable("a key's id is not its own hash", subject=subject, found=key.keyid)
    return public


def read_public(path: Path) -> PublicKeys:
    """The public keys in a file. Raises CallerError."""
    try:
        return parse_public(path.read_bytes(), str(path))
    except OSError as error:
        raise CallerError(f"cannot be read: {error.strerror}", subject=str(path)) from error
