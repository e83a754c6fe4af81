"""The index's side of the log: which events a publication logs, and what it writes for them below ``log/``.

Invariants: the entries of a publication follow from its intent alone, so an interrupted one is planned again to the
same files; nothing below ``log/`` is written twice with other bytes except the pointer ``log/checkpoint``; what the
signer believes of the log's past is the head in its own last timestamp, never the ledger.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from tuf.api.metadata import Targets, Timestamp

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
from assay.index.published import PublishedStore
from assay.model.digests import sha256_of
from assay.model.errors import KeyUnavailable, SignerRefused, StorageUnavailable, VerificationFailed
from assay.trust.envelope import parse_envelope
from assay.trust.layout import TIMESTAMP, TargetPath, file_target
from assay.trust.log.checkpoint import CHECKPOINT, LogHead, LogIdentity, sign_checkpoint
from assay.trust.log.edge import Edge, append, read_edge
from assay.trust.log.entry import (
    EVENT_UNREADABLE,
    FILE_PUBLISHED,
    FILE_REMOVED,
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
from assay.trust.log.identity import LOG, LOG_INDEX, named_log, stated_head
from assay.trust.log.note import Sign, VerifierKey
from assay.trust.log.tiles import Tile, edge_tiles, tile_of
from assay.trust.offline import OfflineRoles
from assay.trust.plan import NewTarget

NOT_LOGGED: Final = frozenset({"file-uploaded"})
"""Ledger events that the signer's own entry of what came of them replaces."""

MAX_ACTOR_CHARS = 64
_PART_OF_SEAL = re.compile(r"(seal-[0-9]+)-")


@dataclass(frozen=True, slots=True)
class LogDraft:
    """What a publication adds: ``files`` to write, the ``head`` to state, the ``edge`` afterwards.

    ``indexes``: the number of the entry of each file that it publishes.
    """

    files: Mapping[str, bytes]
    head: LogHead
    edge: Edge
    indexes: Mapping[TargetPath, int] = field(default_factory=dict)

    def numbered(self, targets: Sequence[NewTarget]) -> list[NewTarget]:
        """``targets`` with the number of their entry in ``custom``."""
        return [replace(target, custom={**target.custom, LOG_INDEX: self.indexes[target.path]}) for target in targets]


class LogWriter:
    """The log as the signer continues it. ``open_key`` gives the signing function of an identity's key."""

    def __init__(self, published: PublishedStore, open_key: Callable[[LogIdentity], Sign]) -> None:
        self._published = published
        self._open_key = open_key
        self._opened: dict[VerifierKey, Sign] = {}
        self._edge = Edge()

    def resume(self, timestamp: Timestamp | None) -> None:
        """Read the edge of the log whose head ``timestamp``, the published one, states. Raises SignerRefused."""
        head = stated_head(timestamp) if timestamp is not None else None
        if head is not None:
            self._edge = self._read_edge(head)
            self._tidy(self._last_full(head.size))

    def draft(self, identity: LogIdentity, intent: Intent, refused: Container[int], offline: OfflineRoles) -> LogDraft:
        """The log with the events of ``intent``, whose proposals ``refused`` (outbox numbers) come to nothing."""
        entries = [*_event_entries(intent), *_role_entries(intent.time, offline)]
        indexes: dict[TargetPath, int] = {}
        for row in intent.rows:
            if row.seq in refused:
                continue
            if isinstance(row.proposal, PublishFiles):
                for file in row.proposal.files:
                    indexes[file_target(file.distribution)] = self._edge.size + len(entries)
                    entries.append(_file_entry(intent.time, file))
            else:
                entries.append(_change_entry(intent.time, row.proposal))
        growth = append(self._edge, entries)
        head = LogHead(growth.edge.size, growth.edge.root)
        files = {f"{LOG}/{path}": data for path, data in growth.files.items()}
        files[checkpoint_name(intent.number)] = sign_checkpoint(identity, head, self._sign(identity))
        return LogDraft(files, head, growth.edge, indexes)

    def shown(self, publication: int, timestamp: bytes) -> Mapping[str, bytes]:
        """What readers get of ``publication``, with this timestamp: its checkpoint, by name. Raises SignerRefused."""
        if stated_head(parse_envelope(timestamp, Timestamp, TIMESTAMP).signed) is None:
            return {}
        checkpoint = self._published.read(checkpoint_name(publication))
        if checkpoint is None:
            raise _cannot_continue(checkpoint_name(publication), "the file", "no file")
        return {f"{LOG}/{CHECKPOINT}": checkpoint}

    def grown(self, draft: LogDraft) -> None:
        """Go on from ``draft``, which is published; partial tiles that are full now go."""
        outgrown = [tile for tile in edge_tiles(self._edge.size) if _is_full(tile, draft.head.size)]
        self._edge = draft.edge
        self._tidy(outgrown)

    def _sign(self, identity: LogIdentity) -> Sign:
        """The key's signing function, opened once: a key file's passphrase is slow to check on purpose."""
        if identity.key not in self._opened:
            self._opened = {identity.key: self._open_key(identity)}
        return self._opened[identity.key]

    def _read_edge(self, head: LogHead) -> Edge:
        files: dict[Tile, bytes] = {}
        for tile in edge_tiles(head.size):
            data = self._published.read(f"{LOG}/{tile.path}")
            if data is None:
                raise _cannot_continue(tile.path, "the file", "no file")
            files[tile] = data
        try:
            edge = read_edge(head.size, files)
        except VerificationFailed as error:
            raise _cannot_continue(error.subject, error.expected, error.found) from error
        if edge.root != head.root:
            raise _cannot_continue(None, f"root {head.root.hex()}", f"root {edge.root.hex()}")
        return edge

    def _last_full(self, size: int) -> list[Tile]:
        """The newest full tile of each level: a crash may have left its partial versions behind."""
        return [Tile(tile.level, tile.index - 1) for tile in edge_tiles(size) if tile.index]

    def _tidy(self, full: Sequence[Tile]) -> None:
        for tile in full:
            folder = self._published.path(f"{LOG}/{tile.partials}")
            try:
                if folder.is_dir():
                    shutil.rmtree(folder)
            except OSError as error:
                raise StorageUnavailable(f"cannot remove: {error.strerror}", subject=str(folder)) from error


