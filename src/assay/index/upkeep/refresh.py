"""Publishing once by hand: what waits, what is due, and a fresh timestamp in any case."""

from datetime import datetime

from assay.index.config import DataFolder, IndexConfig
from assay.index.ledger import Ledger, repair
from assay.index.published import PublishedStore
from assay.index.signer.house import open_publisher
from assay.index.signer.online import Keyring
from assay.index.signer.state import PublishedState


def refresh(
    data: DataFolder, config: IndexConfig, passphrase: str | None, ledger: Ledger, now: datetime, *, trust_clock: bool
) -> int:
    """Publish; returns the number of the newest publication. ``trust_clock``: the last publication's time was wrong.

    Raises SignerRefused when the clock is behind the last publication and is not to be trusted, VerificationFailed when
    what is published is not valid at ``now``.
    """
    if trust_clock:
        PublishedState.read(PublishedStore(data.published), now)
        with ledger.write() as connection:
            repair.set_last_time(connection, now)
    publisher = open_publisher(data, config, Keyring(data.keys, passphrase, config.keys.uris()), ledger)
    while publisher.run_once(now):
        pass
    publisher.refresh(now)
    return publisher.number
