"""Real pip and stock ngclient over the whole life of an index's keys: a 3-of-5 root, a rotated holder, a stolen online
key, a new identity. And what its operator sees of it: metrics, banner, front page."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tuf.ngclient import Updater

from assay.cli.demo.programs import ASSAY, Person
from assay.cli.passphrases import MARKER
from assay.keys.ceremony.assembling import VerifiedBundle
from assay.keys.ceremony.publishing import publish_offline
from client.small_distributions import build_wheel
from e2e.house import House, ask, running_house
from e2e.installers import PIP, modules
from keys.live_index import LiveIndex
from keys.room import LOG_KEY, ONLINE, PlanText, Room, start_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


@dataclass
class Life:
    """An index, its holders, and clients that know it: pip behind ``assay run``, and stock ngclient."""

    house: House
    room: Room
    keys: LiveIndex
    bundle: VerifiedBundle
    returning: Person
    uploads: int = 1
    clients: int = 0
    roots: int = 1

    def hold(self, plan: PlanText, signers: tuple[str, ...], **online: str) -> None:
        """A ceremony, handed over by the command line; returns when the index shows it."""
        self.room.now = datetime.now(UTC).replace(microsecond=0)
        self.room.begin(plan, self.keys.metadata)
        self.room.enrol(*(name for name in plan.enrol if name not in online.values()))
        self.keys.enrol_online(**online)
        self.room.build()
        self.room.sign(*signers)
        self.bundle = self.room.finish()
        words = ["ceremony", "publish", "--stick", str(self.room.stick_path)]
        words += ["--bulletin", str(self.room.folder / "bulletin")] if plan.replaces else []
        done = self.house.operator(*words)
        assert done.code == 0, done.said
        self.roots += 1
        shown = self.keys.metadata / f"{self.roots}.root.json"
        wait_until(lambda: shown.exists() and not list(self.keys.data.inbox.glob("*.json")), shown.name)

    def plan(self, **changes: object) -> PlanText:
        now = datetime.now(UTC).replace(microsecond=0)
        values = {"enrol": (), "observers": (), "log": None, "starts_from": start_of(self.bundle), "opens": now}
        return PlanText(**{**values, **changes})  # type: ignore[arg-type]

    def upload(self) -> str:
        self.uploads += 1
        version = f"{self.uploads}.0"
        answer = self.house.upload(f"demo-{version}-py3-none-any.whl", build_wheel("demo", version))
        assert answer.status == 200, answer
        return version

    def install(self, person: Person, version: str) -> tuple[int, set[str], str]:
        self.clients += 1
        done, installed = PIP.install(person, f"demo=={version}", name=f"venv-{self.clients}")
        return done.code, modules(installed), done.said

    def stock(self, name: str, root: bytes, version: str) -> str:
        """What stock ngclient downloads, keeping its state under ``name``."""
        folder = self.room.folder / "ngclient" / name
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        url = self.house.index.url
        bootstrap = None if (folder / "root.json").exists() else root
        updater = Updater(str(folder), f"{url}tuf/", str(folder / "targets"), url, bootstrap=bootstrap)
        path = f"packages/demo/{version}/demo-{version}-py3-none-any.whl"
        info = updater.get_targetinfo(path)
        assert info is not None
        return updater.download_target(info)

    def root(self, version: int) -> bytes:
        return (self.keys.metadata / f"{version}.root.json").read_bytes()

    def everybody_installs(self, root_version: int = 1) -> None:
        """A returning and a new pip, a returning and a new ngclient, without anybody's hand work."""
        version = self.upload()
        for who in (self.returning, self.house.user()):
            code, found, said = self.install(who, version)
            assert (code, found) == (0, {"demo"}), said
        for name in ("returning", f"new-{self.uploads}"):
            assert Path(self.stock(name, self.root(root_version), version)).stat().st_size > 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def first_ceremony(folder: Path) -> tuple[Room, LiveIndex, VerifiedBundle]:
    """A data folder whose root three of five holders signed."""
    room = Room(folder / "room", now=datetime.now(UTC).replace(microsecond=0))
    keys = LiveIndex(room, folder / "index")
    plan = PlanText(opens=room.now)
    room.begin(plan)
    room.enrol(*(name for name in plan.enrol if name not in (*ONLINE, LOG_KEY)))
    keys.enrol_online(timestamp="timestamp-1", snapshot="snapshot-1", bin="bin-1", log=LOG_KEY)
    room.build()
    room.sign("ana", "ben", "chi")
    bundle = room.finish()
    publish_offline(bundle, keys.folder)
    (keys.folder / MARKER).touch()
    return room, keys, bundle


@pytest.fixture
def life(folder: Path) -> Iterator[Life]:
    """An index that began with a 3-of-5 ceremony, served by the real program."""
    room, keys, bundle = first_ceremony(folder)
    with running_house(folder, config=f'[metrics]\nlisten = "127.0.0.1:{free_port()}"\n') as house:
        house.publish(("demo", "1.0"))
        yield Life(house, room, keys, bundle, house.user())


