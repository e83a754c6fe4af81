"""One fault at a time: copy the world, do an operation under it, start the machine again, ask the oracle."""

import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

from assay.index.config import DataFolder
from assay.model.errors import AssayError, StorageUnavailable
from faults import strace
from faults.disk import Disk, Loss
from faults.host import NOW, Host, Standby, World, reading_services
from faults.nursery import ACKNOWLEDGED, REFUSED, Nursery
from faults.operations import OPERATIONS, Case, Operation
from faults.oracle import Oracle, Violation
from faults.readers import read_folder
from faults.strace import Call, Point, text_of
from index.web.running import running

ERRORS = ("ENOSPC", "EIO")
FAILING = ("openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "link", "mkdir", "unlink")
"""Calls that a full or broken disk lets fail."""


@dataclass(frozen=True)
class Recording:
    """An operation that nobody disturbed: its ``calls``, made in the folder ``root``, a copy of ``world``.

    ``changes``: the places in ``calls`` that change the disk or tell somebody something; ``points``: the same as the
    names and numbers by which strace finds them.
    """

    operation: Operation
    world: Path
    root: Path
    calls: list[Call]
    changes: list[int]

    @property
    def points(self) -> list[Point]:
        return list(dict.fromkeys(Point(call.name, call.number) for call in map(self.calls.__getitem__, self.changes)))

    @property
    def failing(self) -> list[Point]:
        """The points at which a disk may fail."""
        return [point for point in self.points if point.name in FAILING]


@dataclass
class Campaign:
    """``folder`` is for the copies of ``world``. Every fault returns the violations that it led to."""

    world: World
    nursery: Nursery
    folder: Path
    recordings: dict[str, Recording] = field(default_factory=dict)
    copies: int = 0

    # --- recording --------------------------------------------------------------------------------------------

    def recording(self, name: str) -> Recording:
        """What the operation ``name`` does when nobody disturbs it; recorded once."""
        if name not in self.recordings:
            self.recordings[name] = self._record(OPERATIONS[name])
        return self.recordings[name]

    def _record(self, operation: Operation) -> Recording:
        prepared = self.folder / f"prepared-{operation.name}"
        copy_tree(self.world.folder, prepared)
        operation.prepare(Case(prepared, "", self.world.upstream.url, lambda: None))
        with self._copy(operation, prepared) as case:
            status, calls = strace.record(self.nursery, self._order(operation, case), _beside(case, "strace"))
            assert status == 0, f"{operation.name} does not work undisturbed"
            disk = Disk(prepared, case.folder)
            changes = [place for place, call in enumerate(calls) if disk.replay(call) or _tells(call)]
            assert disk.differences(case.folder) == []
            return Recording(operation, prepared, case.folder, calls, changes)

    # --- faults -----------------------------------------------------------------------------------------------

    def kill(self, name: str, point: Point) -> list[Violation]:
        """SIGKILL before ``point``, and so after the change before it."""
        return self._disturb(name, lambda order, out: strace.kill(self.nursery, order, out, point))

    def fail(self, name: str, point: Point, error: str, *, lasting: bool) -> list[Violation]:
        """``error`` at ``point``; ``lasting``: and at every later call of that name."""
        return self._disturb(
            name, lambda order, out: strace.fail(self.nursery, order, out, point, error, lasting=lasting)
        )

    def _disturb(self, name: str, run: Callable[[dict[str, str], Path], int]) -> list[Violation]:
        recording = self.recording(name)
        with self._copy(recording.operation, recording.world) as case:
            status = run(self._order(recording.operation, case), _beside(case, "strace"))
            fell = [Violation(0, "ended with a traceback")] if status not in (0, REFUSED, -9) else []
            return fell + list(self._aftermath(recording, case, acknowledged=_beside(case, "log").stat().st_size > 0))

    def cut_power(self, name: str, place: int, loss: Loss, random: Random) -> list[Violation]:
        """The power goes after the call at ``place``; of what was not synced, ``loss`` is lost."""
        recording = self.recording(name)
        with self._copy(recording.operation, None) as case:
            disk = Disk(recording.world, recording.root)
            for call in recording.calls[: place + 1]:
                disk.replay(call)
            disk.after_power_cut(case.folder, loss, random)
            acknowledged = any(_acknowledges(call) for call in recording.calls[: place + 1])
            return list(self._aftermath(recording, case, acknowledged=acknowledged))

    def take_over(self, name: str, point: Point) -> list[Violation]:
        """The signer is stopped (SIGSTOP) after ``point``; a successor takes over and publishes; the first goes on.

        A signer that was stopped in the middle of writing holds its successor up, until it goes on.
        """
        recording, found = self.recording(name), list[Violation]()
        with self._copy(recording.operation, recording.world) as case:
            data, oracle = DataFolder(case.folder / "index"), Oracle(self.world.root)
            held_up = False

            def meanwhile() -> None:
                nonlocal held_up
                found.extend(oracle.watch(read_folder(data)))
                try:
                    host = Standby(data.root, NOW + timedelta(minutes=1))
                except StorageUnavailable:
                    held_up = True
                    return
                alice = host.principal((case.folder / "alice.token").read_text())
                host.publish("successor", "1.0", alice)
                host.ledger.close()
                found.extend(oracle.watch(read_folder(data)))

            order, out = self._order(recording.operation, case), _beside(case, "strace")
            status = strace.pause(self.nursery, order, out, point, meanwhile)
            if status not in (0, REFUSED):
                found.append(Violation(0, f"ended with status {status}"))
            if not held_up and not (acknowledged := _beside(case, "log").stat().st_size) and status != REFUSED:
                found.append(Violation(7, f"acknowledged {acknowledged}, ended with status {status}"))
            found += oracle.watch(read_folder(data))
            found += self._aftermath(recording, case, acknowledged=_beside(case, "log").stat().st_size > 0)
            return found

    # --- judging ----------------------------------------------------------------------------------------------

    def _aftermath(self, recording: Recording, case: Case, *, acknowledged: bool) -> Iterator[Violation]:
        """What readers of the dead index see, what the ordinary start makes of it, and whether it can be done again."""
        operation, data = recording.operation, DataFolder(case.folder / "index")
        oracle = Oracle(self.world.root, leaving=set(operation.removes))
        yield from oracle.watch(read_folder(DataFolder(recording.world / "index")))
        yield from oracle.remember(data.published)
        yield from oracle.watch(read_folder(data))
        try:
            yield from self._judge(oracle, case, operation, must=3 if acknowledged else None)
            again = Case(case.folder, case.web, case.upstream, lambda: None)
            with self._web(operation, data) as again.web:
                operation.act(again)
            yield from self._judge(oracle, case, operation, must=4)
        except AssayError as error:
            yield Violation(4, f"the start or the second try fails: {error} [{error.rule}]")
        except Exception:  # noqa: BLE001 - a campaign goes on, and says what it met
            yield Violation(4, f"the start or the second try falls over: {traceback.format_exc()}")

    def _judge(self, oracle: Oracle, case: Case, operation: Operation, *, must: int | None) -> Iterator[Violation]:
        """Start the index and judge it; ``must``: the operation has to be done, or that invariant is violated."""
        host = Host(case.folder / "index", NOW + timedelta(hours=operation.hours))
        try:
            yield from oracle.judge(host, self.world.acknowledged, {"returning": case.client / "metadata"})
            if must and not operation.is_done(host, case.folder):
                yield Violation(must, f"{operation.name} is not done")
        finally:
            host.ledger.close()

    # --- copies -----------------------------------------------------------------------------------------------

    @contextmanager
    def _copy(self, operation: Operation, world: Path | None) -> Iterator[Case]:
        """A copy of ``world``, or the room for one, while the block lasts."""
        self.copies += 1
        folder = self.folder / f"{operation.name}-{self.copies}"
        if world is not None:
            copy_tree(world, folder)
        with self._web(operation, DataFolder(folder / "index")) as web:
            try:
                yield Case(folder, web, self.world.upstream.url, lambda: None)
            finally:
                for path in folder.parent.glob(f"{folder.name}*"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _web(self, operation: Operation, data: DataFolder) -> AbstractContextManager[str]:
        """Where clients reach the copy, for operations of clients."""
        return serving(data) if operation.is_clients else nullcontext("")

    def _order(self, operation: Operation, case: Case) -> dict[str, str]:
        log = str(_beside(case, "log"))
        return {
            "operation": operation.name,
            "folder": str(case.folder),
            "web": case.web,
            "upstream": case.upstream,
            "log": log,
        }


def copy_tree(source: Path, to: Path) -> None:
    """A copy with its hard links and times."""
    subprocess.run(["cp", "-a", str(source), str(to)], check=True)


@contextmanager
def serving(data: DataFolder) -> Iterator[str]:
    """The URL at which ``data`` is served to readers."""
    with running(reading_services(data)) as address:
        yield address.url


def _beside(case: Case, what: str) -> Path:
    """A file that belongs to the case and is not on its disk."""
    return case.folder.with_name(f"{case.folder.name}.{what}")


def _tells(call: Call) -> bool:
    """Whether the call tells somebody something."""
    return call.name in ("sendto", "sendmsg") or _acknowledges(call)


def _acknowledges(call: Call) -> bool:
    return call.name == "write" and text_of(call.arguments.split(", ")[1]) == ACKNOWLEDGED
