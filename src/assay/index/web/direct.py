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
_MORE: Final = getattr(socket, "MSG_MORE", 0)


class DirectSocket:
    """The socket of one connection, for writes that pass the transport by. Not for TLS."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._loop = loop
        self._waiting: asyncio.Future[None] | None = None

    def send_at_once(self, head: bytes, descriptor: int, size: int) -> bytes:
        """Send ``head`` and the file as far as they go now; what is left of both, to be written as usual."""
        try:
            sent = self._socket.send(head, _MORE)
        except OSError:  # full, or gone, which the transport will notice
            sent = 0
        if sent < len(head):
            return head[sent:] + os.pread(descriptor, size, 0)
        done = self._sendfile(descriptor, 0, size)
        return os.pread(descriptor, size - done, done) if done < size else b""

    async def send_file(self, descriptor: int, start: int, stop: int, stall_s: float, min_bytes_per_s: int) -> int:
        """Send the bytes from ``start`` to ``stop``; returns where it ended: earlier where the file or client does.

        A client that takes less than ``min_bytes_per_s`` over ``stall_s`` seconds is given up: ``TimeoutError``.
        """
        offset = start
        while offset < stop:
            window = min(WINDOW_BYTES, stop - offset)
            if not is_in_memory(descriptor, offset + window - 1):
                await asyncio.to_thread(os.pread, descriptor, window, offset)
            try:
                count = os.sendfile(self._socket.fileno(), descriptor, offset, window)
            except BlockingIOError:
                await self._writable(stall_s, min_bytes_per_s)
                continue
            except OSError:
                return offset
            if count == 0:
                return offset
            offset += count
            await asyncio.sleep(0)
        return offset

    def close(self) -> None:
        """The connection is gone; whoever waits finds out."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        self._loop.remove_writer(self._socket)
        self._socket.close()

    def _sendfile(self, descriptor: int, offset: int, size: int) -> int:
        try:
            return os.sendfile(self._socket.fileno(), descriptor, offset, size)
        except OSError:
            return 0

    async def _writable(self, stall_s: float, min_bytes_per_s: int) -> None:
        self._waiting = self._loop.create_future()
        self._loop.add_writer(self._socket, self._wake)
        taken = self._taken()
        try:
            while not (await asyncio.wait((self._waiting,), timeout=stall_s))[0]:
                before, taken = taken, self._taken()
                if taken - before < stall_s * min_bytes_per_s:
                    raise TimeoutError
        finally:
            if not self._is_closed():
                self._loop.remove_writer(self._socket)

    def _is_closed(self) -> bool:
        return self._socket.fileno() < 0

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _taken(self) -> int:
        """What the client's machine has confirmed, in bytes from some point on."""
        unsent: int = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4))[0]
        return -unsent
