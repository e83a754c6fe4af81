"""System calls of a child under strace: recorded with everything they wrote, or one of them replaced by a fault."""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from faults.nursery import Nursery

CHANGING = (
    *("openat", "write", "pwrite64", "sendto", "sendmsg", "ftruncate", "fsync", "fdatasync", "syncfs"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("rmdir", "mkdir", "mkdirat", "chmod", "fchmod", "fchmodat"),
    *("open", "creat", "writev", "pwritev", "pwritev2", "truncate", "fallocate", "symlink", "symlinkat"),
)
"""What can change a file, a folder, or what somebody else knows."""

BOOKKEEPING = ("close", "lseek")

_STOPPED = re.compile("SIGCONT.*stopped by SIGSTOP", re.DOTALL)
"""The child was born stopped; then it was continued, and stopped again."""

STOP_TIMEOUT_S = 20.0

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)")


@dataclass(frozen=True)
class Call:
    """One call that came to its end. ``number``: the how-manieth ``name`` of its thread; ``line`` of the record."""

    thread: int
    name: str
    number: int
    arguments: str
    result: int


@dataclass(frozen=True)
class Point:
    """The ``number``-th call of ``name`` in the first thread that gets so far."""

    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}:{self.number}"


def record(nursery: Nursery, order: dict[str, str], output: Path) -> tuple[int, list[Call]]:
    """Let the child live; its exit status, and its calls in the order in which they ended."""
    wanted = ",".join(f"?{name}" for name in (*CHANGING, *BOOKKEEPING))
    status = _live(nursery, order, output, ["-xx", "-s", "100000000", "-e", "signal=none", "-e", f"trace={wanted}"])
    return status, list(parse_calls(output.read_text()))


def kill(nursery: Nursery, order: dict[str, str], output: Path, point: Point) -> int:
    """SIGKILL the child where it enters ``point``, before that call has any effect; its exit status."""
    return _inject(nursery, order, output, point.name, f"signal=SIGKILL:when={point.number}")


def fail(nursery: Nursery, order: dict[str, str], output: Path, point: Point, error: str, *, lasting: bool) -> int:
    """Let the call at ``point`` fail with ``error``; ``lasting``: and every later one of that name."""
    return _inject(nursery, order, output, point.name, f"error={error}:when={point.number}{'+' if lasting else ''}")


def pause(nursery: Nursery, order: dict[str, str], output: Path, point: Point, meanwhile: Callable[[], None]) -> int:
    """SIGSTOP the child once it has done ``point``, do what happens ``meanwhile``, let it go on; its exit status."""

    def when_stopped(pid: int) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not _STOPPED.search(output.read_text()) and Path(f"/proc/{pid}").exists():
            assert time.monotonic() < deadline, f"not stopped: {output.read_text()[-300:]}"
            time.sleep(0.01)
        meanwhile()
        with suppress(ProcessLookupError):  # it came to its end before the point
            os.kill(pid, signal.SIGCONT)

    options = ["-e", f"trace={point.name}", "-e", f"inject={point.name}:signal=SIGSTOP:when={point.number}"]
    return _live(nursery, order, output, options, when_stopped)


def _inject(nursery: Nursery, order: dict[str, str], output: Path, name: str, fault: str) -> int:
    return _live(nursery, order, output, ["-e", "signal=none", "-e", f"trace={name}", "-e", f"inject={name}:{fault}"])


def _live(
    nursery: Nursery,
    order: dict[str, str],
    output: Path,
    options: list[str],
    meanwhile: Callable[[int], None] = lambda _: None,
) -> int:
    pid = nursery.bear(order)
    command = ["strace", "-f", "-p", str(pid), "-o", str(output), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"strace: {said}")
        os.kill(pid, signal.SIGCONT)
        meanwhile(pid)
        status = nursery.bury()
        tracer.stderr.read()
    return status


def parse_calls(text: str) -> Iterator[Call]:
    """The calls of a record that ended; how many of a name a thread made is counted when it enters them."""
    counts: Counter[tuple[int, str]] = Counter()
    open_calls: dict[int, tuple[str, int]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, rest = int(match[1]), match[2]
        resumed = _RESUMED.match(rest)
        if resumed is not None:
            begun, number = open_calls.pop(thread, (f"{resumed[1]}(", counts[thread, resumed[1]]))
            rest = begun + resumed[2]
        elif "(" in rest and not rest.startswith(("+++", "---")):
            name = rest.partition("(")[0]
            counts[thread, name] += 1
            number = counts[thread, name]
            if rest.endswith("<unfinished ...>"):
                open_calls[thread] = rest.removesuffix("<unfinished ...>").rstrip(), number
                continue
        call = _CALL.match(rest)
        if call is not None and call[3] != "?":
            yield Call(thread, call[1], number, call[2], int(call[3]))


def text_of(argument: str) -> bytes:
    """The bytes of a string argument as ``-xx`` prints it."""
    return bytes.fromhex(argument.strip().strip('"').replace("\\x", ""))


def is_about(call: Call, name: str) -> bool:
    """Whether the last path among the arguments ends so."""
    texts = [text_of(part) for part in call.arguments.split(", ") if part.startswith('"')]
    return texts != [] and texts[-1].endswith(f"/{name}".encode())
