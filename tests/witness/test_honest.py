"""Not one false refusal: random honest histories, with witnesses that are away for a while, over rule and store.

And the other way round: whatever an index makes a witness sign, the laws hold over the whole history.
"""

import os
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.model.digests import Sha256
from assay.model.errors import AssayError
from assay.trust.candidate import Candidate, Lacking, decode_candidate, encode_candidate
from assay.trust.layout import BIN_PREFIX, TargetPath
from assay.trust.plan import Changes, plan_bin
from witness.claiming import ClaimingIndex
from witness.world import INDEX, LIFETIMES, W1, W2, Index, Judge, package, page, target

OPERATIONS = int(os.environ.get("HONEST_OPERATIONS", "1500"))
"""``make honest`` does 10,000."""

KINDS = {
    "upload": 60,
    "page": 25,
    "renew": 5,
    "remove": 4,
    "back": 2,
    "seal": 0.4,
    "time": 3,
    "claim": 0.6,
    "release": 8,
    "settle": 0.4,
    "takedown": 0.3,
    "rotate": 0.3,
}
"""What happens how often."""


@dataclass
class History:
    """An index that does random honest things, and two witnesses, one of which may be away."""

    index: ClaimingIndex
    judges: list[Judge]
    chance: random.Random
    bytes_of: dict[TargetPath, bytes] = field(default_factory=dict)
    gone: set[TargetPath] = field(default_factory=set)
    removed: dict[TargetPath, Sha256] = field(default_factory=dict)
    away: int = -1
    done: int = 0
    happened: Counter[str] = field(default_factory=Counter)

    def operate(self) -> None:
        """One honest thing."""
        what = self.chance.choices(list(KINDS), list(KINDS.values()))[0]
        getattr(self, f"_{what}")()
        self.happened[what] += 1
        self.done += 1

    def publish(self) -> None:
        """Everybody who is there co-signs; who was away gets what it lacks."""
        if self.chance.random() < 0.05:
            self.away = self.chance.choice([-1, 0, 1])
        candidate = self.index.candidate(removed=self.removed)
        for number, judge in enumerate(self.judges):
            if number != self.away:
                judge.sign(self._as_asked_by(judge, candidate))
        self.index.publish(candidate)

    def _as_asked_by(self, judge: Judge, candidate: Candidate) -> Candidate:
        lacking = judge.look(candidate)
        if not isinstance(lacking, Lacking):
            return candidate
        if "root" in lacking.roles:
            candidate = replace(candidate, roots=(self.index.root, *self.index.later_roots))
            lacking = judge.look(candidate)
        roles = {role: self.index.files[role] for role in (lacking.roles if isinstance(lacking, Lacking) else ())}
        return replace(candidate, roles={**candidate.roles, **roles})

    def _upload(self) -> None:
        project, version = f"p{self.chance.randrange(40)}", str(self.chance.randrange(10_000))
        path = package(project, version)
        content = self.bytes_of.setdefault(path, self.chance.randbytes(8))
        free = path not in self.index.online() and path not in self.gone and not self._sealed(path)
        if free and not self.index.claimed(project):
            self.index.change(target(path, content), target(page(project), self.chance.randbytes(8)))

    def _sealed(self, path: TargetPath) -> bool:
        return any(path in role.targets for name, role in self.index.roles.items() if name.startswith("seal-"))

    def _page(self) -> None:
        self.index.change(target(page(f"p{self.chance.randrange(40)}"), self.chance.randbytes(8)))

    def _renew(self) -> None:
        self.index.renew(self.chance.choice(self.index.bins()))

    def _remove(self) -> None:
        online = self.index.online()
        if online:
            path = TargetPath(self.chance.choice(sorted(online)))
            self.removed[path] = Sha256(online[path][0])
            self.gone.add(path)
            self.index.change(removed=frozenset([path]))

    def _back(self) -> None:
        if self.gone:
            path = self.chance.choice(sorted(self.gone))
            self.gone.discard(path)
            if not self.index.claimed(path.split("/")[1]):
                self.index.change(target(path, self.bytes_of[path]))

    def _claim(self) -> None:
        project = f"p{self.chance.randrange(40)}"
        if not self.index.claimed(project):
            self.index.claim(project)

    def _release(self) -> None:
        claimed = sorted(self.index.new | self.index.settled)
        if claimed:
            project = self.chance.choice(claimed)
            path = package(project, f"c{self.chance.randrange(10_000)}")
            self.index.release(project, path, self.bytes_of.setdefault(path, self.chance.randbytes(8)))

    def _settle(self) -> None:
        if self.index.new:
            self.index.settle()

    def _takedown(self) -> None:
        sealed = [path for name, role in self.index.roles.items() if name.startswith("seal-") for path in role.targets]
        if sealed:
            self.index.take_down(TargetPath(self.chance.choice(sorted(sealed))))

    def _rotate(self) -> None:
        self.index.rotate()

    def _seal(self) -> None:
        if self.index.online():
            self.index.seal()

    def _time(self) -> None:
        self.index.tick(hours=self.chance.choice([0.1, 1, 5]))


