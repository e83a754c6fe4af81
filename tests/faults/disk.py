"""A disk that forgets: the recorded calls of a process replayed, and what a power cut may leave of them.

The model is POSIX at its least: bytes are on the disk once their file was synced, a name once its folder was; before
that any part may be there or not, in any order. (An ext4 keeps more; nobody promises it.) The ledger's ``-shm`` file is
memory: it never survives.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, TypeVar

from faults.strace import Call, text_of

Loss = Literal["everything", "nothing", "the newest", "anything"]
LOSSES: tuple[Loss, ...] = ("everything", "the newest", "anything")

T = TypeVar("T")

Change = tuple[int, bytes] | int
"""Bytes at an offset, or a new length."""


@dataclass(eq=False)
class File:
    durable: bytes
    mode: int
    live: bytearray = field(default_factory=bytearray)
    mtime: float | None = None
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        self.pending.append(change)
        self.mtime = None
        _apply(self.live, change)

    def sync(self) -> None:
        self.durable, self.pending = bytes(self.live), []


@dataclass(eq=False)
class Folder:
    durable: dict[str, "Node"] = field(default_factory=dict)
    live: dict[str, "Node"] = field(default_factory=dict)
    pending: list[dict[str, "Node | None"]] = field(default_factory=list)

    def change(self, names: dict[str, "Node | None"]) -> None:
        self.pending.append(names)
        _rename(self.live, names)

    def sync(self) -> None:
        self.durable, self.pending = dict(self.live), []


Node = File | Folder


@dataclass
class _Open:
    node: Node
    offset: int = 0
    appends: bool = False


class Disk:
    """It begins as ``content``, all of it durable. Calls name it ``root``; those that concern others are read over."""

    def __init__(self, content: Path, root: Path) -> None:
        self._root = str(root)
        self._tree = _read(content, {})
        self._open: dict[int, _Open] = {}

    # --- replaying --------------------------------------------------------------------------------------------

    def replay(self, call: Call) -> bool:
        """Do what ``call`` did; whether it changed this disk or what is durable of it."""
        parts = call.arguments.split(", ")
        if call.name == "close":
            self._open.pop(int(parts[0]), None)
            return False
        if call.result < 0:
            return False
        if call.name == "syncfs":
            _sync_all(self._tree)
            return True
        if call.name in ("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "lseek", "fchmod"):
            return self._by_descriptor(call, parts)
        places = list(self._places(parts))
        if not places:
            return False
        if call.name == "openat":
            return self._opened(places[0], parts, call.result)
        self._by_path(call.name, places, parts)
        return True

    def _places(self, parts: Sequence[str]) -> Iterator[tuple[Folder, str]]:
        """Folder and name of each path among the arguments that is on this disk."""
        for number, part in enumerate(parts):
            if not part.startswith('"'):
                continue
            path, before = text_of(part).decode(), parts[number - 1] if number else ""
            if path == self._root or path.startswith(f"{self._root}/"):
                yield _place(self._tree, os.path.relpath(path, self._root))
            elif not path.startswith("/") and before.isdigit() and int(before) in self._open:
                folder = self._open[int(before)].node
                assert isinstance(folder, Folder)
                yield _place(folder, path)

    def _opened(self, place: tuple[Folder, str], parts: list[str], descriptor: int) -> bool:
        (folder, name), flags = place, parts[2]
        node = folder.live.get(name) if name else folder
        changes = node is None
        if node is None:
            node = File(b"", int(parts[3], 8) & ~0o022)
            folder.change({name: node})
        self._open[descriptor] = _Open(node, appends="O_APPEND" in flags)
        if "O_TRUNC" in flags and isinstance(node, File) and node.live:
            node.change(0)
            changes = True
        return changes

    def _by_descriptor(self, call: Call, parts: list[str]) -> bool:
        opened = self._open.get(int(parts[0]))
        if opened is None:
            return False
        node = opened.node
        if call.name in ("fsync", "fdatasync"):
            node.sync()
            return True
        if call.name == "lseek":
            opened.offset = call.result
            return False
        assert isinstance(node, File)
        if call.name == "fchmod":
            node.mode = int(parts[1], 8)
        elif call.name == "ftruncate":
            node.change(int(parts[1]))
        else:
            offset = int(parts[3]) if call.name == "pwrite64" else opened.offset
            if opened.appends:
                offset = len(node.live)
            node.change((offset, text_of(parts[1])[: call.result]))
            opened.offset += call.result if call.name == "write" else 0
        return True

    def _by_path(self, name: str, places: list[tuple[Folder, str]], parts: list[str]) -> None:
        folder, entry = places[0]
        match name:
            case "mkdir" | "mkdirat":
                folder.change({entry: Folder()})
            case "unlink" | "unlinkat" | "rmdir":
                folder.change({entry: None})
            case "chmod" | "fchmodat":
                node = folder.live[entry]
                if isinstance(node, File):
                    node.mode = int(next(part for part in reversed(parts) if part.startswith("0")), 8)
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                _move(*places, keep="link" in name)
            case _:
                raise NotImplementedError(name)

    def differences(self, folder: Path) -> list[str]:
        """Where ``folder`` is not what was replayed: the model is wrong there."""
        return sorted(_differences(self._tree, folder))

    # --- the power cut ----------------------------------------------------------------------------------------

    def after_power_cut(self, to: Path, loss: Loss, random: Random) -> None:
        """Write to the new folder ``to`` what may be left after a power cut now."""
        to.mkdir()
        self._leave(self._tree, to, loss, random, {})

    def _leave(self, folder: Folder, to: Path, loss: Loss, random: Random, made: dict[File, Path]) -> None:
        names = dict(folder.durable)
        for change in _kept(folder.pending, loss, random):
            _rename(names, change)
        for name, node in names.items():
            if isinstance(node, Folder):
                (to / name).mkdir()
                self._leave(node, to / name, loss, random, made)
            elif node in made:
                (to / name).hardlink_to(made[node])
            elif not name.endswith("-shm"):
                made[node] = to / name
                data = bytearray(node.durable)
                for write in _torn(list(_kept(node.pending, loss, random)), loss, random):
                    _apply(data, write)
                (to / name).write_bytes(data)
                (to / name).chmod(node.mode)
                if node.mtime is not None:
                    os.utime(to / name, (node.mtime, node.mtime))


def _sync_all(folder: Folder) -> None:
    folder.sync()
    for node in folder.live.values():
        if isinstance(node, Folder):
            _sync_all(node)
        else:
            node.sync()


def _differences(folder: Folder, path: Path) -> Iterator[str]:
    there = {entry.name for entry in path.iterdir()}
    for name in there ^ folder.live.keys():
        if (path / name).is_dir() or (path / name).is_file() or name in folder.live:
            yield f"{path / name} is on one side only"
    for name, node in folder.live.items():
        if isinstance(node, Folder):
            yield from _differences(node, path / name)
        elif name in there and not name.endswith("-shm") and (path / name).read_bytes() != node.live:
            yield f"{path / name} has other bytes"


def _move(source: tuple[Folder, str], to: tuple[Folder, str], *, keep: bool) -> None:
    (folder, entry), (other, new) = source, to
    node = folder.live[entry]
    if keep:
        other.change({new: node})
    elif other.live.get(new) is node:
        return  # rename(2): two names of one file stay both
    elif other is folder:
        folder.change({entry: None, new: node})
    else:
        other.change({new: node})
        folder.change({entry: None})


def _place(folder: Folder, path: str) -> tuple[Folder, str]:
    """The folder of ``path``, and the name in it; ``folder`` itself has no name."""
    if path == ".":
        return folder, ""
    names = path.rstrip("/").split("/")
    for name in names[:-1]:
        node = folder.live[name]
        assert isinstance(node, Folder)
        folder = node
    return folder, names[-1]


def _kept(pending: Sequence[T], loss: Loss, random: Random) -> Sequence[T]:
    if loss == "everything":
        return []
    if loss == "the newest":
        return pending[: random.randint(0, len(pending))]
    if loss == "anything":
        return [each for each in pending if random.random() < 0.5]
    return pending


def _torn(changes: list[Change], loss: Loss, random: Random) -> Iterator[Change]:
    """The last write may be there in part."""
    for number, change in enumerate(changes, 1):
        if number == len(changes) and loss in ("the newest", "anything") and isinstance(change, tuple):
            yield change[0], change[1][: random.randint(0, len(change[1]))]
        else:
            yield change


def _apply(data: bytearray, change: Change) -> None:
    if isinstance(change, int):
        del data[change:]
        data.extend(bytes(change - len(data)))
        return
    offset, new = change
    data.extend(bytes(max(0, offset - len(data))))
    data[offset : offset + len(new)] = new


def _rename(names: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _read(path: Path, known: dict[int, File]) -> Folder:
    folder = Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.live[entry.name] = _read(entry, known)
        elif entry.is_file():
            data, facts = entry.read_bytes(), entry.stat()
            made = File(data, facts.st_mode & 0o777, bytearray(data), facts.st_mtime)
            folder.live[entry.name] = known.setdefault(facts.st_ino, made)
    folder.durable = dict(folder.live)
    return folder
