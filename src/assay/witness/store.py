"""The witness's own database: everything it accepted, kept so that no crash, copy or backup makes it forget silently.

Invariants: ``remember`` is durable on return (``synchronous=FULL``) and all or nothing; a path's bytes, once known, are
never changed or deleted; the database knows the file it was made in, so that a restored or copied one is recognised.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tuf.api.metadata import Targets

from assay.model.digests import Sha256
from assay.model.errors import AssayError, OperatorError, StorageUnavailable
from assay.trust.candidate import Stamp
from assay.trust.envelope import parse_envelope
from assay.trust.witness_memory import Approval, Kind, KnownFile, Seen

SCHEMA = 1
KEPT_REFUSALS = 100_000
KEPT_VIEWS = 1_000_000
CACHED_ROLES = 1024
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roots (version INTEGER PRIMARY KEY, file BLOB NOT NULL);
CREATE TABLE roles (role TEXT PRIMARY KEY, version INTEGER NOT NULL, payload TEXT NOT NULL, kind TEXT NOT NULL,
  pin TEXT, file BLOB, time TEXT NOT NULL);
CREATE TABLE delegators (role TEXT PRIMARY KEY, above TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, length INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE removals (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, time TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE current (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, payload TEXT NOT NULL,
  file BLOB NOT NULL, stamp TEXT NOT NULL, time TEXT NOT NULL);
CREATE TABLE views (snapshot INTEGER PRIMARY KEY, view TEXT NOT NULL);
CREATE TABLE refusals (id INTEGER PRIMARY KEY AUTOINCREMENT, first TEXT NOT NULL, last TEXT NOT NULL,
  times INTEGER NOT NULL, rule TEXT NOT NULL, subject TEXT, what TEXT NOT NULL, expected TEXT, found TEXT);
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing this witness refused, and how often in a row: times in UTC, ISO 8601."""

    id: int
    first: str
    last: str
    times: int
    rule: str
    subject: str | None
    what: str
    expected: str | None
    found: str | None


