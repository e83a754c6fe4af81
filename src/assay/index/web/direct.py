"""Files to the client's socket without a detour through this process's memory (``sendfile``).

uvloop has no ``sendfile`` of its own and does not share a transport's descriptor, so a duplicate of the connection's
socket is written to, and only while the transport has nothing of its own to send.
"""

import asyncio
import fcntl
import os
import socket
import struct
import termios
from typing import Final

from assay.index.web.descriptors import is_in_memory

WINDOW_BYTES: Final = 1_048_576
"""What is sent in one go: afterwards other connections get their turn."""


class DirectSocket:
    """The socket of one connection, for writes that pass the transport by. Not for TLS."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._loop = loop
        self._sending: _Sending | None = None

    async def send_file(self, descriptor: int, start: int, stop: int, stall_s: float, min_bytes_per_s: int) -> int:
        """Send the bytes from ``start`` to ``stop``; returns where it ended: earlier where the file or client does.

        A client that takes less than ``min_bytes_per_s`` over ``stall_s`` seconds is given up: ``TimeoutError``.
        """
        self._sending = sending = _Sending(self._loop, self._socket, descriptor, start, stop)
        sending.resume()
        taken = 0
        try:
            while not (await asyncio.wait((sending.ended,), timeout=stall_s))[0]:
                before, taken = taken, sending.taken()
                if taken - before < stall_s * min_bytes_per_s:
                    raise TimeoutError
        finally:
            sending.end()
            self._sending = None
        return sending.offset

    def close(self) -> None:
        """The connection is gone; whoever sends finds out."""
        if self._sending is not None:
            self._sending.end()
        self._socket.close()


class _Sending:
    """One file on its way, a window whenever the socket takes some: by callbacks, since a task costs as much again."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, descriptor: int, start: int, stop: int
    ) -> None:
        self.offset = start
        self.ended: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._socket = sock
        self._descriptor = descriptor
        self._start = start
        self._stop = stop
        self._read_until = start

    def resume(self) -> None:
        """Go on when the socket takes more."""
        if not self.ended.done():
            self._loop.add_writer(self._socket, self._step)

    def end(self) -> None:
        """Send no more."""
        if not self.ended.done():
            self.ended.set_result(None)
            self._loop.remove_writer(self._socket)

    def taken(self) -> int:
        """How many of the file's bytes the client's machine has confirmed."""
        unsent: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        return self.offset - self._start - unsent

    def _step(self) -> None:
        window = min(WINDOW_BYTES, self._stop - self.offset)
        end = self.offset + window
        if end > self._read_until and window and not is_in_memory(self._descriptor, end - 1):
            self._read_first(window)
            return
        try:
            count = os.sendfile(self._socket.fileno(), self._descriptor, self.offset, window)
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            count = 0
        self.offset += count
        if count == 0 or self.offset == self._stop:
            self.end()

    def _read_first(self, window: int) -> None:
        """Let a thread wait for the disk."""
        self._loop.remove_writer(self._socket)
        self._read_until = self.offset + window
        reading = self._loop.run_in_executor(None, os.pread, self._descriptor, window, self.offset)
        reading.add_done_callback(self._resume_after)

    def _resume_after(self, reading: "asyncio.Future[bytes]") -> None:
        if reading.cancelled() or reading.exception() is not None:
            self.end()
        else:
            self.resume()
