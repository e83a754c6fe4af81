"""A ledger that is gone or damaged, made again from signed metadata: projects and files come back, accounts do not."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_bytes

from assay import durable
from assay.index.config import DataFolder
from assay.index.establish import ADMIN
from assay.index.ledger import Ledger, accounts, repair
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.rebuild import as_of, rebuild_ledger
from assay.index.signer.state import PublishedState
from assay.model.errors import OperatorError
from assay.model.permissions import Action, Scope


@dataclass(frozen=True, slots=True)
class NewLedger:
    """How many ``projects`` came back, a ``token`` of a new administrator, and where the old file lies (None: gone)."""

    projects: int
    token: str
    aside: Path | None


def make_ledger_again(data: DataFolder, now: datetime) -> NewLedger:
    """Put the old ledger aside and make one that has what is published.

    Raises OperatorError where nothing is published, VerificationFailed where it does not verify: then nothing changed.
    """
    published = PublishedStore(data.published)
    timestamp = published.read(TIMESTAMP_NAME)
    if timestamp is None:
        raise OperatorError("nothing is published here", subject=str(data.root), rule="unpublished")
    made = as_of(timestamp, now)
    state = PublishedState.read(published, made)
    aside = _put_aside(data, now)
    ledger = Ledger.open(data.ledger_file)
    try:
        projects, _ = rebuild_ledger(state, ledger, now)
        with ledger.write() as connection:
            repair.set_head(connection, state.snapshot.version if state.snapshot else 0, timestamp, made)
            accounts.create_user(connection, ADMIN, ADMIN, now, is_admin=True)
            scope = Scope(frozenset({Action.ADMIN, Action.UPLOAD, Action.READ}))
            token = accounts.create_token(
                connection,
                ADMIN,
                scope,
                ADMIN,
                now,
                entropy=token_bytes(32),
                description="ledger rebuilt",
            )
            accounts.record_event(connection, "ledger-rebuilt", ADMIN, now, projects=projects)
    finally:
        ledger.close()
    return NewLedger(projects, token.text, aside)


def _put_aside(data: DataFolder, now: datetime) -> Path | None:
    folder = data.ledger_file.parent
    found = [
        path for path in folder.glob(f"{data.ledger_file.name}*") if path.is_file() and ".damaged" not in path.name
    ]
    aside = folder / f"{data.ledger_file.name}.damaged-{now:%Y%m%dT%H%M%S}"
    for path in found:
        path.replace(aside.with_name(f"{aside.name}{path.name.removeprefix(data.ledger_file.name)}"))
    durable.sync(folder)
    return aside if found else None
