"""Strict runs: the command has no network at all but the proxy (Linux).

The command starts in a network namespace of its own (``confined``). A listening socket belongs to the namespace that it
was opened in, whoever accepts on it: so the proxy stays outside, with the network, and is reached from inside at
127.0.0.1. Programs that scrub their environment, Git, and whatever a build script opens find nobody.
"""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from assay.model.errors import CallerError, OperatorError

CONFINED: Final = Path(__file__).with_name("confined.py")
START_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Confined:
    """A command that waits, without network. ``listener``: a listening socket in its namespace."""

    process: asyncio.subprocess.Process
    listener: socket.socket
    channel: socket.socket

    async def go(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Become ``command``. Raises CallerError when it cannot be started."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.channel, json.dumps(dict(environ)).encode() + b"\n")
        trouble = await loop.sock_recv(self.channel, 1000)  # nothing: the channel closed as the command began
        if trouble:
            raise CallerError(
                "the command cannot be started", rule="command", subject=command[0], found=trouble.decode()
            )


@asynccontextmanager
async def confined(command: Sequence[str]) -> AsyncIterator[Confined]:
    """``command`` in a namespace without network, until ``go``. Raises OperatorError where the system refuses."""
    if sys.platform != "linux":
        raise _unavailable("not Linux")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(CONFINED), str(theirs.fileno()), *command),
                pass_fds=[theirs.fileno()],
            )
        try:
            ours.settimeout(START_TIMEOUT_S)
            said, descriptors, _, _ = await asyncio.to_thread(socket.recv_fds, ours, 1000, 1)
            if not descriptors:
                raise _unavailable(said.decode("utf-8", "replace"))
            with socket.socket(fileno=descriptors[0]) as listener:
                ours.setblocking(False)
                listener.setblocking(False)
                yield Confined(process, listener, ours)
        except TimeoutError as error:
            raise _unavailable("the namespace was not made in time") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _unavailable(found: str) -> OperatorError:
    return OperatorError(
        "this system does not let a command be cut off from the network",
        rule="strict-unavailable",
        expected="Linux with unprivileged user namespaces",
        found=found,
        next_step="allow user namespaces, or run without --strict; nothing was run",
    )
