"""Making a new index in an empty data folder: the ceremony of one machine, the ledger, the first administrator.

Every step can be interrupted and is finished by the next start: the ceremony counts from the rename of its folder on.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_bytes

from assay import durable
from assay.index.config import DataFolder, IndexConfig
from assay.index.identity import identity_root
from assay.index.ledger import Ledger, accounts
from assay.index.published import PublishedStore
from assay.keys.local import KeyFolder, LocalWitness, hold_local_ceremony
from assay.model.digests import sha256_of
from assay.model.errors import OperatorError
from assay.model.permissions import Action, Scope
from assay.trust.layout import ROOT, metadata_path

ADMIN = "admin"
_CEREMONY = "ceremony"


@dataclass(frozen=True, slots=True)
class Established:
    """An index that is ready to run. ``fingerprint``: sha256 of the root that clients begin with.

    ``admin_token`` only the first time.
    """

    fingerprint: str
    admin_token: accounts.NewToken | None


def is_new(data: DataFolder) -> bool:
    """Whether no ceremony has been held in this data folder."""
    return not data.keys.root.exists() and PublishedStore(data.published).read(metadata_path(ROOT, 1)) is None


def establish(
    data: DataFolder,
    config: IndexConfig,
    passphrase: bytes | None,
    now: datetime,
    witnesses: Sequence[LocalWitness] = (),
    witnesses_needed: int = 1,
) -> Established:
    """Hold the local ceremony if none was held, and make ledger and administrator. Idempotent.

    ``passphrase`` None leaves the keys unencrypted; from the first publication on ``witnesses_needed`` of ``witnesses``
    co-sign. Raises OperatorError, KeyUnavailable.
    """
    if is_new(data):
        _hold_ceremony(data, config, passphrase, now, witnesses, witnesses_needed)
    fingerprint = _publish_ceremony(data)
    ledger = Ledger.open(data.ledger_file)
    try:
        return Established(fingerprint, _first_admin(ledger, now))
    finally:
        ledger.close()


def _hold_ceremony(
    data: DataFolder,
    config: IndexConfig,
    passphrase: bytes | None,
    now: datetime,
    witnesses: Sequence[LocalWitness],
    witnesses_needed: int,
) -> None:
    draft = data.root / ".ceremony"
    shutil.rmtree(draft, ignore_errors=True)
    lifetimes = config.lifetimes
    moment = now.replace(microsecond=0)
    signed = hold_local_ceremony(
        KeyFolder(draft), passphrase, moment, config.trust.bin_bits, lifetimes, witnesses, witnesses_needed
    )
    durable.write_files({draft / _CEREMONY / f"{role}.json": file for role, file in signed.items()})
    draft.rename(data.keys.root)
    durable.sync(data.root)


def _publish_ceremony(data: DataFolder) -> str:
    """See to it that what the ceremony signed is published; returns the fingerprint that clients begin with."""
    published = PublishedStore(data.published)
    folder = data.keys.root / _CEREMONY
    signed = {file.stem: file.read_bytes() for file in folder.glob("*.json")} if folder.is_dir() else {}
    missing = {name: file for role, file in signed.items() if published.read(name := metadata_path(role, 1)) is None}
    if missing:
        published.write(missing)
    root = identity_root(published)
    if root is None:
        raise OperatorError(
            "this data folder has keys but no root",
            subject=str(data.root),
            rule="no-root",
            next_step="restore published/tuf/1.root.json from a backup",
        )
    return sha256_of(root)


def _first_admin(ledger: Ledger, now: datetime) -> accounts.NewToken | None:
    with ledger.write() as connection:
        if accounts.has_users(connection):
            return None
        accounts.create_user(connection, ADMIN, ADMIN, now, is_admin=True)
        scope = Scope(frozenset({Action.ADMIN, Action.UPLOAD, Action.READ}))
        return accounts.create_token(
            connection, ADMIN, scope, ADMIN, now, entropy=token_bytes(32), description="first administrator"
        )
