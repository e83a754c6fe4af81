"""Files, proposals, intents and the head: the part of the ledger that web and signer share.

Every function runs inside a transaction of the caller's. An intent is a row of ``publications`` that is not done; the
head moves by compare-and-swap and never back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from assay.index.ledger.schema import events, files, head, outbox, projects, publications
from assay.index.proposals import Proposal, ProposedFile, PublishFiles, decode_proposal, encode_proposal
from assay.model.digests import Sha256
from assay.model.errors import AlreadyExists, Fenced, SignerRefused
from assay.model.names import ProjectName
from assay.model.releases import release_of
from assay.trust.layout import file_target

MAX_BATCH = 500
MAX_EVENTS = 2_000
MAX_VARIABLES = 500


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as the ledger knows it; ``size`` in bytes. ``state``: pending, published or refused."""

    path: str
    project: ProjectName
    version: str
    filename: str
    sha256: Sha256
    size: int
    core_metadata: Sha256 | None
    upstream_url: str | None
    proposal: int
    state: str


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One proposal and its place in line."""

    seq: int
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """An event as the ledger has it; ``time`` in UTC, ``facts`` whatever JSON is there."""

    id: int
    time: datetime
    kind: str
    actor: str
    project: str | None
    facts: Any


@dataclass(frozen=True, slots=True)
class Intent:
    """A publication that was promised: its ``number``, its ``time``, what it publishes.

    ``renewals``: the bins it signs again; ``offline``: role -> version that it takes from the inbox; ``events``: what
    happened since the last one, for the log.
    """

    number: int
    time: datetime
    renewals: Sequence[str]
    offline: Mapping[str, int]
    rows: Sequence[OutboxRow]
    events: Sequence[LedgerEvent] = ()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest publication that counts.

    ``pages`` maps projects to the sha256 of the page that it moved; ``root`` is the new root that it brought, if any.
    """

    publication: int
    epoch: int
    timestamp: bytes | None
    root: bytes | None
    pages: Mapping[str, str]


# --- proposing ------------------------------------------------------------------------------------------------


def propose(connection: Connection, proposal: Proposal) -> int:
    """Put ``proposal`` in the outbox, and its files in the ledger as pending; returns its number in line.

    Raises AlreadyExists when a filename of it is taken. A file that was refused may be proposed again.
    """
    row = {"project": proposal.project, "proposal": encode_proposal(proposal), "state": "pending"}
    seq = int(connection.execute(insert(outbox).values(**row)).inserted_primary_key[0])  # type: ignore[index]
    if isinstance(proposal, PublishFiles) and proposal.files:
        names = [file.entry.filename for file in proposal.files]
        refused = (files.c.project == proposal.project, files.c.state == "refused")
        for start in range(0, len(names), MAX_VARIABLES):
            connection.execute(
                delete(files).where(*refused, files.c.filename.in_(names[start : start + MAX_VARIABLES]))
            )
        try:
            connection.execute(insert(files), [file_values(proposal.project, file, seq) for file in proposal.files])
        except IntegrityError as error:
            raise AlreadyExists("a filename already exists", subject=proposal.project) from error
    return seq


def file_values(project: ProjectName, file: ProposedFile, seq: int, state: str = "pending") -> dict[str, Any]:
    """The ledger's row of a proposed file."""
    entry = file.entry
    return {
        "path": file_target(file.distribution),
        "project": project,
        "version": file.distribution.version,
        "filename": entry.filename,
        "sha256": entry.sha256,
        "size": entry.size,
        "core_metadata": entry.core_metadata,
        "upstream_url": entry.upstream_url,
        "upload_time": entry.upload_time,
        "proposal": seq,
        "state": state,
    }


def files_of(connection: Connection, project: ProjectName) -> list[FileRow]:
    """Every file that was ever proposed for ``project`` and not refused."""
    columns = [files.c[name] for name in FileRow.__dataclass_fields__]
    where = (files.c.project == project, files.c.state != "refused")
    return [FileRow(*row) for row in connection.execute(select(*columns).where(*where))]


def first_upload(connection: Connection, project: ProjectName, version: str) -> datetime | None:
    """When the first file of a release was uploaded; None while it has none."""
    mine = (files.c.project == project, files.c.state != "refused")
    firsts = select(files.c.version, func.min(files.c.upload_time)).where(*mine).group_by(files.c.version)
    release = release_of(version)
    times = [first for known, first in connection.execute(firsts) if release_of(known) == release]
    return min(times, default=None)


