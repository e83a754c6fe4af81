"""Who signs for a project, changed: from the signers of the published page to those of the next one.

Invariants: a certificate only ever grows (it is merged with the published one, so a revocation cannot be undone); an
entry is never removed, it ends; distrust is never taken back. Certificates and trust roots are published files that the
page pins by their SHA-256. Everything follows from the change, the published state and ``now``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from assay.index.provenance.changes import (
    AddCertificate,
    AddPublisher,
    EndCertificate,
    EndPublisher,
    RevokeCertificate,
    SignerChange,
)
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import AlreadyExists, CallerError, NotFound, SignerRefused
from assay.model.names import ProjectName
from assay.model.signers import PublisherMembers, RegisteredCertificate, RegisteredPublisher, Signers, Term
from assay.provenance.openpgp import Certificate, merge_certificates, parse_certificate, revoke_certificate
from assay.provenance.publishers import describe_publisher, parse_publisher, render_publisher
from assay.provenance.sigstore_trust import SigstoreTrust, load_trust

MAX_ENTRIES: Final = 64
"""Certificates, and publishers, that a project can ever have had: its page is fetched by everybody."""

Read = Callable[[str], bytes | None]
"""The published file of that name, or None."""


@dataclass(frozen=True, slots=True)
class ChangedSigners:
    """The signers after a change, and the ``files`` to publish with it, by name."""

    signers: Signers
    files: dict[str, bytes]


def certificate_name(project: ProjectName, sha256: Sha256) -> str:
    """Where a certificate is published, below the index's URL."""
    return f"certificates/{project}/{sha256}.pgp"


def root_name(project: ProjectName, sha256: Sha256) -> str:
    """Where a project's trust root is published, below the index's URL."""
    return f"trust-roots/{project}/{sha256}.json"


def read_pinned(name: str, sha256: Sha256, read: Read) -> bytes:
    """The published file ``name``, which a page pins. Raises SignerRefused where it is gone or was changed."""
    data = read(name)
    if data is None or sha256_of(data) != sha256:
        raise SignerRefused(
            "a published certificate or trust root is not the one that was pinned",
            subject=name,
            rule="signer-pin",
            expected=f"sha256 {sha256}",
            found=f"sha256 {sha256_of(data)}" if data is not None else "no file",
            next_step="restore the file from a backup or a mirror",
        )
    return data


def change_signers(signers: Signers, change: SignerChange, read: Read, now: datetime) -> ChangedSigners:
    """``signers`` after ``change`` at ``now``.

    Raises VerificationFailed for a certificate, revocation or root that is none; CallerError where there is nothing to
    change; SignerRefused for a published file that was changed.
    """
    match change:
        case AddCertificate():
            return _add_certificate(signers, change, read, now)
        case RevokeCertificate():
            entry = _certificate(signers, change.fingerprint)
            known = _published_certificate(change.project, entry, read)
            revoked = revoke_certificate(known, change.revocation)
            return _with_certificate(signers, change.project, revoked, entry.term)
        case EndCertificate():
            entry = _certificate(signers, change.fingerprint)
            ended = replace(entry, term=entry.term.end(now, distrusted=change.distrust))
            return ChangedSigners(_replace_certificate(signers, ended), {})
        case AddPublisher():
            return _add_publisher(signers, change, now)
        case EndPublisher():
            return ChangedSigners(_end_publishers(signers, change.members, now, distrust=change.distrust), {})


# --- certificates ---------------------------------------------------------------------------------------------


def _add_certificate(signers: Signers, change: AddCertificate, read: Read, now: datetime) -> ChangedSigners:
    update = parse_certificate(change.data)
    entry = next((each for each in signers.certificates if each.fingerprint == update.fingerprint), None)
    if entry is None:
        _require_room(len(signers.certificates))
        return _with_certificate(signers, change.project, update, Term(now, optional=change.optional))
    if entry.term.until is not None:
        raise CallerError(
            "this certificate was registered and taken back; it cannot return",
            subject=entry.fingerprint,
            rule="certificate-ended",
            next_step="make a new key and register its certificate",
        )
    merged = merge_certificates(_published_certificate(change.project, entry, read), update)
    return _with_certificate(signers, change.project, merged, replace(entry.term, optional=change.optional))


