"""Asking the process that reads archives (``worker``), and what its end means to the uploader."""

import dataclasses
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from assay.formats.inspect import InspectedDistribution, InspectionLimits, read_inspected
from assay.model.distributions import parse_distribution
from assay.model.errors import (
    CallerError,
    InvalidDistribution,
    InvalidName,
    OperatorError,
    StorageUnavailable,
    TooLarge,
)

START_S: Final = 60.0
FIRST_SECONDS: Final = 20.0
MIN_BYTES_PER_S: Final = 4_000_000
MAX_ANSWER_BYTES: Final = 16_000_000
_REFUSALS: Final = {kind.__name__: kind for kind in (InvalidDistribution, InvalidName, TooLarge)}
_KEPT_VARIABLES: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")

log = logging.getLogger("assay.inspection")


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What reading one archive may cost: ``memory_bytes`` of address space, and time by its size, ``seconds`` at most.

    ``at_once``: how many are read side by side; one of these is for other users than those that have all the others.
    """

    seconds: float = 120.0
    memory_bytes: int = 1_000_000_000
    at_once: int = 4

    def seconds_for(self, archive_bytes: int) -> float:
        """How long reading so many bytes may take: somebody's small file does not hold a reader up for minutes."""
        return min(self.seconds, FIRST_SECONDS + archive_bytes / MIN_BYTES_PER_S)


class InspectionWorkers:
    """Inspects archives elsewhere. Many threads may ask at once; each waits for its own answer."""

    def __init__(self, limits: InspectionLimits, worker: WorkerLimits) -> None:
        self._limits = dataclasses.asdict(limits)
        self._worker = worker
        self._busy = Counter[str]()
        self._turns = threading.Condition()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The process that waits for archives, while there is one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process, or start it again where it has ended. Raises OperatorError."""
        with self._starting:
            if self._process is not None and self._process.poll() is None:
                return
            self._end()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            words = [str(theirs.fileno()), str(self._worker.memory_bytes)]
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "assay.index.inspection.worker", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                    pass_fds=[theirs.fileno()],
                )
            ours.settimeout(START_S)
            if _is_ready(ours):
                self._requests = ours
                return
            ours.close()
            raise OperatorError(
                "the process that reads archives does not start",
                rule="inspection-start",
                next_step="see the messages above",
            )

    def close(self) -> None:
        """End the process; who still waits is told so."""
        with self._starting:
            self._end()

    def inspect(self, path: Path, filename: str, user: str) -> InspectedDistribution:
        """``inspect_distribution`` of the archive of ``user`` at ``path``, and its description rendered.

        Raises as it does; InvalidDistribution, too, where the archive made its reader crash or exceed memory or time.
        """
        distribution = parse_distribution(filename)
        seconds = self._worker.seconds_for(path.stat().st_size)
        with self._turn(user):
            line = self._ask(path, {"filename": filename, "limits": self._limits, "seconds": seconds})
        return read_inspected(distribution, _metadata(line, filename, seconds, self._worker.memory_bytes))

    @contextmanager
    def _turn(self, user: str) -> Iterator[None]:
        """One of ``at_once``; nobody has them all."""
        at_once = self._worker.at_once
        with self._turns:
            self._turns.wait_for(lambda: self._busy.total() < at_once and self._busy[user] < max(at_once - 1, 1))
            self._busy[user] += 1
        try:
            yield
        finally:
            with self._turns:
                self._busy[user] -= 1
                if not self._busy[user]:
                    del self._busy[user]
                self._turns.notify_all()

    def _ask(self, path: Path, request: Mapping[str, object]) -> bytes:
        """The first line of what the process says of an archive; empty where it ended without a word."""
        answers, pipe = os.pipe2(os.O_CLOEXEC)
        try:
            with path.open("rb") as archive:
                self._send(json.dumps(request).encode(), archive.fileno(), pipe)
        except OSError as error:
            os.close(answers)
            raise StorageUnavailable("an upload cannot be read", subject=str(path), found=str(error)) from error
        finally:
            os.close(pipe)
        with os.fdopen(answers, "rb") as stream:
            return stream.readline(MAX_ANSWER_BYTES)

    def _send(self, request: bytes, archive: int, pipe: int) -> None:
        for _attempt in range(2):
            self.start()
            try:
                if self._requests is not None:
                    socket.send_fds(self._requests, [request], [archive, pipe])
                    return
            except (BrokenPipeError, ConnectionError):
                log.exception("the process that reads archives has ended; it is started again")
        raise OperatorError("the process that reads archives does not answer", rule="inspection-start")

    def _end(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _is_ready(ours: socket.socket) -> bool:
    try:
        return ours.recv(1) == b"r"
    except OSError:
        return False


def _metadata(line: bytes, filename: str, seconds: float, memory_bytes: int) -> bytes:
    """The metadata that the answer gives. Raises what the answer says instead."""
    answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"ended": "no answer"}
    if "metadata" in answer:
        return b64decode(answer["metadata"])
    if "refused" in answer:
        kind: type[CallerError] = _REFUSALS.get(answer.pop("refused"), InvalidDistribution)
        raise kind(answer.pop("what"), **answer)
    log.warning("reading %s failed: %s", filename, answer)
    if "exhausted" in answer:
        expected = f"at most {memory_bytes} bytes"
        raise _lost("reading this file takes too much memory", filename, rule="inspection-memory", expected=expected)
    if answer.get("late"):
        expected = f"at most {seconds:g} s"
        raise _lost("reading this file takes too long", filename, rule="inspection-time", expected=expected)
    found = f"status {answer['ended']}"
    raise _lost("the process that read this file crashed", filename, rule="inspection-crashed", found=found)


def _lost(
    what: str, filename: str, *, rule: str, expected: str | None = None, found: str | None = None
) -> InvalidDistribution:
    next_step = "build the file again; if it is refused again, tell the index's operator"
    return InvalidDistribution(what, subject=filename, rule=rule, expected=expected, found=found, next_step=next_step)
