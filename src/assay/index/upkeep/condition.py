"""The condition of a data folder, before its contents are compared: marks of bad days, database, room, numbers."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Final

from tuf.api.metadata import Timestamp

from assay.index.config import DataFolder
from assay.index.findings import Finding
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.recovery.freeze import require_thawed
from assay.index.recovery.good import highest_versions
from assay.index.upkeep.scrub import read_state
from assay.model.errors import AssayError
from assay.trust.envelope import parse_envelope
from assay.trust.layout import SNAPSHOT, TIMESTAMP

LITTLE_ROOM_BYTES: Final = 1_000_000_000
SCRUB_EVERY: Final = timedelta(days=90)


def examine_folder(data: DataFolder, now: datetime) -> Iterator[Finding]:
    """What is wrong with the folder itself, and what to do. Changes nothing."""
    if not data.root.is_dir():
        yield Finding("wrong", str(data.root), "there is no such folder", "say --data, or assay serve makes an index")
        return
    yield from _marks(data)
    yield from _ledger(data)
    yield from _numbers(data)
    yield from _room(data)
    yield from _scrubbed(data, now)


def _marks(data: DataFolder) -> Iterator[Finding]:
    try:
        require_thawed(data)
    except AssayError as error:
        yield Finding("wrong", "recovery", str(error), error.next_step)


def _ledger(data: DataFolder) -> Iterator[Finding]:
    """SQLite's own check of the file. It reads all of it."""
    step = "assay restore BACKUP --data NEW, or assay restore --rebuild-ledger (accounts are lost)"
    if not data.ledger_file.exists():
        yield Finding("wrong", "ledger", "the database is gone", step)
        return
    try:
        with closing(sqlite3.connect(f"file:{data.ledger_file}?mode=ro", uri=True)) as connection:
            for (line,) in connection.execute("PRAGMA quick_check(5)"):
                if line != "ok":
                    yield Finding("wrong", "ledger", f"the database is damaged: {line}", step)
    except sqlite3.Error as error:
        yield Finding("wrong", "ledger", f"the database is damaged: {error}", step)


def _numbers(data: DataFolder) -> Iterator[Finding]:
    """Is what is shown the highest that was ever published here? One more may lie there, of a publication under way."""
    published = PublishedStore(data.published)
    shown = published.read(TIMESTAMP_NAME)
    if shown is None:
        return
    try:
        stamp = parse_envelope(shown, Timestamp, TIMESTAMP).signed
    except AssayError as error:
        yield Finding("wrong", "timestamp.json", str(error), "start the signer: it shows the newest publication again")
        return
    highest = highest_versions(published).get(SNAPSHOT, 0)
    if highest > stamp.snapshot_meta.version + 1:
        text = f"snapshot {stamp.snapshot_meta.version} is shown, but {highest} was published: an old copy came back"
        yield Finding("wrong", SNAPSHOT, text, "do not start the signer; assay restore from the newest backup")


def _room(data: DataFolder) -> Iterator[Finding]:
    free = shutil.disk_usage(data.root).free
    if free < LITTLE_ROOM_BYTES:
        yield Finding("note", "disk", f"{free / 1e6:.0f} MB are free", "make room; uploads end at 64 MB")
    if data.web_marker.exists() and not data.reserve.exists():
        text = "no room is reserved for the timestamp of a full disk"
        yield Finding("note", "disk", text, "make room: the signer reserves it again")


def _scrubbed(data: DataFolder, now: datetime) -> Iterator[Finding]:
    state = read_state(data)
    if state is None:
        return
    for name in state.bad[:5]:
        yield Finding("wrong", name, "the last scrub found other bytes than its name says", "restore it from a backup")
    if now - datetime.fromisoformat(state.started) > SCRUB_EVERY:
        yield Finding("note", "scrub", f"the last one began at {state.started}", "assay scrub")