def find_file(connection: Connection, project: ProjectName, filename: str) -> FileRow | None:
    """The ledger's row of a filename, or None."""
    where = (files.c.project == project, files.c.filename == filename)
    columns = [files.c[name] for name in FileRow.__dataclass_fields__]
    row = connection.execute(select(*columns).where(*where)).first()
    return FileRow(*row) if row else None


def count_targets(connection: Connection) -> int:
    """How many targets the index vouches for: a file each, and a page for each project. Linear in their number."""
    pages = connection.scalar(select(func.count()).select_from(projects)) or 0
    return pages + (connection.scalar(select(func.count()).select_from(files)) or 0)


def outbox_state(connection: Connection, seq: int) -> tuple[str, str | None]:
    """``(state, reason)`` of a proposal."""
    row = connection.execute(select(outbox.c.state, outbox.c.reason).where(outbox.c.seq == seq)).one()
    return row.state, row.reason


def outbox_states(connection: Connection, seqs: Sequence[int]) -> dict[int, tuple[str, str | None]]:
    """``(state, reason)`` of each proposal that is there."""
    found: dict[int, tuple[str, str | None]] = {}
    for start in range(0, len(seqs), MAX_VARIABLES):
        mine = outbox.c.seq.in_(seqs[start : start + MAX_VARIABLES])
        rows = connection.execute(select(outbox.c.seq, outbox.c.state, outbox.c.reason).where(mine))
        found |= {row.seq: (row.state, row.reason) for row in rows}
    return found


# --- publishing -----------------------------------------------------------------------------------------------


def read_head(connection: Connection) -> Head:
    """The head row."""
    row = connection.execute(select(head)).one()
    return Head(row.publication, row.epoch, row.timestamp, row.root, row.pages)


def last_time(connection: Connection) -> datetime:
    """When the publication that counts was made; the beginning of time before the first."""
    current = select(publications.c.time).join(head, head.c.publication == publications.c.number)
    return connection.scalar(current) or datetime.min.replace(tzinfo=UTC)


def offline_of(connection: Connection, number: int) -> Mapping[str, int]:
    """Role -> version of what publication ``number`` took from the inbox."""
    return connection.scalar(select(publications.c.offline).where(publications.c.number == number)) or {}


def take_epoch(connection: Connection) -> int:
    """Become the signer: every earlier epoch is fenced off from here on."""
    epoch = read_head(connection).epoch + 1
    connection.execute(update(head).values(epoch=epoch))
    return epoch


def has_open_intent(connection: Connection) -> bool:
    """Whether an intent was committed and not finished."""
    return connection.scalar(select(publications.c.number).where(publications.c.done.is_(False)).limit(1)) is not None


def open_intent(connection: Connection) -> Intent | None:
    """The intent that was committed and not finished, or None."""
    row = connection.execute(select(publications).where(publications.c.done.is_(False))).mappings().first()
    if row is None:
        return None
    number = row["number"]
    happened = _events_of(connection, number)
    return Intent(number, row["time"], row["renewals"], row["offline"], _rows_of(connection, number), happened)


def has_pending(connection: Connection) -> bool:
    """Whether anything waits in the outbox, or an event waits to be logged."""
    proposed = select(outbox.c.seq).where(outbox.c.state == "pending").limit(1)
    happened = select(events.c.id).where(events.c.publication.is_(None)).limit(1)
    return connection.scalar(proposed) is not None or connection.scalar(happened) is not None


def pending_of(connection: Connection, project: ProjectName) -> list[int]:
    """The proposals of ``project`` that the signer has not decided yet, oldest first."""
    query = select(outbox.c.seq).where(outbox.c.state == "pending", outbox.c.project == project)
    return list(connection.execute(query.order_by(outbox.c.seq)).scalars())


def pending_count(connection: Connection) -> int:
    """How many proposals wait in the outbox."""
    return connection.scalar(select(func.count()).select_from(outbox).where(outbox.c.state == "pending")) or 0


