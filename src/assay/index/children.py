"""How the supervisor and its two child processes live together.

A child gets its secrets as one line of JSON on standard input, never in arguments or environment, and ends when that
pipe closes: no child outlives its supervisor, however that ends.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assay.keys.passphrase import FD_VARIABLE, FILE_VARIABLE

log = logging.getLogger(__name__)

_SECRET_VARIABLES = frozenset({FD_VARIABLE, FILE_VARIABLE})
"""Where the supervisor found the passphrase is nothing that web should know."""

RESTART_DELAY_S = 1.0
STOP_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Child:
    """A program of ours (``python -m <module>``), started again whenever it ends by itself.

    Whatever lies in the folder that it is started from, it loads nothing of it (``-P``).
    """

    module: str
    arguments: Sequence[str]
    secrets: dict[str, Any]
    descriptors: Sequence[int] = ()
    _process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0

    def __repr__(self) -> str:
        return f"Child({self.module})"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    @property
    def has_ended(self) -> bool:
        """Whether it was started and does not run."""
        return self._process is not None and self._process.poll() is not None

    def ensure_running(self) -> None:
        """Start it, or start it again, at most once a second."""
        if self._process is not None and not self.has_ended:
            return
        if self._process is not None:
            log.error("%s ended with status %s; starting it again", self.module, self._process.returncode)
            if time.monotonic() - self._started < RESTART_DELAY_S:
                time.sleep(RESTART_DELAY_S)
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, *self.arguments],
            stdin=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name not in _SECRET_VARIABLES},
            pass_fds=self.descriptors,
            start_new_session=True,
        )
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(self.secrets).encode() + b"\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """Ask it to end, wait, and insist."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def read_secrets() -> dict[str, Any]:
    """In a child: the secrets, and from now on the end of this process when the supervisor is gone."""
    line = b""
    while not line.endswith(b"\n") and (more := os.read(sys.stdin.fileno(), 65_536)):
        line += more
    secrets: dict[str, Any] = json.loads(line)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    return secrets


def _end_with_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
