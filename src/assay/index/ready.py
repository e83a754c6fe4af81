"""What every start does before signer and web: establish, finish what a crash left half shown, renew what is due.

Reading what is published comes after finishing it: a root that is shown without its timestamp verifies for nobody.
"""

from datetime import datetime

from assay import durable
from assay.index.config import DataFolder, IndexConfig
from assay.index.establish import Established, establish
from assay.index.ledger import Ledger
from assay.index.ledger.publications import read_head
from assay.index.log import LogWriter, no_log_key
from assay.index.published import PublishedStore
from assay.index.renewal import renew_due
from assay.index.signer.fence import writing
from assay.index.signer.head import show_head


def make_ready(data: DataFolder, config: IndexConfig, passphrase: bytes | None, now: datetime) -> Established:
    """Make the data folder fit for signer and web. What was left half written is deleted. Raises OperatorError."""
    established = establish(data, config, passphrase, now)
    for folder in (data.blobs, data.inbox):
        durable.remove_leftovers(folder)
    _show_head(data)
    renew_due(data, passphrase, now, config.lifetimes)
    return established


def _show_head(data: DataFolder) -> None:
    ledger, published = Ledger.open(data.ledger_file), PublishedStore(data.published)
    try:
        with writing(data.published):
            durable.remove_leftovers(data.published)
            with ledger.read() as connection:
                head = read_head(connection)
            show_head(published, LogWriter(published, no_log_key), head)
    finally:
        ledger.close()
