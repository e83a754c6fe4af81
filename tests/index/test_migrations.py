"""A ledger of an older release opens, with its rows, as one that was made today."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.index.ledger import Ledger
from assay.index.ledger.accounts import create_user, list_users
from assay.index.ledger.schema import SCHEMA_VERSION
from assay.model.errors import OperatorError

NOW = datetime(2026, 11, 25, tzinfo=UTC)

BACK_TO_2 = """
DROP TABLE factors;
DROP INDEX projects_made;
DROP INDEX events_by_actor;
DROP INDEX ix_outbox_publication;
DROP INDEX ix_publications_done;
ALTER TABLE files DROP COLUMN dependencies;
UPDATE schema_version SET version = 2;
"""


def shape(path: Path) -> dict[str, object]:
    """Every table's columns, and every index, but for the order in which they were made."""
    with closing(sqlite3.connect(path)) as database:
        names = database.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
        tables = [name for kind, name, _ in names if kind == "table"]
        columns = {table: {row[1:4] for row in database.execute(f"PRAGMA table_info({table})")} for table in tables}
    return {"names": set(names), **columns}


def altered(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(script)


def test_a_ledger_of_schema_2_becomes_one_of_today(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    for path in (old, new):
        Ledger.open(path).close()
    altered(old, BACK_TO_2)
    assert shape(old) != shape(new)
    Ledger.open(old).close()
    assert shape(old) == shape(new)
    Ledger.open(old).close()


def test_rows_survive(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    with ledger.write() as connection:
        create_user(connection, "alice", "admin", NOW)
    ledger.close()
    altered(path, BACK_TO_2)
    with Ledger.open(path).read() as connection:
        assert [user["name"] for user in list_users(connection)] == ["alice"]


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION + 1])
def test_a_ledger_that_no_step_leads_from_is_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    altered(path, f"UPDATE schema_version SET version = {version};")
    before = shape(path)
    with pytest.raises(OperatorError) as caught:
        Ledger.open(path)
    assert (caught.value.rule, caught.value.found) == ("ledger-version", f"schema {version}")
    assert shape(path) == before
