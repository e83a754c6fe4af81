"""What the verbs that work on an index's data folder share: opening its ledger, and who acts."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import Connection

from assay.index.config import DataFolder
from assay.index.ledger import Ledger
from assay.index.ledger.publications import outbox_state
from assay.model.errors import OperatorError, SignerRefused

SETTLE_S = 20.0
POLL_S = 0.1

ACTOR = "local-admin"
"""Whoever can write the data folder administers the index; events say so."""

data_option = click.option(
    "--data", type=click.Path(path_type=Path), default="assay-data", show_default=True, help="The index's data folder."
)


def now() -> datetime:
    """The current moment, UTC."""
    return datetime.now(UTC)


def settle(data: Path, proposals: Sequence[int]) -> str:
    """Wait for ``proposals`` while an index runs on ``data``; says what came of them.

    Raises SignerRefused with the signer's reason.
    """
    deadline = time.monotonic() + SETTLE_S
    while True:
        with ledger_of(data) as connection:
            states = [outbox_state(connection, seq) for seq in proposals]
        refused = [reason for state, reason in states if state == "refused"]
        if refused:
            raise SignerRefused(refused[0] or "the signer refused this")
        if all(state == "published" for state, _ in states):
            return "published"
        if time.monotonic() > deadline or not DataFolder(data.resolve()).web_marker.exists():
            return "recorded; the index publishes it when it runs"
        time.sleep(POLL_S)


def data_folder(data: Path) -> DataFolder:
    """The data folder of an index that was made there, whatever is left of it. Raises OperatorError."""
    folder = DataFolder(data.resolve())
    if not folder.socket.parent.is_dir():
        raise _no_index(data)
    return folder


def _no_index(data: Path) -> OperatorError:
    return OperatorError(
        "no index in this folder", subject=str(data), rule="no-index", next_step="assay serve --data DIR makes one"
    )


@contextmanager
def ledger_of(data: Path, *, write: bool = False) -> Iterator[Connection]:
    """A transaction on the ledger of the data folder ``data``. Raises OperatorError when there is none."""
    with opened_ledger(data) as ledger, ledger.write() if write else ledger.read() as connection:
        yield connection


@contextmanager
def opened_ledger(data: Path) -> Iterator[Ledger]:
    """The ledger of the data folder ``data``. Raises OperatorError when there is none."""
    folder = data_folder(data)
    if not folder.ledger_file.exists():
        raise _no_index(data)
    ledger = Ledger.open(folder.ledger_file)
    try:
        yield ledger
    finally:
        ledger.close()
