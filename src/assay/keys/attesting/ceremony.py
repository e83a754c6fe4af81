"""The ceremony of an own attestation authority: plan online, sign offline, publish online.

Only the plan and the certificates travel. The offline key signs two certificates and is not needed again until the
issuing key is replaced; it may lie in a file or a token. Whoever signs sees what the plan says.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import Key, SSlibKey

from assay import durable
from assay.keys.attesting.folder import ISSUING, ONLINE, AuthorityFolder, read_document, write_document
from assay.keys.custody import key_file_uri, open_signer, read_public_key
from assay.keys.files import Scheme, create_key_file
from assay.keys.passphrase import SecretsProvider
from assay.model.errors import AlreadyExists, CallerError, VerificationFailed
from assay.provenance.own_root.attest import Issuer, render_trusted_root
from assay.provenance.own_root.certificates import Authority, make_authority
from assay.provenance.own_root.signing import p256_key, spki

LIFETIME: Final = timedelta(days=3650)
PLAN, CERTIFICATES = "plan.json", "authority.json"


@dataclass(frozen=True, slots=True)
class AuthorityPlan:
    """What an authority will be. ``keys``: the public keys of ``folder.ONLINE``; ``since`` in UTC."""

    organization: str
    url: str
    origin: str
    since: datetime
    keys: dict[str, SSlibKey]


def plan_authority(
    folder: AuthorityFolder, organization: str, url: str, origin: str, passphrase: bytes | None, now: datetime
) -> AuthorityPlan:
    """Make the online keys in ``folder`` and write the plan there. Raises AlreadyExists.

    ``url`` and ``origin`` name the instance and its log for people; nothing is ever fetched from them.
    """
    if folder.plan_file.exists():
        raise AlreadyExists("there is an attestation authority in this folder", subject=str(folder.root))
    if not organization.isprintable() or not 1 <= len(organization) <= 60:
        raise CallerError("not a name for an organisation", subject=repr(organization[:60]))
    keys = {name: create_key_file(folder.key(name), Scheme.P256, passphrase) for name in ONLINE}
    plan = AuthorityPlan(organization, url, origin, now.replace(microsecond=0), keys)
    write_document(folder.plan_file, _render_plan(plan))
    return plan


def read_plan(path: Path) -> AuthorityPlan:
    """The plan in the file ``path``. Raises CallerError."""
    document = read_document(path)
    try:
        return AuthorityPlan(
            str(document["organization"]),
            str(document["url"]),
            str(document["origin"]),
            datetime.fromisoformat(document["since"]),
            {name: _read_key(document["keys"][name]) for name in ONLINE},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CallerError(
            "not the plan of an attestation authority", subject=str(path), rule="attestation-authority"
        ) from error


def _render_plan(plan: AuthorityPlan) -> dict[str, Any]:
    return {
        "organization": plan.organization,
        "url": plan.url,
        "origin": plan.origin,
        "since": plan.since.isoformat(),
        "keys": {name: {"keyid": key.keyid, **key.to_dict()} for name, key in plan.keys.items()},
    }


def _read_key(document: dict[str, Any]) -> SSlibKey:
    key = Key.from_dict(document.pop("keyid"), document)
    if not isinstance(key, SSlibKey):
        raise TypeError("not a key that can be used here")
    return key


def sign_authority(
    plan: AuthorityPlan, key: str, secrets: SecretsProvider, now: datetime, serial: Callable[[], int], out: Path
) -> Authority:
    """Offline: make both certificates with the key at the URI ``key``, and write them to the file ``out``.

    Raises OperatorError (``own-root-key``) for another key than P-256, KeyUnavailable.
    """
    if out.exists():
        raise AlreadyExists("these certificates were made already", subject=str(out))
    root = open_signer(key, read_public_key(key, secrets), secrets)
    authority = make_authority(
        plan.organization,
        root,
        plan.keys[ISSUING],
        now=now,
        lifetime=LIFETIME,
        serials=(serial(), serial()),
    )
    certificates = {"root": _pem(authority.root), "issuing": _pem(authority.issuing)}
    write_document(out, certificates)
    return authority


def publish_authority(folder: AuthorityFolder, certificates: Path, secrets: SecretsProvider, encrypted: bool) -> bytes:
    """Take the signed certificates in, and write the trusted root, which is returned. Again changes nothing.

    Raises VerificationFailed where they do not fit the plan.
    """
    plan = read_plan(folder.plan_file)
    authority = _read_authority(certificates)
    _require_chain(authority, plan)
    issuer = _issuer(folder, plan, authority, secrets, encrypted=encrypted)
    root = render_trusted_root(issuer, url=plan.url, since=plan.since)
    if folder.trusted_root.exists() and folder.trusted_root.read_bytes() != root:
        raise AlreadyExists("this authority has other certificates", subject=str(folder.trusted_root))
    write_document(folder.authority_file, {"root": _pem(authority.root), "issuing": _pem(authority.issuing)})
    durable.write_file(folder.trusted_root, root)
    return root


def open_issuer(folder: AuthorityFolder, secrets: SecretsProvider, *, encrypted: bool) -> Issuer:
    """What issues attestations, with its online keys open. Raises CallerError, KeyUnavailable."""
    plan = read_plan(folder.plan_file)
    authority = _read_authority(folder.authority_file)
    _require_chain(authority, plan)
    return _issuer(folder, plan, authority, secrets, encrypted=encrypted)


def _issuer(
    folder: AuthorityFolder, plan: AuthorityPlan, authority: Authority, secrets: SecretsProvider, *, encrypted: bool
) -> Issuer:
    issuing, certificate_log, log = (
        open_signer(key_file_uri(folder.key(name), encrypted=encrypted), plan.keys[name], secrets) for name in ONLINE
    )
    return Issuer(authority, issuing, certificate_log, log, plan.origin)


def _read_authority(path: Path) -> Authority:
    document = read_document(path)
    try:
        issuing, root = (x509.load_pem_x509_certificate(document[name].encode()) for name in ("issuing", "root"))
    except (KeyError, ValueError, AttributeError) as error:
        raise CallerError("these are no certificates", subject=str(path), rule="attestation-authority") from error
    return Authority(issuing, root)


def _require_chain(authority: Authority, plan: AuthorityPlan) -> None:
    planned = spki(p256_key(plan.keys[ISSUING]))
    found = authority.issuing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        authority.root.verify_directly_issued_by(authority.root)
        authority.issuing.verify_directly_issued_by(authority.root)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise VerificationFailed(
            "the authority's certificates do not form a chain", rule="attestation-authority", found=str(error)
        ) from error
    if found != planned:
        raise VerificationFailed("the certificates are for other keys than planned", rule="attestation-authority")


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
