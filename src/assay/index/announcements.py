"""The web process's end of the signer's socket: nudge it, and learn when something was published.

Only a hint travels here; whether a proposal was published is read from the ledger.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from assay.index.ledger import Ledger
from assay.index.ledger.publications import outbox_states
from assay.model.errors import SignerRefused, StorageUnavailable

POLL_S = 0.25
FIRST_LOOK_S = 0.05
"""Whoever begins to wait is looked for so soon: the proposal may be published already."""

logger = logging.getLogger(__name__)


class Announcements:
    """One connection to the signer, made again whenever it breaks. Call ``run`` as a task."""

    def __init__(self, socket: Path, ledger: Ledger) -> None:
        self._socket = socket
        self._ledger = ledger
        self._changed = asyncio.Event()
        self._waiting: dict[asyncio.Future[tuple[str, str | None]], int] = {}
        self._watching: asyncio.Task[None] | None = None
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
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[tuple[str, str | None]] = loop.create_future()
        self._waiting[decided] = seq
        loop.call_later(FIRST_LOOK_S, self._changed.set)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(timeout_s):
                state, reason = await decided
        except TimeoutError:
            raise StorageUnavailable(
                f"recorded, but not published within {timeout_s:g} s",
                rule="publish-timeout",
                next_step="send the same file again later; it will be published when the signer runs",
            ) from None
        finally:
            self._waiting.pop(decided, None)
        if state == "refused":
            raise SignerRefused(reason or "the signer refused this")

    def _announce(self) -> None:
        self._changed.set()

    async def _watch(self) -> None:
        """While anybody waits: look for all of them at once, whenever something may have changed."""
        while self._waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), POLL_S)
            self._changed.clear()
            states = await asyncio.to_thread(self._states, sorted(set(self._waiting.values())))
            for decided, seq in list(self._waiting.items()):
                state, reason = states.get(seq, ("pending", None))
                if state != "pending" and not decided.done():
                    decided.set_result((state, reason))
                    self._waiting.pop(decided, None)

    def _states(self, seqs: Sequence[int]) -> Mapping[int, tuple[str, str | None]]:
        try:
            with self._ledger.read() as connection:
                return outbox_states(connection, seqs)
        except StorageUnavailable as error:
            logger.warning("cannot see what was published: %s", error)
            return {}
