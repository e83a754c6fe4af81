"""The first moments of a strict run's command: give the network up, then become the command.

Started as a program of its own by ``strict``, with nothing but the standard library. It moves into a user and network
namespace of its own, where there is no way out but a socket that it opens there and hands to the proxy outside.
Linux only.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_NO_NEW_PRIVS = 38
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
BACKLOG = 128


def main(channel_fd: str, *command: str) -> int:
    """``channel_fd``: a Unix socket to the proxy. Its answer to the listening socket is the environment, as JSON."""
    with socket.socket(fileno=int(channel_fd)) as channel:
        try:
            _leave_the_network()
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen(BACKLOG)
                socket.send_fds(channel, [b"ready"], [listener.fileno()])
            with channel.makefile("rb") as lines:
                environ = json.loads(lines.readline())
            os.execvpe(command[0], command, environ)  # noqa: S606 - the user's own command
        except (OSError, ValueError) as error:
            channel.sendall(str(error).encode())
    return 2


def _leave_the_network() -> None:
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) or libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
