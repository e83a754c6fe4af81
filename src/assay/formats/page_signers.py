"""The part of a page that says who is expected to sign, and what lies beside its files (docs/adr/0034).

Invariant: rendering and parsing are inverse; what is absent leaves no key, so that a page without signers has the
bytes it always had.
"""

from datetime import datetime
from typing import Any

from assay.formats.moments import format_time
from assay.model.digests import Sha256, parse_sha256
from assay.model.signers import Attached, RegisteredCertificate, RegisteredPublisher, Signers, Term


def render_signers(signers: Signers) -> dict[str, Any]:
    """The members ``certificates`` and ``publishers`` of the page's ``_assay`` object."""
    document: dict[str, Any] = {}
    if signers.certificates:
        document["certificates"] = [
            {"fingerprint": each.fingerprint, "sha256": each.sha256} | _render_term(each.term)
            for each in signers.certificates
        ]
    if signers.publishers:
        document["publishers"] = [_render_publisher(each) for each in signers.publishers]
    return document


def _render_publisher(each: RegisteredPublisher) -> dict[str, Any]:
    entry: dict[str, Any] = {"publisher": dict(each.members)} | _render_term(each.term)
    if each.root is not None:
        entry["root"] = each.root
    if each.first_seen:
        entry["first-seen"] = True
    return entry


def _render_term(term: Term) -> dict[str, Any]:
    entry: dict[str, Any] = {"since": format_time(term.since)}
    if term.until is not None:
        entry["until"] = format_time(term.until)
    if term.distrusted:
        entry["distrusted"] = True
    if term.optional:
        entry["optional"] = True
    return entry


def parse_signers(document: dict[str, Any]) -> Signers:
    """Read what ``render_signers`` wrote. Raises ValueError, KeyError, TypeError or CallerError for anything else."""
    return Signers(
        tuple(
            RegisteredCertificate(str(entry["fingerprint"]), parse_sha256(entry["sha256"]), _parse_term(entry))
            for entry in document.get("certificates", ())
        ),
        tuple(
            RegisteredPublisher(
                _parse_members(entry["publisher"]),
                _optional_sha256(entry.get("root")),
                _parse_term(entry),
                first_seen=entry.get("first-seen", False) is True,
            )
            for entry in document.get("publishers", ())
        ),
    )


def _parse_members(document: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if not all(isinstance(value, str) for value in document.values()):
        raise TypeError("a publisher's member that is no text")
    return tuple(sorted(document.items()))


def _parse_term(entry: dict[str, Any]) -> Term:
    until = entry.get("until")
    return Term(
        datetime.fromisoformat(entry["since"]),
        datetime.fromisoformat(until) if until is not None else None,
        distrusted=entry.get("distrusted", False) is True,
        optional=entry.get("optional", False) is True,
    )


def _optional_sha256(value: Any) -> Sha256 | None:
    return parse_sha256(value) if value is not None else None


def render_attached(attached: Attached) -> dict[str, Any]:
    """What a file's entry says of its signature or provenance."""
    return {"sha256": attached.sha256, "since": format_time(attached.since), "by": list(attached.by)}


def parse_attached(entry: dict[str, Any]) -> Attached:
    """Read what ``render_attached`` wrote. Raises as ``parse_signers``."""
    return Attached(
        parse_sha256(entry["sha256"]),
        datetime.fromisoformat(entry["since"]),
        tuple(str(name) for name in entry["by"]),
    )
