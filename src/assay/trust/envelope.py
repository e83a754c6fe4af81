"""Signed metadata files: reading them with nothing trusted yet, and writing them.

``Envelope`` says only that the bytes are well-formed metadata of the expected type; whether anybody we trust signed it
is decided by ``trust.verify``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from securesystemslib.signer import Signature, Signer
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from assay.model.errors import VerificationFailed
from assay.trust import canonical
from assay.trust.lean import LeanSnapshot, LeanTargets, integral_member

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)

MAX_SIGNATURES = 64


@dataclass(frozen=True, slots=True)
class Envelope(Generic[T]):
    """One metadata file. ``payload`` is the canonical JSON that signatures are over; ``data`` the file's bytes."""

    signed: T
    payload: bytes
    signatures: dict[str, Signature]
    data: bytes


def parse_envelope(data: bytes, kind: type[T], role: str) -> Envelope[T]:
    """Read a metadata file of ``kind``. Raises VerificationFailed naming ``role`` when it is not one."""
    try:
        document = orjson.loads(data)
        signed, listed = document["signed"], document["signatures"]
        if signed["_type"] != kind.type:
            raise ValueError(f"type is {signed['_type']!r}, expected {kind.type!r}")
        _require_plain(signed)
        if kind is Snapshot:
            read: Any = LeanSnapshot.from_dict(dict(signed))
            payload = canonical.encode(signed, integral_member(read))
        else:
            payload = canonical.encode(signed)
            read = (LeanTargets if kind is Targets else kind).from_dict(signed)
            if kind is not Targets and canonical.encode(read.to_dict()) != payload:
                raise ValueError("not as it would be written")  # a default that python-tuf fills in
        return Envelope(read, payload, read_signatures(listed), data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VerificationFailed(
            "malformed metadata", subject=role, rule="malformed", found=f"{type(error).__name__}: {error}"
        ) from error


def _require_plain(signed: dict[str, Any]) -> None:
    """Raise ValueError where python-tuf reads null as a default, or believes the type of a delegation's names."""
    _require_types(signed, version=int, spec_version=str, expires=str)
    if signed["_type"] == Root.type:
        _require_types(signed, consistent_snapshot=bool)
    for role in (signed.get("delegations") or {}).get("roles") or ():
        _require_types(role, name=str, terminating=bool)
        for name in ("paths", "path_hash_prefixes", "keyids"):
            if not all(type(text) is str for text in role.get(name) or ()):
                raise ValueError(f"{name} of {role['name'][:100]} are not texts")


def _require_types(document: dict[str, Any], **kinds: type) -> None:
    for name, kind in kinds.items():
        if type(document[name]) is not kind:
            raise ValueError(f"{name} is not {kind.__name__}, but {type(document[name]).__name__}")


def read_signatures(listed: Sequence[dict[str, Any]]) -> dict[str, Signature]:
    """Signatures by key id. Raises ValueError, KeyError or TypeError for what is none, or too many."""
    if len(listed) > MAX_SIGNATURES:
        raise ValueError(f"{len(listed)} signatures, at most {MAX_SIGNATURES} are read")
    signatures: dict[str, Signature] = {}
    for entry in listed:
        signature = Signature.from_dict(entry)
        if signature.keyid in signatures:
            raise ValueError(f"two signatures of key {signature.keyid}")
        signatures[signature.keyid] = signature
    return signatures


def sign_envelope(signed: Root | Timestamp | Snapshot | Targets, signers: Sequence[Signer]) -> bytes:
    """The file of ``signed`` with one signature of each signer."""
    document = signed.to_dict()
    payload = canonical.encode(document, integral_member(signed))
    return assemble(document, [signer.sign(payload) for signer in signers], payload)


def assemble(document: dict[str, Any], signatures: Sequence[Signature], payload: bytes | None = None) -> bytes:
    """A metadata file from a role's dictionary and signatures over its canonical form.

    ``payload``: that form, where it is at hand; a large role is then not written twice.
    """
    listed = [signature.to_dict() for signature in signatures]
    if payload is not None and canonical.is_json(payload):
        return b'{"signatures":%b,"signed":%b}' % (orjson.dumps(listed, option=orjson.OPT_SORT_KEYS), payload)
    return orjson.dumps({"signatures": listed, "signed": document}, option=orjson.OPT_SORT_KEYS)
