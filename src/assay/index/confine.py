"""Taking rights away from the web process before it answers anybody.

Two walls before the private keys, each enough on its own: the process runs as another user where it was started by
root, and gives up the key folder for good where the kernel has Landlock (Linux 5.19), also against tracing the signer.
"""

import ctypes
import os
import pwd
import struct
from collections.abc import Iterable
from pathlib import Path

from assay.model.errors import OperatorError

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_CREATE_RULESET_VERSION = 1
_MIN_VERSION = 2
_ACCESS_READ_FILE, _ACCESS_READ_DIR, _ACCESS_REFER = 1 << 2, 1 << 3, 1 << 13
_ACCESS_EVERYTHING = (1 << 14) - 1
"""Every way of reading, writing, making, removing, running and moving that the second version knows."""
_PR_SET_NO_NEW_PRIVS = 38


def landlock_is_available() -> bool:
    """Whether this kernel can take a folder away and still move files between others (Linux 5.19)."""
    if os.name != "posix" or not hasattr(os, "O_PATH"):
        return False
    return bool(_libc().syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION) >= _MIN_VERSION)


def give_up_folder(folder: Path) -> None:
    """Make everything below ``folder`` unreadable for this process and its children, for good.

    Landlock only allows, so everything beside the way to ``folder`` is allowed as it exists now; entries made later
    directly in a folder *above* ``folder`` stay unreadable too. Raises OperatorError when the kernel refuses.
    """
    _restrict(_ACCESS_READ_FILE | _ACCESS_READ_DIR | _ACCESS_REFER, _everything_beside(folder.resolve()), _ACCESS_REFER)


def keep_only_reading(folders: Iterable[Path]) -> None:
    """Leave this process and its children nothing of the file system but reading below ``folders``, for good.

    Descriptors that are open stay as they are. Raises OperatorError when the kernel refuses.
    """
    _restrict(_ACCESS_EVERYTHING, folders, 0)


def _restrict(handled: int, paths: Iterable[Path], folders_too: int) -> None:
    """Take the accesses ``handled`` away, but for reading below ``paths`` and, in folders, ``folders_too``."""
    libc = _libc()
    packed = struct.pack("Q", handled)
    ruleset = _checked(libc.syscall(_CREATE_RULESET, packed, len(packed), 0))
    try:
        for path in paths:
            _allow(libc, ruleset, path, folders_too)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _everything_beside(folder: Path) -> list[Path]:
    return [
        sibling
        for child in (folder, *folder.parents)
        if child != child.parent
        for sibling in child.parent.iterdir()
        if sibling != child and not sibling.is_symlink()
    ]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, folders_too: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # gone, or not ours to reach: it stays forbidden
    try:
        access = _ACCESS_READ_FILE | (_ACCESS_READ_DIR | folders_too if path.is_dir() else 0)
        rule = struct.pack("=Qi", access, descriptor)
        _checked(libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def become(user: str) -> None:
    """Run as ``user`` from now on, without a way back. Only for a process of root. Raises OperatorError."""
    try:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except (KeyError, OSError) as error:
        raise OperatorError(f"cannot run the web process as another user: {error}", subject=user) from error


def can_reach(user: str, *paths: Path) -> bool:
    """Whether ``user``, owning nothing on the way, could enter every folder above ``paths``."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return False
    folders = {folder for path in paths for folder in path.resolve().parents}
    return all(folder.stat().st_mode & 0o001 or folder.stat().st_uid == uid for folder in folders)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OperatorError(f"the kernel does not confine this process: {os.strerror(number)}", rule="landlock")
    return result
