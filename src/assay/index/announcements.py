"""The web process's end of the signer's socket: nudge it, and learn when something was published.

Only a hint travels here; whether a proposal was published is read from the ledger.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

from assay.index.ledger import Ledger
from assay.index.ledger.publications import outbox_state
from assay.model.errors import SignerRefused, StorageUnavailable

POLL_S = 0.25


class Announcements:
    """One connection to the signer, made again whenever it breaks. Call ``run`` as a task."""

    def __init__(self, socket: Path, ledger: Ledger) -> None:
        self._socket = socket
        self._ledger = ledger
        self._published = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            with suppress(OSError):
                reader, self._writer = await asyncio.open_unix_connection(str(self._socket))
                self.nudge()
                while await reader.readline():
                    self._announce()
            self._writer = None
            await asyncio.sleep(POLL_S)

    def nudge(self) -> None:
        """Ask the signer to look at the outbox now."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"\n")

    async def wait(self, seq: int, timeout_s: float) -> None:
        """Return once proposal ``seq`` is published. Raises SignerRefused; StorageUnavailable after ``timeout_s``."""
        self.nudge()
        try:
            async with asyncio.timeout(timeout_s):
                while not await asyncio.to_thread(self._is_published, seq):
                    waiter = self._published
                    with suppress(TimeoutError):
                        await asyncio.wait_for(waiter.wait(), POLL_S)
        except TimeoutError:
            raise StorageUnavailable(
                f"recorded, but not published within {timeout_s:g} s",
                rule="publish-timeout",
                next_step="send the same file again later; it will be published when the signer runs",
            ) from None

    def _announce(self) -> None:
        self._published.set()
        self._published = asyncio.Event()

    def _is_published(self, seq: int) -> bool:
        with self._ledger.read() as connection:
            state, reason = outbox_state(connection, seq)
        if state == "refused":
            raise SignerRefused(reason or "the signer refused this")
        return state == "published"
