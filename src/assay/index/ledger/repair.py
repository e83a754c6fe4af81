"""What a bad day does to the ledger: rows made again from signed pages, rights withdrawn, the head set anew.

Only programs that an operator runs on a folder that is not served call these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from assay.formats.pages import PageFile, ProjectPage, RemovedFile
from assay.index.ledger.schema import (
    events,
    files,
    grants,
    head,
    outbox,
    projects,
    publications,
    publishers,
    tokens,
    users,
)
from assay.model.distributions import parse_distribution
from assay.model.names import confusable_skeleton
from assay.model.statuses import REMOVED
from assay.trust.layout import file_target

REBUILT = 0
"""The proposal of a row that was made from a signed page: none that is known."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """How many rights ended: all ``tokens``; ``grants``, ``publishers`` and users' ``passwords`` since the break-in."""

    tokens: int
    grants: int
    publishers: int
    passwords: int


def rebuild_files(connection: Connection, page: ProjectPage, now: datetime) -> bool:
    """Make the rows of ``page``'s project and files what the signed page says. False: they were."""
    _ensure_project(connection, page, now)
    wanted = {row["path"]: row for row in _rows_of(page)}
    mine = files.c.project == page.project
    kept = {
        row["path"]: dict(row)
        for row in connection.execute(select(files).where(mine, files.c.state != "refused")).mappings()
    }
    if {path: _essence(row) for path, row in kept.items()} == {path: _essence(row) for path, row in wanted.items()}:
        return False
    connection.execute(delete(files).where(mine))
    if wanted:
        connection.execute(insert(files), list(wanted.values()))
    return True


def withdraw_rights(connection: Connection, since: datetime, now: datetime) -> Withdrawn:
    """Revoke every token, and what was granted, registered or made into a password since a moment."""
    ended = update(tokens).where(tokens.c.revoked.is_(None)).values(revoked=now)
    granted = update(grants).where(grants.c.revoked_at.is_(None), grants.c.granted_at > since).values(revoked_at=now)
    registered = update(publishers).where(publishers.c.revoked_at.is_(None), publishers.c.registered_at > since)
    passwords = update(users).where(users.c.password.is_not(None)).values(password=None)
    connection.execute(update(users).where(users.c.created > since).values(is_admin=False))
    return Withdrawn(
        tokens=connection.execute(ended).rowcount,
        grants=connection.execute(granted).rowcount,
        publishers=connection.execute(registered.values(revoked_at=now)).rowcount,
        passwords=connection.execute(passwords).rowcount,
    )


def drop_proposals(connection: Connection, reason: str) -> int:
    """Refuse what waits, and forget an unfinished publication; returns how many proposals waited."""
    dropped = update(outbox).where(outbox.c.state == "pending").values(state="refused", reason=reason)
    count = connection.execute(dropped).rowcount
    connection.execute(update(files).where(files.c.state == "pending").values(state="refused"))
    connection.execute(delete(publications).where(publications.c.done.is_(False)))
    return count


def forget_intent(connection: Connection) -> None:
    """Take back an unfinished publication: what it would have published waits again."""
    open_ones = select(publications.c.number).where(publications.c.done.is_(False))
    for table in (outbox, events):
        connection.execute(update(table).where(table.c.publication.in_(open_ones)).values(publication=None))
    connection.execute(delete(publications).where(publications.c.done.is_(False)))


def set_head(connection: Connection, publication: int, timestamp: bytes, now: datetime) -> None:
    """Make ``publication``, made by hand, the one that counts. Whoever signed before is fenced off."""
    current = connection.execute(select(head)).one()
    values = {"number": publication, "time": now, "epoch": current.epoch + 1, "renewals": [], "offline": {}}
    connection.execute(delete(publications).where(publications.c.number >= publication))
    connection.execute(insert(publications).values(**values, done=True))
    moved = {"publication": publication, "epoch": current.epoch + 1, "timestamp": timestamp, "root": None, "pages": {}}
    connection.execute(update(head).values(**moved))


def set_last_time(connection: Connection, now: datetime) -> None:
    """Correct the time of the publication that counts: the clock was ahead when it was made."""
    current = select(head.c.publication).scalar_subquery()
    connection.execute(update(publications).where(publications.c.number == current).values(time=now))


def _ensure_project(connection: Connection, page: ProjectPage, now: datetime) -> None:
    mine, status = projects.c.name == page.project, REMOVED if page.tombstone else page.status
    if connection.execute(select(projects.c.name).where(mine)).first() is None:
        values = {"name": page.project, "skeleton": confusable_skeleton(page.project), "origin": page.origin}
        connection.execute(insert(projects).values(**values, created=now, created_by="rebuilt"))
    connection.execute(update(projects).where(mine, projects.c.status != status).values(status=status))


def _rows_of(page: ProjectPage) -> list[dict[str, Any]]:
    offered = [
        _row(page, file, "published")
        | {"size": file.size, "core_metadata": file.core_metadata, "upstream_url": file.upstream_url}
        for file in (*page.files, *page.withheld)
    ]
    gone = [
        _row(page, file, "removed") | {"size": 0, "core_metadata": None, "upstream_url": None} for file in page.removed
    ]
    return [*offered, *gone]


def _row(page: ProjectPage, file: PageFile | RemovedFile, state: str) -> dict[str, Any]:
    distribution = parse_distribution(file.filename, page.project)
    return {
        "path": file_target(distribution),
        "project": page.project,
        "version": distribution.version,
        "filename": file.filename,
        "sha256": file.sha256,
        "upload_time": file.upload_time,
        "proposal": REBUILT,
        "state": state,
    }


def _essence(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must be as the page says; a removed file's size stands on no page."""
    size = None if row["state"] == "removed" else row["size"]
    return row["filename"], row["sha256"], size, row["state"]