def test_pip_and_ngclient_install_after_every_change_of_keys(life: Life) -> None:
    life.everybody_installs()

    holders = ("ana", "ben", "chi", "dov", "fay")
    life.hold(life.plan(holders=holders, enrol=("fay",)), ("ana", "ben", "chi", "fay"))
    life.everybody_installs()

    stolen = life.keys.keys.path("timestamp").read_bytes()
    online = ("timestamp-2", "snapshot-1", "bin-1")
    plan = life.plan(holders=holders, online=online, enrol=("timestamp-2",))
    life.hold(plan, ("ana", "ben", "chi"), timestamp="timestamp-2")
    life.everybody_installs()
    assert life.keys.keys.path("timestamp").read_bytes() != stolen, "the stolen key is gone"

    new = ("gus", "hal", "ida", "jon", "kim")
    names = {"timestamp": "timestamp-3", "snapshot": "snapshot-3", "bin": "bin-3"}
    life.hold(
        life.plan(holders=new, online=tuple(names.values()), enrol=(*new, *names.values()), replaces="stolen tokens"),
        ("gus", "hal", "ida"),
        **names,
    )
    version = life.upload()
    code, found, said = life.install(life.returning, version)
    assert (code, found) == (10, set()), said
    fingerprint = f"sha256:{life.bundle.root_sha256}"
    url = life.house.index.url
    told = life.returning.run(*ASSAY, "trust", "replace", url, "--fingerprint", fingerprint)
    assert told.code == 0, told.said
    newcomer = life.house.user("--fingerprint", fingerprint)
    for who in (life.returning, newcomer):
        code, found, said = life.install(who, version)
        assert (code, found) == (0, {"demo"}), said
    assert life.stock("told", life.root(life.roots), version)
    assert "stolen tokens" in (life.room.folder / "bulletin.txt").read_text()


def test_an_operator_sees_when_signatures_end(life: Life) -> None:
    """Metrics on their own address only, with bounded labels; the front page speaks when something is due."""
    address = (life.keys.folder / "config.toml").read_text().split('"')[1]
    life.house.page("demo")
    ask(f"{life.house.index.url}nonsense-{time.monotonic()}")
    found = ask(f"http://{address}/metrics").body.decode()
    ends = {
        line.split('"')[1]: float(line.rsplit(" ", 1)[1])
        for line in found.splitlines()
        if line.startswith("assay_role_expiry_timestamp_seconds{")
    }
    assert {"root", "targets", "bins", "timestamp", "snapshot"} <= set(ends)
    days = {role: (end - time.time()) / 86_400 for role, end in ends.items()}
    assert 364 < days["root"] < 366
    assert 89 < days["targets"] < 91
    assert 0 < days["timestamp"] <= 1
    assert 'assay_http_requests_total{route="simple",status="2xx"}' in found
    assert 'assay_http_requests_total{route="other",status="4xx"}' in found
    assert "demo" not in found
    assert "nonsense" not in found
    assert "assay_state_unreadable 0.0" in found
    assert ask(f"{life.house.index.url}metrics").status == 404
    assert "signature ends" not in ask(life.house.index.url).body.decode()


def test_A13_after_a_theft_the_operator_recovers_and_pip_works_again(folder: Path) -> None:
    """With the verbs that docs/operations.md names: recover, rotate, publish, serve."""
    room, keys, bundle = first_ceremony(folder)
    with running_house(folder) as house:
        port = urlsplit(house.index.url).port
        house.publish(("demo", "1.0"))
        returning = house.user()
        assert PIP.install(returning, "demo==1.0", name="before")[0].code == 0
        kept = returning.folder / "floor.bundle"
        assert returning.run(*ASSAY, "trust", "export", str(kept)).code == 0
        house.publish(("demo", "6.6"), ("squatted", "1.0"))
        token = house.token
    stranger = house.stranger()
    recover = (*ASSAY, "recover", "--data", str(keys.folder), "--bundle", str(kept), "--json")
    done = stranger.run(*recover)
    assert done.code == 0, done.said
    refused = stranger.run(*ASSAY, "serve", "--data", str(keys.folder), "--port", "0", "--upstream", "off")
    assert (refused.code, "frozen" in refused.said) == (1, True), refused.said
    names = {"timestamp": "timestamp-2", "snapshot": "snapshot-2", "bin": "bin-2"}
    room.now = datetime.now(UTC).replace(microsecond=0)
    online, new = tuple(names.values()), start_of(bundle)
    plan = PlanText(enrol=online, online=online, observers=(), log=None, starts_from=new, opens=room.now)  # type: ignore[arg-type]
    room.begin(plan, keys.metadata)
    keys.enrol_online(**names)
    room.build()
    room.sign("dov", "eli", "ana")
    room.finish()
    words = ("ceremony", "publish", "--stick", str(room.stick_path), "--data", str(keys.folder))
    assert stranger.run(*ASSAY, *words).code == 0
    with running_house(folder, "--port", str(port)) as again:
        again.people = house.people
        wait_until((keys.metadata / "2.root.json").exists, "the new root")
        for number, who in enumerate((returning, again.user())):
            found, installed = PIP.install(who, "demo", name=f"after-{number}")
            assert (found.code, modules(installed)) == (0, {"demo"}), found.said
            gone, installed = PIP.install(who, "squatted", name=f"gone-{number}")
            assert (gone.code != 0, installed) == (True, []), "what came after the good publication is gone"
        wheel = build_wheel("demo", "6.6")
        assert again.upload("demo-6.6-py3-none-any.whl", wheel, token=token).status == 403, "tokens are revoked"
    lost = (keys.folder / "recovery" / "lost.jsonl").read_text()
    assert "packages/demo/6.6/" in lost
    assert "packages/squatted/" in lost
