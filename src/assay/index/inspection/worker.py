"""The process that reads archives: ``python -m assay.index.inspection.worker DESCRIPTOR BYTES``.

It is started once, warm with everything it needs, and takes its rights away for good: no network, no other program, of
the file system only reading the interpreter and its libraries. For each archive it forks: the child gets the archive as
an open descriptor, limits of memory and time, answers, and ends. So nothing of one upload is left when the next comes.

Asked on DESCRIPTOR (a socket that keeps messages apart): ``{"filename", "limits", "seconds"}`` with the descriptors of
the archive and of a pipe. Answered on the pipe, a line each: by the child what it found, by this process how the child
ended.
"""

import gc
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import sysconfig
import time
import traceback
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from assay.formats.description import require_renders
from assay.formats.inspect import inspect_distribution
from assay.formats.limits import InspectionLimits
from assay.index import confine, seccomp
from assay.model.errors import CallerError

MAX_REQUEST_BYTES: Final = 16_384
_NEVER = ("socket", "connect", "bind", "listen", "sendto", "execve", "execveat", "ptrace", "mount", "unshare")
_KERNEL = ("bpf", "io_uring_setup", "perf_event_open", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
_OUTLIVES_US = ("shmget", "msgget", "semget", "mq_open", "add_key", "request_key", "keyctl")
_PROCESSES = ("clone", "clone3", "fork", "vfork", "prlimit64", "setpriority", "sched_setaffinity")
_SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "pidfd_send_signal")
_NOT_IN_A_CHILD = (*_PROCESSES, *_SIGNALS)


class Desk:
    """Forks a child for each archive, and ends those that take too long."""

    def __init__(self, requests: socket.socket, memory_bytes: int) -> None:
        self._requests = requests
        self._memory_bytes = memory_bytes
        self._children: dict[int, tuple[float, int]] = {}  # process -> (when it must have ended, its pipe)
        self._late: set[int] = set()
        self._woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def run(self) -> None:
        """Until nobody can ask any more."""
        while True:
            ready = select.select([self._requests.fileno(), self._woken], [], [], self._patience())[0]
            if self._woken in ready:
                os.read(self._woken, 4_096)
            if self._requests.fileno() in ready:
                request, descriptors, _flags, _address = socket.recv_fds(self._requests, MAX_REQUEST_BYTES, 2)
                if not request:
                    return
                self._fork(json.loads(request), *descriptors)
            self._end_late_ones()
            self._bury()

    def _patience(self) -> float | None:
        deadlines = [deadline for child, (deadline, _pipe) in self._children.items() if child not in self._late]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _fork(self, request: dict[str, Any], archive: int, pipe: int) -> None:
        child = os.fork()
        if child == 0:
            try:
                self._answer(request, archive, pipe)
            except BaseException:  # noqa: BLE001 - the outermost frame of a process
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(archive)
        self._children[child] = time.monotonic() + request["seconds"], pipe

    def _answer(self, request: dict[str, Any], archive: int, pipe: int) -> None:
        """In the child."""
        self._requests.close()
        signal.set_wakeup_fd(-1)
        resource.setrlimit(resource.RLIMIT_AS, (self._memory_bytes, self._memory_bytes))
        seconds = math.ceil(request["seconds"])
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        if seccomp.is_available():
            seccomp.forbid(_NOT_IN_A_CHILD)
        answer = memoryview(json.dumps(_inspect(archive, request)).encode() + b"\n")
        while answer:
            answer = answer[os.write(pipe, answer) :]

    def _end_late_ones(self) -> None:
        for child, (deadline, _pipe) in self._children.items():
            if time.monotonic() >= deadline and child not in self._late:
                os.kill(child, signal.SIGKILL)
                self._late.add(child)

    def _bury(self) -> None:
        while self._children:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            _deadline, pipe = self._children.pop(child)
            code = os.waitstatus_to_exitcode(status)
            ended = {"late": child in self._late or code == -signal.SIGXCPU, "ended": code}
            self._late.discard(child)
            with suppress(OSError):  # nobody waits any more
                os.write(pipe, json.dumps(ended).encode() + b"\n")
            os.close(pipe)


def _inspect(archive: int, request: dict[str, Any]) -> dict[str, Any]:
    """What is in the archive, or why it is refused, as JSON."""
    try:
        with os.fdopen(archive, "rb") as stream:
            found = inspect_distribution(stream, request["filename"], InspectionLimits(**request["limits"]))
        require_renders(found.metadata)
        return {"metadata": b64encode(found.metadata_bytes).decode()}
    except CallerError as error:
        facts = {name: getattr(error, name) for name in ("rule", "subject", "expected", "found", "next_step")}
        return {"refused": type(error).__name__, "what": error.what, **facts}
    except (MemoryError, RecursionError) as error:
        return {"exhausted": type(error).__name__}


def confine_reader() -> None:
    """Give up everything that reading an archive does not need."""
    for limit, value in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    if confine.landlock_is_available():
        folders = {*sys.path, *sysconfig.get_paths().values(), sys.prefix, sys.base_prefix}
        confine.keep_only_reading(path for folder in sorted(folders) if folder and (path := Path(folder)).is_dir())
    if seccomp.is_available():
        seccomp.forbid((*_NEVER, *_KERNEL, *_OUTLIVES_US))


def warm_up() -> None:
    """Load what is otherwise loaded with the first archive."""
    from readme_renderer import markdown, rst

    rst.render("Warm\n====\n\n.. code:: python\n\n    pass\n")
    markdown.render("# Warm")
    gc.collect()
    gc.freeze()


def main() -> None:
    """Confine this process, say so by a byte, and serve."""
    sys.dont_write_bytecode = True
    descriptor, memory_bytes = sys.argv[1:]
    requests = socket.socket(fileno=int(descriptor))
    warm_up()
    confine_reader()
    os.write(requests.fileno(), b"r")  # sendto is given up
    Desk(requests, int(memory_bytes)).run()


if __name__ == "__main__":
    main()