def commit_intent(
    connection: Connection, epoch: int, now: datetime, renewals: Sequence[str], offline: Mapping[str, int]
) -> Intent:
    """Promise the next publication: what is pending (``MAX_BATCH`` proposals at most), ``renewals``, ``offline``.

    Events that no publication logs yet become its own, ``MAX_EVENTS`` at most.
    """
    current = read_head(connection)
    require_epoch(current, epoch)
    number = current.publication + 1
    waiting = select(outbox.c.seq).where(outbox.c.state == "pending").order_by(outbox.c.seq).limit(MAX_BATCH)
    seqs = list(connection.scalars(waiting))
    connection.execute(update(outbox).where(outbox.c.seq.in_(seqs)).values(publication=number))
    values = {"number": number, "time": now, "epoch": epoch, "renewals": list(renewals), "offline": dict(offline)}
    connection.execute(insert(publications).values(**values, done=False))
    new = select(events.c.id).where(events.c.publication.is_(None)).order_by(events.c.id).limit(MAX_EVENTS)
    connection.execute(update(events).where(events.c.id.in_(new.scalar_subquery())).values(publication=number))
    return Intent(number, now, renewals, offline, _rows_of(connection, number), _events_of(connection, number))


def _events_of(connection: Connection, number: int) -> list[LedgerEvent]:
    """The events that a publication logs, in order."""
    columns = [events.c[name] for name in LedgerEvent.__dataclass_fields__]
    mine = select(*columns).where(events.c.publication == number).order_by(events.c.id)
    return [LedgerEvent(*row) for row in connection.execute(mine)]


def _rows_of(connection: Connection, number: int) -> list[OutboxRow]:
    """The readable proposals of a publication; one that cannot be read is refused, not waited for."""
    mine = select(outbox.c.seq, outbox.c.proposal).where(outbox.c.publication == number, outbox.c.state == "pending")
    rows = []
    for seq, document in connection.execute(mine.order_by(outbox.c.seq)).all():
        try:
            rows.append(OutboxRow(seq, decode_proposal(document)))
        except SignerRefused as error:
            refuse(connection, seq, str(error))
    return rows


def refuse(connection: Connection, seq: int, reason: str) -> None:
    """Take a proposal out of line for good, with the ``reason`` that its uploader will read."""
    connection.execute(update(outbox).where(outbox.c.seq == seq).values(state="refused", reason=reason[:1000]))
    project = select(outbox.c.project).where(outbox.c.seq == seq).scalar_subquery()
    mine = (files.c.project == project, files.c.proposal == seq, files.c.state == "pending")
    connection.execute(update(files).where(*mine).values(state="refused"))


def drop_intent(connection: Connection, intent: Intent, epoch: int) -> None:
    """Take back a promise that nobody outside relies on: what it would have published waits again. Raises Fenced."""
    require_epoch(read_head(connection), epoch)
    connection.execute(update(outbox).where(outbox.c.publication == intent.number).values(publication=None))
    connection.execute(update(events).where(events.c.publication == intent.number).values(publication=None))
    mine = (publications.c.number == intent.number, publications.c.done.is_(False))
    connection.execute(delete(publications).where(*mine))


def move_head(
    connection: Connection,
    intent: Intent,
    epoch: int,
    *,
    timestamp: bytes,
    root: bytes | None,
    pages: Mapping[str, str],
) -> Head:
    """Make ``intent`` the publication that counts: compare-and-swap, fenced by ``epoch``; returns it. Raises Fenced."""
    current = read_head(connection)
    require_epoch(current, epoch)
    if current.publication != intent.number - 1:
        raise Fenced("the head moved meanwhile", expected=str(intent.number - 1), found=str(current.publication))
    moved = Head(intent.number, epoch, timestamp, root, pages)
    values: dict[str, Any] = {"publication": intent.number, "timestamp": timestamp, "root": root, "pages": dict(pages)}
    connection.execute(update(head).values(**values))
    connection.execute(update(publications).where(publications.c.number == intent.number).values(done=True))
    connection.execute(
        update(outbox)
        .where(outbox.c.publication == intent.number, outbox.c.state == "pending")
        .values(state="published")
    )
    for row in intent.rows:
        if isinstance(row.proposal, PublishFiles):
            paths = [file_target(file.distribution) for file in row.proposal.files]
            for start in range(0, len(paths), MAX_VARIABLES):
                mine = (files.c.path.in_(paths[start : start + MAX_VARIABLES]), files.c.state == "pending")
                connection.execute(update(files).where(*mine).values(state="published"))
    return moved


def require_epoch(current: Head, epoch: int) -> None:
    """Raise Fenced unless ``epoch`` is the newest signer's."""
    if current.epoch != epoch:
        raise Fenced(
            "another signer took over",
            expected=f"epoch {epoch}",
            found=f"epoch {current.epoch}",
            next_step="run one signer only; this one stops",
        )
