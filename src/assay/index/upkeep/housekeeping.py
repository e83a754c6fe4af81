"""What a server that runs for months does by itself every few hours: offline roles renewed, old metadata swept."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from assay.index.config import DataFolder, IndexConfig
from assay.index.published import PublishedStore
from assay.index.renewal import renew_due
from assay.index.upkeep.sweep import LEAST_GRACE, sweep
from assay.model.errors import AssayError

EVERY_S: Final = 6 * 3600.0

log = logging.getLogger(__name__)


def start_housekeeping(
    data: DataFolder, config: IndexConfig, passphrase: bytes | None, stopping: threading.Event, every_s: float = EVERY_S
) -> None:
    """Keep house in a thread until ``stopping``; what goes wrong is said, and nothing else stops for it."""

    def keep() -> None:
        while not stopping.wait(every_s):
            try:
                keep_house(data, config, passphrase, datetime.now(UTC))
            except (AssayError, OSError):
                log.exception("the housekeeping did not finish")

    threading.Thread(target=keep, name="housekeeping", daemon=True).start()


def keep_house(data: DataFolder, config: IndexConfig, passphrase: bytes | None, now: datetime) -> None:
    """Once: renew what is due and has its key here, sweep what is old."""
    renew_due(data, passphrase, now, config.lifetimes)
    if config.retention.days > 0:
        grace = max(LEAST_GRACE, timedelta(days=config.retention.days))
        swept = sweep(PublishedStore(data.published), now, grace, config.lifetimes.snapshot)
        if swept.files:
            log.info("swept %d files of metadata and pages, %d bytes", swept.files, swept.size)
