"""Where the processes are born that will be killed: a small program that has imported everything and forks.

A line on standard input is an order (JSON: operation, folder, web, upstream, log); the answer is the child's process
id, which then is stopped until somebody continues it, and once it is dead its status: as ``waitpid`` says it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from assay.index.ledger import Ledger
from assay.model.errors import AssayError

REFUSED = 3
"""The exit status of a child whose operation raised one of Assay's own errors: it said what was wrong."""


ACKNOWLEDGED = b"acknowledged\n"
"""What a child whose operation is done writes to the log of its order."""


class Nursery:
    """The program, running. Use as a context manager; one child at a time."""

    def __enter__(self) -> Self:
        paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))
        self._program = subprocess.Popen(
            [sys.executable, "-m", "faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "0"},
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._program.communicate(timeout=30)

    def bear(self, order: dict[str, str]) -> int:
        """The process id of a new child, which is stopped."""
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        return int(self._answer())

    def bury(self) -> int:
        """Wait for the child's end: its exit status, or minus the signal that killed it."""
        return os.waitstatus_to_exitcode(int(self._answer()))

    def _answer(self) -> str:
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        assert line, "the nursery is gone"
        return line


def _main() -> None:
    import faults.operations  # noqa: F401 - imported before forking

    with tempfile.TemporaryDirectory() as folder:  # what is imported late is imported now: no fault for that
        Ledger.open(Path(folder, "ledger.db")).close()
        time.strptime("2026", "%Y")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_live(json.loads(line)))
        os.waitpid(child, os.WUNTRACED)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


def _live(order: dict[str, Any]) -> int:
    from faults.operations import OPERATIONS, Case

    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def acknowledge() -> None:
        with suppress(OSError):  # another disk, which may fail by the same order
            os.write(log, ACKNOWLEDGED)

    os.kill(os.getpid(), signal.SIGSTOP)
    case = Case(Path(order["folder"]), order["web"], order["upstream"], acknowledge)
    try:
        OPERATIONS[order["operation"]].act(case)
    except AssayError as error:
        _say(f"{type(error).__name__}: {error} [{error.rule}]")
        return REFUSED
    except BaseException:  # noqa: BLE001 - this is where the process ends
        _say(traceback.format_exc())
        return 1
    return 0


def _say(text: str) -> None:
    with suppress(OSError):  # the disk may be full
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    _main()
