"""From each version of the ledger to the next, in statements that SQLite and PostgreSQL read alike.

New tables need no step: opening the ledger makes what is missing. A step runs once, in the transaction that opens.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, text, update

from assay.index.ledger import schema

STEPS: Final[Mapping[int, Sequence[str]]] = {
    2: (
        "ALTER TABLE files ADD COLUMN dependencies JSON",
        "CREATE INDEX projects_made ON projects (created_by, created)",
        "CREATE INDEX events_by_actor ON events (actor, kind, time)",
        "CREATE INDEX ix_outbox_publication ON outbox (publication)",
        "CREATE INDEX ix_publications_done ON publications (done)",
    ),
}
"""Version -> what makes the next one of it."""


def can_migrate(version: int) -> bool:
    """Whether every step from ``version`` to ``SCHEMA_VERSION`` is known."""
    return all(step in STEPS for step in range(version, schema.SCHEMA_VERSION)) and version <= schema.SCHEMA_VERSION


def migrate(connection: Connection, version: int) -> None:
    """Bring a ledger of ``version`` up to ``SCHEMA_VERSION``."""
    for step in range(version, schema.SCHEMA_VERSION):
        for statement in STEPS[step]:
            connection.execute(text(statement))
    connection.execute(update(schema.schema_version).values(version=schema.SCHEMA_VERSION))
