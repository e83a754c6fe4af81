"""The signer's process: publish what waits, renew what is due, tell whoever listens.

The socket carries no trust: a byte from web means "look now", and every listener gets the number of each publication as
a line. Whoever can write to it can make the signer look at its own ledger, nothing else.
"""

import logging
import selectors
import socket
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from assay.index.signer.online import OnlineKeys
from assay.index.signer.publish import Publisher
from assay.index.upkeep.reserve import Reserve

log = logging.getLogger(__name__)

MAX_WAIT_S = 1.0
MAX_LISTENERS = 64


class Announcer:
    """The listening socket and the connections of web processes."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH)
        self._listener.listen(MAX_LISTENERS)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: set[socket.socket] = set()

    def wait(self, timeout_s: float) -> None:
        """Sleep until nudged, or for ``timeout_s``."""
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif isinstance(key.fileobj, socket.socket):
                self._drain(key.fileobj)

    def announce(self, publication: int) -> None:
        """Tell every listener; one that does not read is dropped."""
        for connection in list(self._connections):
            try:
                connection.send(b"%d\n" % publication)
            except OSError:
                self._drop(connection)

    def close(self) -> None:
        """Stop listening."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        if len(self._connections) >= MAX_LISTENERS:
            connection.close()
            return
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _drain(self, connection: socket.socket) -> None:
        try:
            if not connection.recv(4096):
                self._drop(connection)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection)
        connection.close()


def run_signer(
    publisher: Publisher,
    announcer: Announcer,
    clock: Callable[[], datetime],
    stopped: Callable[[], bool],
    promote: Callable[[OnlineKeys], None],
    reserve: Reserve,
) -> None:
    """Publish until ``stopped``. ``clock`` gives UTC. Errors end the process: its supervisor starts it again.

    ``promote``: told of the keys at the start and whenever a publication brought others, so that no key that was
    replaced stays in its place, and none that is in use can be taken for a new one.

    ``reserve``: given up where there is no room for what is due.
    """
    reserve.ensure()
    promoted = None
    while not stopped():
        if promoted is not publisher.keys:
            promoted = publisher.keys
            promote(promoted)
        now = clock()
        if _run_once(publisher, now, reserve):
            announcer.announce(publisher.number)
            continue
        until_due = (publisher.due_at(now) - now).total_seconds()
        announcer.wait(max(0.0, min(MAX_WAIT_S, until_due)))


def _run_once(publisher: Publisher, now: datetime, reserve: Reserve) -> bool:
    """``run_once``; on a full disk the reserved room goes first, so that clients never find an expired timestamp."""
    due = publisher.due_at(now) <= now
    published = reserve.with_room(lambda: publisher.run_once(now)) if due else publisher.run_once(now)
    if published and not reserve.ensure():
        log.error("no room to reserve for the next timestamp: make room soon")
    return published
