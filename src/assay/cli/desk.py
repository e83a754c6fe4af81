"""What the verbs that work on an index's data folder share: opening its ledger, and who acts."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import Connection

from assay.index.config import DataFolder
from assay.index.ledger import Ledger
from assay.model.errors import OperatorError

ACTOR = "local-admin"
"""Whoever can write the data folder administers the index; events say so."""

data_option = click.option(
    "--data", type=click.Path(path_type=Path), default="assay-data", show_default=True, help="The index's data folder."
)


def now() -> datetime:
    """The current moment, UTC."""
    return datetime.now(UTC)


@contextmanager
def ledger_of(data: Path, *, write: bool = False) -> Iterator[Connection]:
    """A transaction on the ledger of the data folder ``data``. Raises OperatorError when there is none."""
    folder = DataFolder(data.resolve())
    if not folder.ledger_file.exists():
        raise OperatorError(
            "no index in this folder", subject=str(data), rule="no-index", next_step="assay serve --data DIR makes one"
        )
    ledger = Ledger.open(folder.ledger_file)
    try:
        with ledger.write() if write else ledger.read() as connection:
            yield connection
    finally:
        ledger.close()
