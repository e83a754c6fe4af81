"""``make torture``: every campaign, again and again, until the time is over; the same seed makes the same faults.

Faults of one operation are tried in an order that the seed shuffles: kill points first all before any twice. What is
violated is printed with the words that replay it: ``python -m faults.torture --replay upload kill write:3``.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

from faults.campaign import ERRORS, Campaign
from faults.disk import LOSSES, Loss
from faults.host import make_world, running_upstream
from faults.nursery import Nursery
from faults.operations import OPERATIONS
from faults.oracle import Violation
from faults.strace import Point


@dataclass(frozen=True)
class Fault:
    """``kind``: kill, power, or the error that a call returns, with a + where it goes on returning it.

    ``where``: the call, as ``write:3``; for power the place in the record, what is lost and a seed: ``87:anything:5``.
    """

    operation: str
    kind: str
    where: str

    def __str__(self) -> str:
        return f"{self.operation} {self.kind} {self.where}"

    def inflict(self, campaign: Campaign) -> list[Violation]:
        if self.kind == "power":
            place, loss, seed = self.where.split(":")
            wanted: Loss = next(each for each in LOSSES if each == loss)
            return campaign.cut_power(self.operation, int(place), wanted, Random(int(seed)))
        name, number = self.where.split(":")
        point = Point(name, int(number))
        if self.kind == "kill":
            return campaign.kill(self.operation, point)
        return campaign.fail(self.operation, point, self.kind.removesuffix("+"), lasting=self.kind.endswith("+"))


def faults_of(campaign: Campaign, operation: str, random: Random) -> Iterator[Fault]:
    """Every fault of ``operation`` once, in the order that ``random`` makes of them."""
    recording = campaign.recording(operation)
    faults = [Fault(operation, "kill", str(point)) for point in recording.points]
    for place in recording.changes:
        faults += [Fault(operation, "power", f"{place}:{loss}:{random.randrange(10**6)}") for loss in LOSSES]
    for point in recording.failing:
        error = random.choice(ERRORS)
        faults += [Fault(operation, f"{error}{lasting}", str(point)) for lasting in ("", "+")]
    random.shuffle(faults)
    yield from faults


@dataclass
class Report:
    seed: int
    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: list[tuple[Fault, list[Violation]]] = field(default_factory=list)

    def note(self, fault: Fault, violations: list[Violation]) -> None:
        self.tried[fault.operation, fault.kind.rstrip("+")] += 1
        if violations:
            self.found.append((fault, violations))
            print(f"VIOLATED by {fault}", *map(str, violations), sep="\n    ", flush=True)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {sum(self.tried.values())} faults, {len(self.found)} led to violations"]
        for (operation, kind), count in sorted(self.tried.items()):
            lines.append(f"  {operation:10} {kind:7} {count:6}")
        return "\n".join(lines)


def torture(campaign: Campaign, seed: int, operations: list[str], goes_on: Callable[[int], bool]) -> Report:
    """Take turns between ``operations``, while ``goes_on`` of the number of faults so far."""
    random, report = Random(seed), Report(seed)
    waiting: dict[str, Iterator[Fault]] = {}
    count = 0
    while True:
        for operation in operations:
            if not goes_on(count):
                return report
            fault = next(waiting.get(operation, iter(())), None)
            if fault is None:
                waiting[operation] = faults_of(campaign, operation, random)
                fault = next(waiting[operation])
            report.note(fault, fault.inflict(campaign))
            count += 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--operations", nargs="*", choices=list(OPERATIONS), default=list(OPERATIONS))
    parser.add_argument("--replay", nargs=3, metavar=("OPERATION", "KIND", "WHERE"))
    wanted = parser.parse_args()
    seed = wanted.seed if wanted.seed is not None else SystemRandom().randrange(10**9)
    print(f"seed {seed}", flush=True)
    end = time.monotonic() + wanted.seconds
    with tempfile.TemporaryDirectory(prefix="torture-") as folder, running_upstream() as upstream, Nursery() as nursery:
        campaign = Campaign(make_world(Path(folder, "world"), upstream), nursery, Path(folder))
        if wanted.replay:
            fault = Fault(*wanted.replay)
            violations = fault.inflict(campaign)
            print(f"{fault}:", *(map(str, violations) if violations else ["nothing is violated"]), sep="\n    ")
            return bool(violations)
        report = torture(campaign, seed, wanted.operations, lambda _: time.monotonic() < end)
    print(report)
    return bool(report.found)


if __name__ == "__main__":
    sys.exit(main())
