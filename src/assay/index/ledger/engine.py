"""Opening the ledger, and its two kinds of transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError, OperationalError

from assay.index.ledger import schema
from assay.index.ledger.migrations import STEPS, can_migrate, migrate
from assay.model.errors import OperatorError, StorageUnavailable

BUSY_TIMEOUT_S = 30.0


class Ledger:
    """A handle on the database. ``read`` and ``write`` give a connection inside one transaction.

    Writes are serialised (``BEGIN IMMEDIATE``) and durable when the block ends (``synchronous=FULL``).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, path: Path) -> "Ledger":
        """Open the SQLite ledger at ``path``, made when it is new, migrated when it is old. Raises OperatorError."""
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin)
        ledger = cls(engine)
        ledger._prepare(path)
        return ledger

    def _prepare(self, path: Path) -> None:
        with self.write() as connection:
            schema.metadata.create_all(connection)
            version = connection.scalar(select(schema.schema_version.c.version))
            if version is None:
                connection.execute(insert(schema.schema_version).values(version=schema.SCHEMA_VERSION))
                connection.execute(insert(schema.head).values(id=1, publication=0, epoch=0, timestamp=None, pages={}))
            elif not can_migrate(version):
                raise OperatorError(
                    "the ledger was written by another version of Assay",
                    subject=str(path),
                    rule="ledger-version",
                    expected=f"schema {min(STEPS)} to {schema.SCHEMA_VERSION}",
                    found=f"schema {version}",
                    next_step="run the release of Assay that wrote it, or a newer one",
                )
            elif version < schema.SCHEMA_VERSION:
                migrate(connection, version)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent snapshot of the ledger."""
        with _storage_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One serialised transaction: committed and durable at the end of the block, or nothing of it."""
        with (
            _storage_errors(),
            self._engine.connect().execution_options(assay_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("assay_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StorageUnavailable(f"the ledger does not answer: {error.orig}", subject="ledger") from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        raise StorageUnavailable(
            f"the ledger is damaged: {error.orig}",
            subject="ledger",
            rule="ledger-damaged",
            next_step="assay doctor; then assay restore BACKUP, or assay restore --rebuild-ledger",
        ) from error
