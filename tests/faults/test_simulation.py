"""Weeks in seconds: the real signer at a simulated clock, five clients behind a network that loses, delays and cuts.

One seed decides everything: what is uploaded, when the signer dies and at which write, what each client is shown. What
must hold at every look: a client gets a hash only for a path that was published with it, never an older publication
than it saw before, and nothing from metadata that has expired; whoever is served honestly is never refused.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random, SystemRandom

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError

from assay.index import states
from assay.model.digests import sha256_of
from assay.model.errors import AssayError
from assay.trust.layout import ROOT, TargetPath, metadata_path
from e2e.test_signer_faults import MODES, Died, Fuse, MortalLedger, MortalStore
from faults.host import DEMO, Host, target_of
from faults.oracle import Acknowledged, Oracle
from faults.readers import read_folder
from index.ledger_index import START, build_wheel, wheel_name
from support.simulator import AssayClient, Simulator, StockClient

DAYS = 24
STEPS_A_DAY = 2

Client = AssayClient | StockClient


@dataclass
class Served(Simulator):
    """What one client is shown, by file name, at one moment."""

    def __post_init__(self) -> None:
        pass


@dataclass
class Network:
    """``past``: everything that was served, by day."""

    random: Random
    past: list[dict[str, bytes]] = field(default_factory=list)

    def honest(self, now: datetime) -> Served:
        return Served(now=now, files=self.past[-1])

    def frozen(self, now: datetime, since: int) -> Served:
        return Served(now=now, files=self.past[min(since, len(self.past) - 1)])

    def bad(self, now: datetime) -> Served:
        """The newest files; some are gone, cut short, spoilt, or those of an earlier day."""
        files = dict(self.past[-1])
        for name in sorted(files):
            fault = self.random.randrange(12)
            if fault == 0:
                del files[name]
            elif fault == 1:
                files[name] = files[name][: self.random.randrange(len(files[name]))]
            elif fault == 2:
                place = self.random.randrange(len(files[name]))
                files[name] = files[name][:place] + bytes([files[name][place] ^ 1]) + files[name][place + 1 :]
            elif fault == 3:
                files[name] = self.random.choice(self.past).get(name, files[name])
        return Served(now=now, files=files)


@dataclass
class World:
    random: Random
    host: Host
    oracle: Oracle
    network: Network
    folder: Path
    published: dict[TargetPath, str] = field(default_factory=dict)
    removed: set[TargetPath] = field(default_factory=set)
    releases: int = 0

    def step(self) -> None:
        """Something happens at the index, perhaps with a crash; then everybody can see it."""
        self.host.later(hours=24 / STEPS_A_DAY, minutes=self.random.randrange(60))
        alice = self.host.principal(self.host.token("alice"))
        for _ in range(self.random.randrange(3)):
            version = f"1.{self.releases}"
            self.releases += 1
            self.host.admit(build_wheel(DEMO, version), wheel_name(DEMO, version), alice)
            self.published[target_of(wheel_name(DEMO, version))] = sha256_of(build_wheel(DEMO, version))
        standing = sorted(self.published.keys() - self.removed)
        if len(standing) > 1 and self.random.randrange(5) == 0:
            path = self.random.choice(standing[:-1])
            self.oracle.leaving.add(path)
            self.removed.add(path)
            with self.host.write() as connection:
                states.remove_files(connection, DEMO, path.rpartition("/")[2], "", "boss", self.host.now)
        if self.random.randrange(2):
            self._die()
        self.host.ledger.close()
        self.host = Host(self.folder / "index", self.host.now)
        owed: dict[str, str] = {path: sha256 for path, sha256 in self.published.items() if path not in self.removed}
        assert self.oracle.judge(self.host, Acknowledged(owed), {}) == []
        tuf = (self.host.data.published / "tuf").glob("*.json")
        self.network.past.append({path.name: path.read_bytes() for path in tuf})

    def _die(self) -> None:
        fuse = Fuse(self.random.randrange(1, 9), self.random.choice(MODES))
        mortal, whole = MortalLedger.open(self.host.data.ledger_file), (self.host.ledger, self.host.published)
        assert isinstance(mortal, MortalLedger)
        mortal.fuse = fuse
        self.host.ledger, self.host.published = mortal, MortalStore(self.host.data.published, fuse)
        try:
            self.host.publisher = self.host.new_publisher()
            self.host.sign()
        except Died:
            pass
        finally:
            mortal.close()
            self.host.ledger, self.host.published = whole
        assert self.oracle.watch(read_folder(self.host.data)) == []

    def look(self, client: Client, shown: Served, *, honest: bool) -> str:
        """``client`` asks for some path; what it got is lawful. Returns the verdict in a word."""
        path = self.random.choice(sorted(self.published))
        try:
            found = client.look_up(shown, path)
        except (AssayError, RepositoryError, DownloadError, ValueError) as error:
            if honest:
                raise AssertionError("an honest answer was refused") from error
            return "refused"
        if honest:
            assert found == (None if path in self.removed else self.published[path])
        assert found in (None, self.published[path])
        return "found" if found else "none"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    seed = int(os.environ.get("ASSAY_SEED") or SystemRandom().randrange(10**9))
    print(f"seed {seed}")
    random = Random(seed)
    host = Host(tmp_path / "index", START)
    host.token("alice")
    root = host.published.read(metadata_path(ROOT, 1)) or b""
    made = World(random, host, Oracle(root), Network(random), tmp_path)
    host.publish(DEMO, "0.1", host.principal(host.token("alice")))
    made.published[target_of(wheel_name(DEMO, "0.1"))] = sha256_of(build_wheel(DEMO, "0.1"))
    yield made
    made.host.ledger.close()


@pytest.mark.timeout(300)
def test_five_clients_through_weeks_of_faults(world: World, tmp_path: Path) -> None:
    root = world.oracle.root
    returning, frozen, away = AssayClient(root), AssayClient(root), AssayClient(root)
    stock = StockClient(root, tmp_path / "stock")
    refused_frozen = 0
    for step in range(DAYS * STEPS_A_DAY):
        world.step()
        now, network = world.host.now, world.network
        new: Client = AssayClient(root)
        for client in (new, returning, stock):
            if world.random.randrange(3) == 0:
                world.look(client, network.bad(now), honest=False)
            world.look(client, network.honest(now), honest=True)
        since = DAYS // 2
        if step <= since:
            world.look(frozen, network.honest(now), honest=True)
        elif now - START > timedelta(days=(since + 1) / STEPS_A_DAY + 2):
            assert world.look(frozen, network.frozen(now, since), honest=False) == "refused"
            refused_frozen += 1
        if step % (7 * STEPS_A_DAY) == 0:
            world.look(away, network.honest(now), honest=True)
    assert refused_frozen > 0
    assert world.look(frozen, world.network.honest(world.host.now), honest=True)


def test_the_past_is_never_served_again_to_who_saw_the_present(world: World) -> None:
    client = AssayClient(world.oracle.root)
    for _ in range(3):
        world.step()
        world.look(client, world.network.honest(world.host.now), honest=True)
        for past in world.network.past[:-1]:
            if past["timestamp.json"] != world.network.past[-1]["timestamp.json"]:
                shown = Served(now=world.host.now, files=past)
                assert world.look(client, shown, honest=False) == "refused"