@pytest.mark.timeout(3600)
def test_not_one_false_refusal_in_thousands_of_random_honest_operations(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    index = ClaimingIndex()
    history = History(
        index, [Judge.beside(index, tmp_path, W1), Judge.beside(index, tmp_path, W2)], random.Random(seed)
    )
    history.publish()
    while history.done < OPERATIONS:
        for _ in range(history.chance.randrange(1, 12)):
            history.operate()
        history.publish()
    print(dict(history.happened))
    assert OPERATIONS < 10_000 or set(history.happened) == set(KINDS)
    for judge in history.judges:
        for path, content in history.bytes_of.items():
            known = judge.store.file(path)
            assert known is None or known.sha256 == target(path, content).sha256


CONTENTS = st.binary(min_size=1, max_size=2)
PATHS = st.sampled_from([package(project, version) for project in ("a", "b") for version in ("1", "2")])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(PATHS, CONTENTS, st.integers(-1, 2), st.booleans()), max_size=12))
def test_whatever_is_signed_no_path_ever_has_two_hashes_and_no_version_two_contents(
    steps: list[tuple[TargetPath, bytes, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The index says anything: other bytes, versions that stay or go back, paths that vanish."""
    index = Index()
    judge = Judge.beside(index, tmp_path_factory.mktemp("memory"))
    judge.sign(index.candidate())
    index.publish(index.candidate())
    hashes: dict[str, str] = {}
    contents: dict[tuple[str, int], str] = {}
    for path, content, step, forget in steps:
        name = index.bin_of(path)
        role = plan_bin(None if forget else index.roles[name], Changes(), index.now, LIFETIMES)
        role.version = max(1, index.roles[name].version + step)
        forged = plan_bin(None, Changes((target(path, content),)), index.now, LIFETIMES)
        role.targets = {**role.targets, **forged.targets}
        index.put(name, role, INDEX[BIN_PREFIX])
        try:
            candidate = index.candidate()
            judge.sign(candidate)
        except AssayError:
            index.fresh.clear()
            old = judge.store.targets(name)
            index.roles[name] = old
            continue
        index.publish(candidate)
        for found, file in role.targets.items():
            assert hashes.setdefault(found, file.hashes["sha256"]) == file.hashes["sha256"]
        assert set(hashes) <= {path for bin_name in index.bins() for path in index.roles[bin_name].targets}
        payload = judge.store.roles[name].payload
        assert contents.setdefault((name, role.version), payload) == payload


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_what_is_no_candidate_is_refused_as_malformed(data: bytes) -> None:
    with pytest.raises(AssayError) as refused:
        decode_candidate(data)
    assert refused.value.rule == "malformed"


def test_a_candidate_survives_the_wire() -> None:
    index = Index()
    candidate = index.candidate(removed={package("a", "1"): target(package("a", "1"), b"x").sha256})
    assert decode_candidate(encode_candidate(candidate)) == candidate
