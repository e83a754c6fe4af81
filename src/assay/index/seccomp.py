"""System calls given up for good (Linux seccomp, classic BPF): what a filter forbids fails with EPERM.

Invariant: a call is forbidden by its number on the one architecture that this process runs on; calls of any other
architecture, and of x86-64's second table (x32), fail as well. Source: Linux kernel, userspace-api/seccomp_filter.
"""

import ctypes
import platform
import struct
from collections.abc import Iterable
from typing import Final

from assay.model.errors import OperatorError

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE = 0, 4
_X32: Final = 0x40000000

_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_NUMBERS: Final = {
    # x86-64, aarch64; None: this architecture has no such call
    "shmget": (29, 194),
    "socket": (41, 198),
    "connect": (42, 203),
    "sendto": (44, 206),
    "bind": (49, 200),
    "listen": (50, 201),
    "clone": (56, 220),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "kill": (62, 129),
    "semget": (64, 190),
    "msgget": (68, 186),
    "ptrace": (101, 117),
    "rt_sigqueueinfo": (129, 138),
    "setpriority": (141, 140),
    "mount": (165, 40),
    "tkill": (200, 130),
    "sched_setaffinity": (203, 122),
    "tgkill": (234, 131),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "perf_event_open": (298, 241),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
    "execveat": (322, 281),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "pidfd_getfd": (438, 438),
    "clone3": (435, 435),
}


def is_available() -> bool:
    """Whether this is a system whose calls are known here."""
    return platform.system() == "Linux" and platform.machine() in _ARCHITECTURES


def forbid(names: Iterable[str]) -> None:
    """Make the system calls ``names`` fail in this process and its children, for good. Raises OperatorError."""
    architecture, column = _ARCHITECTURES[platform.machine()]
    numbers = [number for name in names if (number := _NUMBERS[name][column]) is not None]
    program = [
        _instruction(_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        _instruction(_EQUAL, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _REFUSE),
        _instruction(_LOAD, 0, 0, _OFFSET_NUMBER),
        _instruction(_AT_LEAST, len(numbers) + 1, 0, _X32),
        *(_instruction(_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
        _instruction(_RETURN, 0, 0, _ALLOW),
        _instruction(_RETURN, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, described, 0, 0):
        raise OperatorError(
            "the kernel does not take system calls away from this process",
            rule="seccomp",
            found=f"errno {ctypes.get_errno()}",
        )


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
