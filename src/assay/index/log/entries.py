"""Which events a publication logs, each as one entry.

Invariant: the entries follow from the committed intent and what was signed offline, and from nothing else. Nobody who
can write to the ledger speaks in the signer's name here, and nothing that they write is left out.
"""

import hashlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tuf.api.metadata import Root

from assay.index.ledger.publications import Intent, LedgerEvent
from assay.index.proposals import (
    Entomb,
    ProposedFile,
    PublishFiles,
    Remove,
    SetStatus,
    SigningChange,
    StateChange,
    Yank,
)
from assay.index.provenance.attach import Attach
from assay.index.provenance.changes import change_facts
from assay.model.digests import sha256_of
from assay.trust.envelope import parse_envelope
from assay.trust.layout import ROOT, TargetPath, file_target
from assay.trust.log.entry import (
    CLAIM_PUBLISHED,
    EVENT_UNREADABLE,
    FILE_PUBLISHED,
    FILE_REMOVED,
    FILE_RESTORED,
    FILE_SIGNED,
    FILE_UNYANKED,
    FILE_YANKED,
    MAX_CUSTOM_BYTES,
    MAX_PAGE_BYTES,
    PROJECT_REMOVED,
    PROJECT_STATUS,
    ROLE_PUBLISHED,
    SIGNER,
    SIGNER_KINDS,
    SIGNERS_CHANGED,
    LogEntry,
    encode_entry,
    fitted_facts,
)
from assay.trust.log.identity import LOG_INDEX
from assay.trust.offline import OfflineRoles
from assay.trust.plan import NewTarget

NOT_LOGGED: Final = frozenset({"file-uploaded"})
"""Ledger events that the signer's own entry of what came of them replaces."""

MAX_ACTOR_CHARS: Final = 64
_PART_OF_SEAL = re.compile(r"(seal-[0-9]+)-")

Event = tuple[TargetPath | None, bytes]
"""An entry, and the path that it publishes, if it does."""


def entries_of(
    intent: Intent, refused: Container[int], offline: OfflineRoles, restored: Sequence[NewTarget]
) -> Iterator[Event]:
    """What ``intent`` comes to, in order: the ledger's events, roles signed offline, proposals, restored files.

    ``refused``: proposals (outbox numbers) that come to nothing. ``restored``: targets that the index vouches for again
    because a claim was revoked.
    """
    for event in intent.events:
        if event.kind not in NOT_LOGGED:
            yield None, _event_entry(intent.time, event)
    for facts in _role_facts(offline):
        yield None, encode_entry(LogEntry(ROLE_PUBLISHED, intent.time, SIGNER, None, facts))
    for row in intent.rows:
        if row.seq in refused:
            continue
        if isinstance(row.proposal, PublishFiles):
            yield from _published(intent.time, row.proposal)
        else:
            yield None, _change_entry(intent.time, row.proposal)
    for target in restored:
        yield target.path, _restored_entry(intent.time, target)


def _published(now: datetime, proposal: PublishFiles) -> Iterator[Event]:
    if proposal.claim is not None:
        role = proposal.claim.encode()
        facts = {"sha256": sha256_of(role), "length": len(role)}
        yield None, encode_entry(LogEntry(CLAIM_PUBLISHED, now, SIGNER, proposal.project, facts))
    for file in proposal.files:
        yield file_target(file.distribution), file_entry(now, file)


def _restored_entry(now: datetime, target: NewTarget) -> bytes:
    custom = {name: value for name, value in target.custom.items() if name != LOG_INDEX}
    facts: dict[str, Any] = {"path": target.path, "sha256": target.sha256, "length": target.length}
    facts |= {"custom": fitted_facts(custom, MAX_CUSTOM_BYTES), "page": {}}
    return encode_entry(LogEntry(FILE_RESTORED, now, SIGNER, target.path.split("/")[1], facts))


def _event_entry(now: datetime, event: LedgerEvent) -> bytes:
    """A ledger's event as it stands there; one that is none, or that claims to be the signer's, is logged as that."""
    if isinstance(event.facts, dict) and event.kind not in SIGNER_KINDS:
        try:
            return encode_entry(LogEntry(event.kind, event.time, event.actor, event.project, fitted_facts(event.facts)))
        except ValueError as error:
            reason = str(error)
    else:
        reason = "not an event of the ledger's"
    digest = hashlib.sha256(repr(event).encode("utf-8", "replace")).hexdigest()
    return encode_entry(LogEntry(EVENT_UNREADABLE, now, SIGNER, None, {"sha256": digest, "reason": reason[:200]}))


def _role_facts(offline: OfflineRoles) -> Iterator[Mapping[str, Any]]:
    """The facts of each role that a ceremony signed; the parts of a seal stand in the seal's."""
    parts: dict[str, list[str]] = {}
    whole: dict[str, dict[str, Any]] = {}
    if offline.root is not None:
        version = parse_envelope(offline.root, Root, ROOT).signed.version
        whole[ROOT] = {"role": ROOT, "version": version, "sha256": sha256_of(offline.root)}
    for role, data in sorted(offline.files.items()):
        version, digest = offline.signed[role].version, sha256_of(data)
        match = _PART_OF_SEAL.match(role)
        if match:
            parts.setdefault(match[1], []).append(f"{role} {version} {digest}\n")
        else:
            whole[role] = {"role": role, "version": version, "sha256": digest}
    for seal, lines in parts.items():
        whole.setdefault(seal, {"role": seal})["parts"] = len(lines)
        whole[seal]["parts_sha256"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    yield from whole.values()


def file_entry(now: datetime, file: ProposedFile) -> bytes:
    """What is published under a path, who vouches for it, and what its page says."""
    entry = file.entry
    page = {"core_metadata": entry.core_metadata, "requires_python": entry.requires_python, "yanked": entry.yanked}
    beside = {"signature_sha256": file.signature, "provenance_sha256": file.provenance}
    facts: dict[str, Any] = {
        "path": file_target(file.distribution),
        "sha256": entry.sha256,
        "length": entry.size,
        "custom": fitted_facts(file.custom, MAX_CUSTOM_BYTES),
        "page": fitted_facts(_given(page), MAX_PAGE_BYTES),
        **_given(beside),
    }
    actor = file.custom.get("uploader", file.custom.get("origin"))
    known = isinstance(actor, str) and actor.isprintable() and len(actor) <= MAX_ACTOR_CHARS
    return encode_entry(LogEntry(FILE_PUBLISHED, now, actor if known else SIGNER, file.distribution.project, facts))


def _given(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``facts`` is not None."""
    return {name: value for name, value in facts.items() if value is not None}


def _change_entry(now: datetime, change: StateChange | SigningChange) -> bytes:
    kind: str
    facts: dict[str, Any]
    match change:
        case Yank(filename=filename, reason=None):
            kind, facts = FILE_UNYANKED, {"filename": filename}
        case Yank(filename=filename, reason=reason):
            kind, facts = FILE_YANKED, {"filename": filename, "reason": reason}
        case Remove(filename=filename):
            kind, facts = FILE_REMOVED, {"filename": filename}
        case SetStatus(status=status, reason=reason):
            kind, facts = PROJECT_STATUS, {"status": status, "reason": reason}
        case Entomb():
            kind, facts = PROJECT_REMOVED, {}
        case Attach():
            named = {"signature_sha256": change.signature, "provenance_sha256": change.provenance}
            kind, facts = FILE_SIGNED, {"filename": change.filename, **_given(named)}
        case _:
            kind, facts = SIGNERS_CHANGED, change_facts(change)
    return encode_entry(LogEntry(kind, now, SIGNER, change.project, fitted_facts(facts)))
