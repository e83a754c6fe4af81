"""The ledger's tables, in SQL that SQLite and PostgreSQL share. Times are UTC; digests are lower-case hex."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = 3

metadata = MetaData()


class Instant(TypeDecorator[datetime]):
    """A UTC moment as ISO 8601 text, which sorts and reads the same in every database."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Any) -> str | None:
        """To the database: refuse what has no time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, _dialect: Any) -> datetime | None:
        """From the database."""
        return None if value is None else datetime.fromisoformat(value)


schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("is_admin", Boolean, nullable=False, default=False),
    Column("password", String(200)),
    Column("created", Instant, nullable=False),
)

factors = Table(
    "factors",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user", ForeignKey("users.name"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(60), nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("credential", LargeBinary, unique=True),
    Column("counter", Integer, nullable=False),
    Column("created", Instant, nullable=False),
    Column("last_used", Instant),
    Column("removed", Instant),
)
"""Second factors (``ledger.factors``)."""

publishers = Table(
    "publishers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(100), nullable=False, index=True),
    Column("issuer", String(500), nullable=False, index=True),
    Column("members", JSON, nullable=False),
    Column("claims", JSON, nullable=False),
    Column("pending", Boolean, nullable=False),
    Column("owner", ForeignKey("users.name")),
    Column("registered_by", String(64), nullable=False),
    Column("registered_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)
"""Trusted publishers. ``pending``: its project does not exist yet and will be ``owner``'s."""

spent_tokens = Table(
    "spent_tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("until", Instant, nullable=False, index=True),
)
"""Identity tokens that were used, until nobody accepts them any more."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("user", ForeignKey("users.name")),
    Column("publisher", ForeignKey("publishers.id")),
    Column("identity", JSON),
    Column("description", String(200), nullable=False),
    Column("actions", JSON, nullable=False),
    Column("projects", JSON),
    Column("created", Instant, nullable=False),
    Column("expires", Instant),
    Column("revoked", Instant),
    Column("last_used", Instant),
)

"""A token is a ``user``'s, or a ``publisher``'s: then ``identity`` says which run of a CI it was minted for."""

projects = Table(
    "projects",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("skeleton", String(100), nullable=False, index=True),
    Column("origin", String(16), nullable=False),
    Column("private", Boolean, nullable=False, default=False),
    Column("status", String(16), nullable=False, default="active", server_default="active"),
    Column("created", Instant, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("upstream_etag", String(200)),
    Column("upstream_checked", Instant),
    Index("projects_made", "created_by", "created"),
)

grants = Table(
    "grants",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False, index=True),
    Column("user", ForeignKey("users.name"), nullable=False),
    Column("role", String(16), nullable=False),
    Column("granted_by", String(64), nullable=False),
    Column("granted_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)

files = Table(
    "files",
    metadata,
    Column("path", String(500), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("version", String(200), nullable=False),
    Column("filename", String(255), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("core_metadata", String(64)),
    Column("upstream_url", String(2000)),
    Column("upload_time", Instant, nullable=False),
    Column("dependencies", JSON(none_as_null=True)),
    Column("proposal", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    UniqueConstraint("project", "filename"),
)
"""``proposal``: its row in the outbox. ``state``: pending, published, removed, or refused (by the signer).
``dependencies``: what the uploaded file said that it depends on, NULL where it did not say yet."""

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Instant, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("project", String(100), index=True),
    Column("facts", JSON, nullable=False),
    Column("publication", Integer, index=True),
    Index("events_by_actor", "actor", "kind", "time"),
)
"""Append-only: every mutation writes its event in the same transaction. ``publication``: the one that logs it."""

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("project", String(100), nullable=False),
    Column("proposal", JSON, nullable=False),
    Column("publication", Integer, index=True),
    Column("state", String(16), nullable=False),
    Column("reason", String(1000)),
    Index("outbox_open", "state", "seq"),
)
"""What the signer is asked to publish. ``state``: pending, published, or refused with a ``reason``."""

publications = Table(
    "publications",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("time", Instant, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("renewals", JSON, nullable=False),
    Column("offline", JSON, nullable=False),
    Column("done", Boolean, nullable=False, index=True),
)
"""A row is a committed intent to publish; ``time``, ``renewals`` (bins) and ``offline`` (role -> version from the
inbox) make its plan repeatable byte for byte."""

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("publication", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("timestamp", LargeBinary),
    Column("root", LargeBinary),
    Column("pages", JSON, nullable=False),
)
"""One row: the newest publication that counts, its ``timestamp.json``, the new root it brings (or none), and the page
pointers it moves."""
