"""The ledger's rows of projects and files, made again from the signed pages: a page at a time, whatever was there."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tuf.api.metadata import Timestamp

from assay.index.ledger import Ledger, repair
from assay.index.signer.state import PublishedState
from assay.model.names import ProjectName
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BIN_PREFIX, TIMESTAMP

PAGES_A_TRANSACTION = 200
HELD_ROLES = 64


def as_of(timestamp: bytes, now: datetime) -> datetime:
    """When a published timestamp's file may be read: now, or the last moment at which it held."""
    return min(now, parse_envelope(timestamp, Timestamp, TIMESTAMP).signed.expires - timedelta(seconds=1))


def published_projects(state: PublishedState) -> Iterator[ProjectName]:
    """Every project that has a signed page, one bin after the other."""
    for role in state.succinct().get_roles():
        found = state.bin(role, keep=False)
        for path in found.targets if found is not None else ():
            if path.startswith("simple/"):
                yield ProjectName(path.split("/")[1])


def rebuild_ledger(state: PublishedState, ledger: Ledger, now: datetime) -> tuple[int, int]:
    """Rewrite what differs; returns how many pages were read, and for how many of them rows were made again.

    Raises VerificationFailed when a signed page is not there.
    """
    read = changed = 0
    waiting: list[ProjectName] = []
    for project in published_projects(state):
        waiting.append(project)
        if len(waiting) == PAGES_A_TRANSACTION:
            changed += _rebuild(state, ledger, waiting, now)
            read, waiting = read + len(waiting), []
    return read + len(waiting), changed + _rebuild(state, ledger, waiting, now)


def _rebuild(state: PublishedState, ledger: Ledger, projects: list[ProjectName], now: datetime) -> int:
    pages = [page for project in projects if (page := state.page(project)) is not None]
    state.trusted.trim(HELD_ROLES, BIN_PREFIX)
    with ledger.write() as connection:
        return sum(repair.rebuild_files(connection, page, now) for page in pages)
