"""Who asks for an attestation of an own root: what verified identity tokens and client certificates say of them.

Invariant: nothing here verifies a token's signature (the caller did); a claim that is needed and missing refuses, and
is never guessed. Sources: Fulcio's mapping of claims to certificates; GitLab's identity token claims.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from assay.model.errors import NotAllowed
from assay.provenance.identities import SignerIdentity

_RULE: Final = "own-root-identity"


class ClaimsKind(Enum):
    """How an issuer's claims are read: a person or service by its subject, or a pipeline of a GitLab server."""

    SUBJECT = "subject"
    EMAIL = "email"
    GITLAB = "gitlab"


def identity_of_claims(issuer: str, claims: Mapping[str, Any], kind: ClaimsKind) -> SignerIdentity:
    """The holder of a verified identity token of ``issuer``. Raises NotAllowed (``own-root-identity``)."""
    match kind:
        case ClaimsKind.SUBJECT:
            subject = _text(claims, "sub")
            return SignerIdentity(issuer, (subject if "://" in subject or "@" in subject else f"{issuer}/{subject}",))
        case ClaimsKind.EMAIL:
            if claims.get("email_verified") is not True:
                raise _refused("the issuer has not verified this e-mail address", str(claims.get("email"))[:100])
            return SignerIdentity(issuer, (_text(claims, "email"),))
        case ClaimsKind.GITLAB:
            return _pipeline(issuer, claims)


def _pipeline(issuer: str, claims: Mapping[str, Any]) -> SignerIdentity:
    prefix = "refs/tags/" if claims.get("ref_type") == "tag" else "refs/heads/"
    config = f"https://{_text(claims, 'ci_config_ref_uri')}"
    repository = f"{issuer}/{_text(claims, 'project_path')}"
    return SignerIdentity(
        issuer=issuer,
        subjects=(config,),
        repository=repository,
        repository_id=_text(claims, "project_id"),
        owner=f"{issuer}/{_text(claims, 'namespace_path')}",
        owner_id=_text(claims, "namespace_id"),
        build_config=config,
        build_signer=config,
        ref=prefix + _text(claims, "ref"),
        digest=_text(claims, "sha"),
        runner=claims.get("runner_environment"),
        trigger=claims.get("pipeline_source"),
        run=f"{repository}/-/jobs/{_text(claims, 'job_id')}",
    )


def identity_of_certificate(
    certificate: x509.Certificate, authority: x509.Certificate, issuer: str, now: datetime
) -> SignerIdentity:
    """The holder of a client certificate that ``authority`` issued, under the name ``issuer``.

    Its one subject is the certificate's alternative name that is an e-mail address or a URI. Whether the caller holds
    its key is the caller's matter. Raises NotAllowed (``own-root-identity``).
    """
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise _refused("another authority issued this certificate", certificate.issuer.rfc4514_string()) from error
    for part in (certificate, authority):
        if not part.not_valid_before_utc <= now <= part.not_valid_after_utc:
            raise _refused("a certificate is not valid now", f"until {part.not_valid_after_utc.isoformat()}")
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise _refused("not a client certificate with an alternative name", str(error)[:100]) from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise _refused("not a certificate for clients", "another extended key usage")
    subjects = (
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
    )
    if len(subjects) != 1:
        raise _refused("not exactly one e-mail address or URI in the certificate", ", ".join(subjects) or "none")
    return SignerIdentity(issuer, subjects)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 500:
        raise _refused(f"the identity token has no sound claim {name!r}", repr(value)[:100])
    return value


def _refused(what: str, found: str) -> NotAllowed:
    return NotAllowed(f"no attestation for this identity: {what}", rule=_RULE, found=found)