class WitnessStore:
    """``Memory`` on disk. One instance per process; its methods may be called from any thread."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._roles: dict[str, Seen] = {}
        self._delegators: dict[str, str] = {}
        self.path = path
        self.root: bytes | None = None
        self.snapshot: Seen | None = None
        self.stamp: Stamp | None = None
        self._contents: dict[str, Targets] = {}
        self._load()

    @classmethod
    def create(cls, path: Path, fingerprint: Sha256 | None = None) -> "WitnessStore":
        """A new, empty memory at ``path``. Raises OperatorError when there is one."""
        if path.exists():
            raise OperatorError("this witness has a database already", subject=str(path), rule="database-exists")
        with _storage_errors(path):
            connection = _connect(path)
            connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
            connection.execute("INSERT INTO facts VALUES ('file', ?)", [_identity_of(path)])
            if fingerprint is not None:
                connection.execute("INSERT INTO facts VALUES ('fingerprint', ?)", [fingerprint])
            return cls(connection, path)

    @classmethod
    def open(cls, path: Path) -> "WitnessStore":
        """The memory at ``path``. Raises OperatorError when it is missing, another version's, or not in its place.

        A restored backup, or a copy, is a file of its own: it may have missed what this witness signed afterwards.
        """
        if not path.exists():
            raise OperatorError("this witness has no database", subject=str(path), rule="database-missing")
        with _storage_errors(path):
            connection = _connect(path)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA:
            raise OperatorError(
                "the database was written by another release of Assay",
                subject=str(path),
                rule="database-version",
                expected=f"schema {SCHEMA}",
                found=f"schema {version}",
            )
        store = cls(connection, path)
        if store.fact("file") != _identity_of(path):
            raise OperatorError(
                "this database was copied or restored: what this witness signed since then is not in it",
                subject=str(path),
                rule="database-restored",
                expected=f"the file that it was made in ({store.fact('file')})",
                found=f"another one ({_identity_of(path)})",
                next_step="never run a witness from a backup: make a new one and enrol its keys in a ceremony",
            )
        return store

    # --- Memory -------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> Sha256:
        """The pinned root. Raises OperatorError while none is pinned."""
        found = self.fact("fingerprint")
        if found is None:
            raise OperatorError(
                "this witness follows no index yet",
                rule="not-following",
                next_step="assay witness follow --folder ... --index URL --fingerprint sha256:...",
            )
        return Sha256(found)

    @property
    def roles(self) -> Mapping[str, Seen]:
        """Every accepted role."""
        return MappingProxyType(self._roles)

    @property
    def delegators(self) -> Mapping[str, str]:
        """Delegated role -> the role that delegates it."""
        return MappingProxyType(self._delegators)

    def targets(self, role: str) -> Targets:
        """The accepted content of ``role``."""
        with self._lock:
            found = self._contents.pop(role, None) or self._read_targets(role)
            self._keep(role, found)
        return found

    def _keep(self, role: str, content: Targets) -> None:
        """Remember the read form of a role, the newest last; the oldest are forgotten."""
        self._contents[role] = content
        while len(self._contents) > CACHED_ROLES:
            del self._contents[next(iter(self._contents))]

    def _read_targets(self, role: str) -> Targets:
        data = self.role_file(role)
        if data is None:
            raise StorageUnavailable("the witness's copy of a role is gone", subject=role, rule="storage")
        return parse_envelope(data, Targets, role).signed

    def file(self, path: str) -> KnownFile | None:
        """What is known of ``path``."""
        row = self._one("SELECT length, sha256 FROM files WHERE path = ?", path)
        return KnownFile(row[0], Sha256(row[1])) if row else None

    # --- remembering --------------------------------------------------------------------------------------

    def remember(self, approval: Approval, files: Mapping[str, bytes], snapshot_file: bytes, now: datetime) -> None:
        """Make what was approved the past. ``files``: the approved roles' files. Durable on return."""
        time = now.isoformat()
        roles = [
            (role, seen.version, seen.payload, seen.kind.value, seen.pin, files.get(role), time)
            for role, seen in approval.accepted.items()
        ]
        known = [(path, file.length, file.sha256) for path, file in approval.files.items()]
        snapshot, stamp = approval.seen_snapshot, approval.stamp
        current = (snapshot.version, snapshot.payload, snapshot_file, json.dumps(stamp.to_dict()), time)
        with self._transaction() as connection:
            for root in approval.roots:
                connection.execute("INSERT INTO roots VALUES (?, ?)", [root.signed.version, root.data])
            connection.executemany("INSERT OR REPLACE INTO roles VALUES (?, ?, ?, ?, ?, ?, ?)", roles)
            connection.executemany("INSERT INTO files VALUES (?, ?, ?)", known)
            removed = [(path, sha256, time) for path, sha256 in approval.removed.items()]
            connection.executemany("INSERT OR IGNORE INTO removals VALUES (?, ?, ?)", removed)
            if dict(approval.delegators) != self._delegators:
                connection.execute("DELETE FROM delegators")
                connection.executemany("INSERT INTO delegators VALUES (?, ?)", approval.delegators.items())
            connection.execute("INSERT OR REPLACE INTO current VALUES (1, ?, ?, ?, ?, ?)", current)
            connection.execute("INSERT OR REPLACE INTO views VALUES (?, ?)", [snapshot.version, approval.view])
            connection.execute("DELETE FROM views WHERE snapshot < ?", [snapshot.version - KEPT_VIEWS])
        self._roles.update(approval.accepted)
        with self._lock:
            for role in approval.accepted:
                self._contents.pop(role, None)
            for role, content in approval.contents.items():
                self._keep(role, content)
        self._delegators = dict(approval.delegators)
        self.root = approval.roots[-1].data if approval.roots else self.root
        self.snapshot, self.stamp = snapshot, stamp

    def follow(self, url: str, fingerprint: Sha256) -> None:
        """Follow the index at ``url`` with this first root, for good. Raises OperatorError for another root."""
        known = self.fact("fingerprint")
        if known not in (None, fingerprint):
            raise OperatorError(
                "this witness follows another index",
                rule="root-fingerprint",
                expected=f"sha256:{known}",
                found=f"sha256:{fingerprint}",
                next_step="a witness has one index for life: its signatures say nothing of which index they are for",
            )
        with self._transaction() as connection:
            rows = [("fingerprint", fingerprint), ("index", url)]
            connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    @property
    def index(self) -> str | None:
        """The URL that is followed."""
        return self.fact("index")

    def halt(self, error: AssayError) -> None:
        """Never sign again: ``error`` shows that this memory is not the whole of what was signed."""
        self._set("halted", str(error))

    @property
    def halted(self) -> str | None:
        """Why this witness never signs again, or None."""
        return self.fact("halted")

    # --- asking -------------------------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A fact about this memory."""
        row = self._one("SELECT value FROM facts WHERE name = ?", name)
        return str(row[0]) if row else None

    def view(self, snapshot: int) -> Sha256 | None:
        """The digest of what clients of that snapshot were shown, or None when it was not co-signed here."""
        row = self._one("SELECT view FROM views WHERE snapshot = ?", snapshot)
        return Sha256(row[0]) if row else None

    def role_file(self, role: str) -> bytes | None:
        """This witness's copy of a role's file, its own signature included."""
        row = self._one("SELECT file FROM roles WHERE role = ?", role)
        return bytes(row[0]) if row and row[0] is not None else None

    def snapshot_file(self) -> bytes | None:
        """This witness's copy of the snapshot, its own signature included."""
        row = self._one("SELECT file FROM current")
        return bytes(row[0]) if row else None

    def last_time(self) -> str | None:
        """When something was accepted last: UTC, ISO 8601."""
        row = self._one("SELECT time FROM current")
        return str(row[0]) if row else None

    def roots(self, least: int) -> list[bytes]:
        """Every root from version ``least`` on."""
        with self._lock:
            rows = self._connection.execute("SELECT file FROM roots WHERE version >= ? ORDER BY version", [least])
            return [row[0] for row in rows]

    def removals(self) -> dict[str, str]:
        """Every recorded removal: path -> sha256."""
        with self._lock:
            return dict(self._connection.execute("SELECT path, sha256 FROM removals ORDER BY path").fetchall())

    # --- refusals -----------------------------------------------------------------------------------------

    def record_refusal(self, error: AssayError, now: datetime) -> bool:
        """Keep ``error``; the same one again only counts up. True when it is a new one."""
        said = (error.rule, error.subject, error.what, error.expected, error.found)
        time = now.isoformat()
        with self._transaction() as connection:
            newest = "SELECT id, rule, subject, what, expected, found FROM refusals ORDER BY id DESC LIMIT 1"
            last = connection.execute(newest).fetchone()
            if last is not None and tuple(last[1:]) == said:
                connection.execute("UPDATE refusals SET times = times + 1, last = ? WHERE id = ?", [time, last[0]])
                return False
            number = connection.execute(
                "INSERT INTO refusals (first, last, times, rule, subject, what, expected, found)"
                " VALUES (?, ?, 1, ?, ?, ?, ?, ?)",
                (time, time, *said),
            ).lastrowid
            connection.execute("DELETE FROM refusals WHERE id <= ?", [(number or 0) - KEPT_REFUSALS])
            return True

    def refusals(self, before: int | None, count: int) -> list[Refusal]:
        """The newest ``count`` refusals with an id below ``before``."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, first, last, times, rule, subject, what, expected, found FROM refusals"
                " WHERE id < ? ORDER BY id DESC LIMIT ?",
                [before or 1 << 62, count],
            )
            return [Refusal(*row) for row in rows]

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    # --- inside -------------------------------------------------------------------------------------------

    def _load(self) -> None:
        with self._lock:
            rows = self._connection.execute("SELECT role, version, payload, kind, pin FROM roles")
            self._roles = {row[0]: Seen(row[1], row[2], Kind(row[3]), row[4]) for row in rows}
            self._delegators = dict(self._connection.execute("SELECT role, above FROM delegators").fetchall())
            row = self._one("SELECT file FROM roots ORDER BY version DESC LIMIT 1")
            self.root = row[0] if row else None
            row = self._one("SELECT version, payload, stamp FROM current")
        self.snapshot = Seen(row[0], row[1], Kind.BIN) if row else None
        self.stamp = Stamp.from_dict(json.loads(row[2])) if row else None

    def _one(self, query: str, *values: object) -> Any:
        with self._lock, _storage_errors(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
            return row

    def _set(self, name: str, value: str) -> None:
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [name, value])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _storage_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _identity_of(path: Path) -> str:
    """What a copy of a file does not share with it."""
    return f"inode {path.stat().st_ino}"


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageUnavailable(f"the witness's database does not answer: {error}", subject=str(path)) from error
