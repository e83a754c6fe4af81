"""Uploads under fire: somebody publishes without pause, processes are killed at random moments, and all is counted.

What was acknowledged is recorded outside the index. Afterwards everything that the index serves is read as a client
reads it, and compared with the record and with everything that was ever seen of it before.
"""

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from assay.model.errors import OperatorError
from client.small_distributions import build_wheel
from e2e.house import Answer, House
from faults.oracle import Oracle
from faults.readers import read_url

PROJECTS = ("red", "green", "blue")


@dataclass
class Publisher:
    """Uploads small wheels one after the other until told to stop. ``acknowledged``: filenames that got a 200."""

    house: House
    name: str
    wheels: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    refused: dict[str, Answer] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            project = f"{PROJECTS[number % len(PROJECTS)]}{self.name}"
            filename = f"{project}-1.{number}-py3-none-any.whl"
            self.wheels[filename] = build_wheel(project, f"1.{number}")
            self.send(filename)
            number += 1

    def send(self, filename: str) -> bool:
        """Upload once; whether it was acknowledged. A connection that breaks says nothing."""
        try:
            answer = self.house.upload(filename, self.wheels[filename])
        except OSError:
            time.sleep(0.02)
            return False
        if answer.status == 200:
            self.acknowledged.add(filename)
        elif answer.status < 500:
            self.refused[filename] = answer
        return answer.status == 200


ALL = "all"


def kill(house: House, module: str) -> None:
    """kill -9, and wait until the supervisor has started another one; with ``ALL``, of everything at once, for good."""
    if module == ALL:
        pids = [house.index.process.pid, *map(house.index.child_pid, ("web", "signer"))]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        house.index.process.wait()
        return
    old = house.index.child_pid(module)
    os.kill(old, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if house.index.child_pid(module) != old:
                return
        except OperatorError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{module} was not started again")


def fire(house: House, publishers: list[Publisher], kills: list[str], random: Random) -> None:
    """Kill a process of each kind in ``kills``, in order, at random moments while ``publishers`` upload."""
    threads = [threading.Thread(target=publisher.run) for publisher in publishers]
    for thread in threads:
        thread.start()
    try:
        for module in kills:
            time.sleep(random.uniform(0.05, 0.8))
            kill(house, module)
    finally:
        for publisher in publishers:
            publisher.stopping.set()
        for thread in threads:
            thread.join()


@dataclass
class Memory:
    """Everything that was ever seen of an index: the oracle of every fault test, over HTTP."""

    oracle: Oracle = field(default_factory=lambda: Oracle(b""))

    def look(self, house: House) -> dict[str, str]:
        """Fetch everything that the served timestamp leads to; returns the paths of files with their hashes."""
        assert self.oracle.watch(read_url(house.index.url)) == []
        return self.oracle.hashes


def target_of(filename: str) -> str:
    project, version = filename.split("-")[:2]
    return f"packages/{project}/{version}/{filename}"


def leftovers(data: Path) -> list[str]:
    """What crashes left half-written where readers look."""
    return [str(path) for path in data.rglob(".tmp-*")]
