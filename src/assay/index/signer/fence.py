"""One signer writes: what readers see is changed under a lock, and inside it the epoch says whose turn it is.

The ledger's epoch fences what is committed; files know no compare-and-swap. Without the lock a signer that was stopped
between its commit and its rename would, when it goes on, put an old timestamp over its successor's.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay import durable
from assay.index.ledger import Ledger
from assay.index.ledger.publications import read_head, require_epoch
from assay.model.errors import StorageUnavailable

LOCK_TIMEOUT_S = 30.0
LOCK_PAUSE_S = 0.02


@contextmanager
def writing(published: Path) -> Iterator[None]:
    """Keep everybody else from changing what readers see meanwhile. Raises StorageUnavailable after some time.

    A signer that was stopped in here and neither goes on nor ends holds up its successors: they name its process.
    """
    durable.make_folder(published)
    with durable.storage_errors():
        descriptor = os.open(published / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, published, LOCK_TIMEOUT_S)
        with durable.storage_errors():
            os.pwrite(descriptor, b"%-20d" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def fenced(ledger: Ledger, epoch: int, published: Path) -> Iterator[None]:
    """``writing``, by the signer of ``epoch``. Raises Fenced when another one took over."""
    with writing(published):
        with ledger.read() as connection:
            require_epoch(read_head(connection), epoch)
        yield


def _lock(descriptor: int, published: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageUnavailable(
                    "another signer began to write and does not finish",
                    subject=str(published),
                    rule="signer-stuck",
                    expected=f"to finish within {timeout_s:g} s",
                    found=f"process {os.pread(descriptor, 20, 0).decode().strip()} is still in there",
                    next_step="end that process: it was stopped, or hangs",
                ) from None
            time.sleep(LOCK_PAUSE_S)
