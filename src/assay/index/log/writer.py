"""The log as the signer continues it: what a publication writes below ``log/``.

Invariants: an interrupted publication is planned again to the same files; nothing below ``log/`` is written twice with
other bytes except ``log/checkpoint``; what the signer believes of the log's past is the head in its own last timestamp,
never the ledger.
"""

import shutil
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tuf.api.metadata import Targets, Timestamp

from assay.formats.pages import ProjectPage
from assay.index.ledger.publications import Intent
from assay.index.log.entries import entries_of
from assay.index.log.stream import LogStream
from assay.index.published import PublishedStore
from assay.model.errors import KeyUnavailable, SignerRefused, StorageUnavailable, VerificationFailed
from assay.trust.envelope import parse_envelope
from assay.trust.layout import TIMESTAMP, TargetPath
from assay.trust.log.checkpoint import CHECKPOINT, LogHead, LogIdentity, sign_checkpoint
from assay.trust.log.edge import Edge, append, read_edge
from assay.trust.log.identity import LOG, LOG_INDEX, named_log, stated_head
from assay.trust.log.note import Sign, VerifierKey
from assay.trust.log.tiles import Tile, edge_tiles, tile_of
from assay.trust.offline import OfflineRoles
from assay.trust.plan import NewTarget


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

    def numbered_page(self, page: ProjectPage) -> ProjectPage:
        """``page`` of a claimed project with its new files' entry numbers, which no target of theirs can have."""
        paths = {file: TargetPath(file.url.removeprefix("../../")) for file in page.files}
        files = [replace(file, log_index=self.indexes.get(path, file.log_index)) for file, path in paths.items()]
        return replace(page, files=tuple(files))


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

    def draft(
        self,
        identity: LogIdentity,
        intent: Intent,
        refused: Container[int],
        offline: OfflineRoles,
        restored: Sequence[NewTarget] = (),
    ) -> LogDraft:
        """The log with what ``intent`` comes to. The arguments: ``entries.entries_of``."""
        entries: list[bytes] = []
        indexes: dict[TargetPath, int] = {}
        for path, entry in entries_of(intent, refused, offline, restored):
            if path is not None:
                indexes[path] = self._edge.size + len(entries)
            entries.append(entry)
        growth = append(self._edge, entries)
        head = LogHead(growth.edge.size, growth.edge.root)
        files = {f"{LOG}/{path}": data for path, data in growth.files.items()}
        files[checkpoint_name(intent.number)] = sign_checkpoint(identity, head, self._sign(identity))
        return LogDraft(files, head, growth.edge, indexes)

    def stream(self) -> LogStream:
        """The log as it goes on from here, for more entries than memory holds."""
        return LogStream(
            self._edge, lambda files: self._published.put({f"{LOG}/{path}": data for path, data in files.items()})
        )

    def streamed(self, identity: LogIdentity, stream: LogStream, number: int) -> LogDraft:
        """What is left to write of ``stream`` as publication ``number``: its edge and its checkpoint."""
        files = {f"{LOG}/{path}": data for path, data in stream.finish().items()}
        head = LogHead(stream.edge.size, stream.edge.root)
        files[checkpoint_name(number)] = sign_checkpoint(identity, head, self._sign(identity))
        return LogDraft(files, head, stream.edge)

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
