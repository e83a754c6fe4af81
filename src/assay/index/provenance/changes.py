"""Changes of who signs for a project, as proposals: typed, and JSON for the outbox.

A change carries the certificate or trust root itself; the signer reads it, merges it with what was published, and pins
the result in the project's page.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assay.model.digests import sha256_of
from assay.model.names import ProjectName
from assay.model.signers import PublisherMembers


@dataclass(frozen=True, slots=True)
class AddCertificate:
    """Register the certificate in ``data``, or merge it into the registered one of the same fingerprint."""

    project: ProjectName
    data: bytes
    optional: bool


@dataclass(frozen=True, slots=True)
class RevokeCertificate:
    """Apply ``revocation``, an armored OpenPGP revocation, to the registered certificate."""

    project: ProjectName
    fingerprint: str
    revocation: bytes


@dataclass(frozen=True, slots=True)
class EndCertificate:
    """Expect a certificate no longer; with ``distrust`` nothing counts that it ever signed."""

    project: ProjectName
    fingerprint: str
    distrust: bool


@dataclass(frozen=True, slots=True)
class AddPublisher:
    """Register a publisher of attestations that verify with ``root``, a trusted_root.json, or None for Sigstore's."""

    project: ProjectName
    members: PublisherMembers
    root: bytes | None
    optional: bool


@dataclass(frozen=True, slots=True)
class EndPublisher:
    """Expect a publisher no longer; with ``distrust`` nothing counts that it ever attested."""

    project: ProjectName
    members: PublisherMembers
    distrust: bool


SignerChange = AddCertificate | RevokeCertificate | EndCertificate | AddPublisher | EndPublisher


def encode_signer_change(change: SignerChange) -> dict[str, Any]:
    """``change`` as JSON for the outbox."""
    match change:
        case AddCertificate():
            facts: dict[str, Any] = {"data": _text(change.data), "optional": change.optional}
        case RevokeCertificate():
            facts = {"fingerprint": change.fingerprint, "revocation": _text(change.revocation)}
        case EndCertificate():
            facts = {"fingerprint": change.fingerprint, "distrust": change.distrust}
        case AddPublisher():
            root = _text(change.root) if change.root is not None else None
            facts = {"publisher": dict(change.members), "root": root, "optional": change.optional}
        case EndPublisher():
            facts = {"publisher": dict(change.members), "distrust": change.distrust}
    return {"kind": _KINDS[type(change)], "project": change.project, **facts}


def change_facts(change: SignerChange) -> dict[str, Any]:
    """``change`` as an event tells it: certificates and roots by their SHA-256."""
    document = encode_signer_change(change)
    facts = {name: value for name, value in document.items() if name not in ("kind", "project", *_LONG)}
    pinned = {f"{name}_sha256": sha256_of(_bytes(document[name])) for name in _LONG if document.get(name) is not None}
    return {"change": document["kind"], **facts, **pinned}


def decode_signer_change(project: ProjectName, document: Mapping[str, Any]) -> SignerChange:
    """The inverse of ``encode_signer_change``. Raises KeyError, TypeError or ValueError for anything else."""
    return _DECODERS[document["kind"]](project, document)


_LONG: Final = ("data", "revocation", "root")
_KINDS: Final[Mapping[type[SignerChange], str]] = {
    AddCertificate: "add-certificate",
    RevokeCertificate: "revoke-certificate",
    EndCertificate: "end-certificate",
    AddPublisher: "add-publisher",
    EndPublisher: "end-publisher",
}
_DECODERS: Final[Mapping[str, Callable[[ProjectName, Mapping[str, Any]], SignerChange]]] = {
    "add-certificate": lambda project, row: AddCertificate(project, _bytes(row["data"]), _flag(row["optional"])),
    "revoke-certificate": lambda project, row: RevokeCertificate(
        project, _str(row["fingerprint"]), _bytes(row["revocation"])
    ),
    "end-certificate": lambda project, row: EndCertificate(project, _str(row["fingerprint"]), _flag(row["distrust"])),
    "add-publisher": lambda project, row: AddPublisher(
        project,
        _members(row["publisher"]),
        _bytes(row["root"]) if row["root"] is not None else None,
        _flag(row["optional"]),
    ),
    "end-publisher": lambda project, row: EndPublisher(project, _members(row["publisher"]), _flag(row["distrust"])),
}
SIGNER_CHANGE_KINDS: Final = frozenset(_DECODERS)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(_str(value), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"not a flag: {value!r}")
    return value


def _members(value: object) -> PublisherMembers:
    if not isinstance(value, dict):
        raise TypeError("not a publisher")
    return tuple(sorted((_str(name), _str(text)) for name, text in value.items()))