def log_after(targets: Targets, offline: Targets | None) -> LogIdentity | None:
    """The log that counts once ``offline`` (a new ``targets`` role, or None) is published. Raises SignerRefused.

    A log can get another key; it cannot be dropped or begun anew, or its past would be.
    """
    before = named_log(targets)
    after = named_log(offline) if offline is not None else before
    if before is not None and (after is None or after.origin != before.origin):
        raise SignerRefused(
            "the new targets role names another log, or none",
            rule="log-dropped",
            expected=before.origin,
            found=after.origin if after else "none",
            next_step="sign a targets role that keeps the field x-assay-log",
        )
    return after


def no_log_key(identity: LogIdentity) -> Sign:
    """The ``open_key`` of a signer that has no key of a log. Raises KeyUnavailable."""
    raise KeyUnavailable("this signer was given no key of the log", subject=identity.origin, rule="log-key")


def checkpoint_name(publication: int) -> str:
    """Where the checkpoint of a publication is kept."""
    return f"{LOG}/checkpoints/{publication}"


def _event_entries(intent: Intent) -> list[bytes]:
    return [_event_entry(intent.time, event) for event in intent.events if event.kind not in NOT_LOGGED]


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


def _role_entries(now: datetime, offline: OfflineRoles) -> list[bytes]:
    """One entry for each role that a ceremony signed; the parts of a seal stand in the seal's."""
    parts: dict[str, list[str]] = {}
    whole: dict[str, dict[str, Any]] = {}
    if offline.root is not None:
        whole["root"] = {"role": "root", "sha256": sha256_of(offline.root)}
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
    return [encode_entry(LogEntry(ROLE_PUBLISHED, now, SIGNER, None, facts)) for facts in whole.values()]


def _file_entry(now: datetime, file: ProposedFile) -> bytes:
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


def _is_full(tile: Tile, size: int) -> bool:
    return tile_of(tile.level, tile.index, size).is_full


def _cannot_continue(subject: str | None, expected: str | None, found: str | None) -> SignerRefused:
    return SignerRefused(
        "the published log is not the one that was signed; it cannot be continued",
        subject=subject,
        rule="log-edge",
        expected=expected,
        found=found,
        next_step="restore published/log from a backup or a mirror; nothing is signed until then",
    )
