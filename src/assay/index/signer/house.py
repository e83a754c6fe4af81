"""Putting a publisher together from a data folder: what the signer's process and an import both begin with."""

from assay.formats.inspect import InspectionLimits
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder, IndexConfig, read_upstream_root
from assay.index.ledger import Ledger
from assay.index.log import LogWriter
from assay.index.published import PublishedStore
from assay.index.recovery.freeze import require_thawed
from assay.index.signer.checks import FileChecks
from assay.index.signer.inbox import Inbox
from assay.index.signer.online import Keyring
from assay.index.signer.publish import Publisher
from assay.index.signer.witnesses import WitnessPanel


def open_publisher(data: DataFolder, config: IndexConfig, keyring: Keyring, ledger: Ledger) -> Publisher:
    """The publisher of ``data``; every earlier one is fenced off.

    Raises KeyUnavailable, SignerRefused; OperatorError while the folder is frozen after a break-in or a restore.
    """
    require_thawed(data)
    published = PublishedStore(data.published)
    upstream_root, close_after = read_upstream_root(data, config), config.uploads.close_after
    return Publisher(
        ledger,
        published,
        Inbox(data.inbox),
        FileChecks(BlobStore(data.blobs), InspectionLimits(), upstream_root, close_after),
        keyring.open,
        config.lifetimes,
        LogWriter(published, keyring.open_log),
        WitnessPanel(config.witness),
    )