def _published_certificate(project: ProjectName, entry: RegisteredCertificate, read: Read) -> Certificate:
    return parse_certificate(read_pinned(certificate_name(project, entry.sha256), entry.sha256, read))


def _with_certificate(signers: Signers, project: ProjectName, certificate: Certificate, term: Term) -> ChangedSigners:
    sha256 = sha256_of(certificate.data)
    entry = RegisteredCertificate(certificate.fingerprint, sha256, term)
    files = {certificate_name(project, sha256): certificate.data}
    return ChangedSigners(_replace_certificate(signers, entry), files)


def _replace_certificate(signers: Signers, entry: RegisteredCertificate) -> Signers:
    others = [each for each in signers.certificates if each.fingerprint != entry.fingerprint]
    ordered = sorted((*others, entry), key=lambda each: (each.term.since, each.fingerprint))
    return replace(signers, certificates=tuple(ordered))


def _certificate(signers: Signers, fingerprint: str) -> RegisteredCertificate:
    found = next((each for each in signers.certificates if each.fingerprint == fingerprint), None)
    if found is None:
        raise NotFound(
            "no such certificate is registered for this project",
            subject=fingerprint,
            expected=", ".join(each.fingerprint for each in signers.certificates) or "none is registered",
        )
    return found


# --- publishers -----------------------------------------------------------------------------------------------


def publisher_members(values: dict[str, object]) -> PublisherMembers:
    """A publisher's members in the order and spelling that pages have. Raises CallerError (``publisher``)."""
    members = render_publisher(parse_publisher(values))
    return tuple(sorted((name, value) for name, value in members.items() if value is not None))


def _add_publisher(signers: Signers, change: AddPublisher, now: datetime) -> ChangedSigners:
    members = publisher_members(dict(change.members))
    files: dict[str, bytes] = {}
    root = None
    if change.root is not None:
        load_trust(SigstoreTrust(f"the own root of {change.project}", change.root))
        root = sha256_of(change.root)
        files[root_name(change.project, root)] = change.root
    known = [each for each in signers.publishers if (each.members, each.root) == (members, root)]
    current = next((each for each in known if each.term.until is None and not each.first_seen), None)
    if current is not None and current.term.optional == change.optional:
        raise AlreadyExists("this publisher is registered already", subject=describe_members(members))
    if any(each.term.distrusted for each in known):
        raise CallerError(
            "this publisher is distrusted; it cannot return", subject=describe_members(members), rule="publisher-ended"
        )
    _require_room(len(signers.publishers))
    if current is not None:
        changed = replace(current, term=replace(current.term, optional=change.optional))
        publishers = tuple(changed if each is current else each for each in signers.publishers)
        return ChangedSigners(replace(signers, publishers=publishers), files)
    kept = tuple(_without_guess(each, now) for each in signers.publishers)
    added = RegisteredPublisher(members, root, Term(now, optional=change.optional))
    return ChangedSigners(replace(signers, publishers=(*kept, added)), files)


def _without_guess(each: RegisteredPublisher, now: datetime) -> RegisteredPublisher:
    """A publisher that was only seen first yields to one that somebody chose."""
    return replace(each, term=each.term.end(now, distrusted=False)) if each.first_seen else each


def _end_publishers(signers: Signers, members: PublisherMembers, now: datetime, *, distrust: bool) -> Signers:
    if not any(each.members == members for each in signers.publishers):
        raise NotFound("no such publisher is registered for this project", subject=describe_members(members))
    publishers = tuple(
        replace(each, term=each.term.end(now, distrusted=distrust)) if each.members == members else each
        for each in signers.publishers
    )
    return replace(signers, publishers=publishers)


def describe_members(members: PublisherMembers) -> str:
    """A registered publisher in one phrase."""
    return describe_publisher(parse_publisher(dict(members)))


def _require_room(count: int) -> None:
    if count >= MAX_ENTRIES:
        raise CallerError(
            "this project has had too many signers", rule="signers-full", expected=f"at most {MAX_ENTRIES} ever"
        )
