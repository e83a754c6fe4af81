"""The drill: a thief had everything online for three days; then every honest client works again, and what was lost is
listed."""

import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import insert, select, update
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from assay.index.config import IndexConfig, TrustConfig
from assay.index.ledger import Ledger
from assay.index.ledger.schema import files, outbox, tokens, users
from assay.index.published import PublishedStore
from assay.index.recovery.freeze import read_mark, require_thawed
from assay.index.recovery.notice import render_notice
from assay.index.recovery.recover import Recovered, Request, recover
from assay.index.signer.house import open_publisher
from assay.index.signer.online import Keyring
from assay.keys.files import load_key_file
from assay.keys.online import create_online_key
from assay.model.errors import OperatorError, VerificationFailed
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    CLAIMED_NEW,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
)
from assay.trust.plan import plan_bins
from assay.trust.seal import with_delegations
from index.ledger_index import LedgerIndex
from index.test_claims import House
from keys.live_index import LiveIndex
from keys.room import LOG_KEY, ONLINE, PlanText, Room, start_of

ONLINE_NAMES = {"timestamp": "timestamp-1", "snapshot": "snapshot-1", "bin": "bin-1"}
NEW_NAMES = {"timestamp": "timestamp-2", "snapshot": "snapshot-2", "bin": "bin-2"}
EVIL = b"not what was published"
SKY = 1_000_000_000


@pytest.fixture
def index(tmp_path: Path) -> LiveIndex:
    """An index with a 3-of-5 root, two wheels, and clients that know it."""
    room = Room(tmp_path / "room")
    index = LiveIndex(room, tmp_path / "data")
    plan = PlanText()
    room.begin(plan)
    room.enrol(*(name for name in plan.enrol if name not in (*ONLINE, LOG_KEY)))
    index.enrol_online(**ONLINE_NAMES, log=LOG_KEY)
    room.build()
    room.sign("ana", "ben", "chi")
    index.adopt(room.finish())
    for version in ("1.0", "2.0"):
        room.later(hours=1)
        index.upload(version)
    answers = index.ask_everybody()
    assert len(set(answers.values())) == 1
    return index


class Thief:
    """Whoever has the online keys, the database and the folders."""

    def __init__(self, index: LiveIndex) -> None:
        self.index = index
        self.keys = {role: load_key_file(index.keys.path(role), None) for role in ONLINE_NAMES}

    def bin_of(self, path: str) -> tuple[str, Metadata[Targets]]:
        """The newest bin that lists ``path``."""
        found = [
            (int(file.name.split(".")[0]), file.name.split(".")[1], metadata)
            for file in self.index.metadata.glob("*.bin-*.json")
            if path in (metadata := Metadata[Targets].from_bytes(file.read_bytes())).signed.targets
        ]
        _, role, metadata = max(found, key=lambda each: each[0])
        return role, metadata

    def rewrite_hash(self, path: str, *, in_place: bool = False) -> str:
        """Sign another hash for ``path``: in the bin's next version, or in the file that clients have already."""
        role, metadata = self.bin_of(path)
        body = metadata.signed
        body.targets[path].hashes = {"sha256": hashlib.sha256(EVIL).hexdigest()}
        body.targets[path].length = len(EVIL)
        body.version += 0 if in_place else 1
        name = f"{body.version}.{role}.json"
        (self.index.metadata / name).write_bytes(sign_envelope(body, [self.keys[BIN_PREFIX]]))
        return name

    def publish_to_the_sky(self, **roles: int) -> None:
        """A snapshot and a timestamp whose numbers nobody can follow."""
        stamp = Metadata[Timestamp].from_bytes((self.index.metadata / "timestamp.json").read_bytes()).signed
        name = f"{stamp.snapshot_meta.version}.snapshot.json"
        snapshot = Metadata[Snapshot].from_bytes((self.index.metadata / name).read_bytes()).signed
        for role, version in roles.items():
            snapshot.meta[f"{role.replace('_', '-')}.json"].version = version
        snapshot.version = SKY
        data = sign_envelope(snapshot, [self.keys[SNAPSHOT]])
        (self.index.metadata / f"{SKY}.snapshot.json").write_bytes(data)
        stamp.version, stamp.snapshot_meta.version = SKY, SKY
        stamp.snapshot_meta.length, stamp.snapshot_meta.hashes = len(data), {"sha256": hashlib.sha256(data).hexdigest()}
        (self.index.metadata / "timestamp.json").write_bytes(sign_envelope(stamp, [self.keys[TIMESTAMP]]))

    def take_the_database(self) -> None:
        ledger = Ledger.open(self.index.data.ledger_file)
        now = self.index.room.now
        with ledger.write() as connection:
            connection.execute(insert(users).values(name="mallory", is_admin=True, created=now))
            values = {"id": "evil", "sha256": "0" * 64, "user": "mallory", "description": "", "actions": ["admin"]}
            connection.execute(insert(tokens).values(**values, created=now))
            connection.execute(update(files).values(sha256="f" * 64))
            row = {"project": "demo", "proposal": {"kind": "files"}, "state": "pending"}
            connection.execute(insert(outbox).values(**row))
        ledger.close()


def snapshot_version(index: LiveIndex) -> int:
    stamp = Metadata[Timestamp].from_bytes((index.metadata / "timestamp.json").read_bytes()).signed
    version: int = stamp.snapshot_meta.version
    return version


def run_recover(index: LiveIndex, request: Request) -> Recovered:
    return recover(index.data, IndexConfig(), None, request, index.room.now)


def replace_online_keys(index: LiveIndex) -> None:
    """The ceremony after it: three holders give every online role another key."""
    room = index.room
    assert index.latest is not None
    plan = PlanText(
        enrol=tuple(NEW_NAMES.values()),
        online=tuple(NEW_NAMES.values()),  # type: ignore[arg-type]
        observers=(),
        log=None,
        starts_from=start_of(index.latest),
        opens=room.now,
    )
    room.later(hours=1)
    room.begin(plan, index.metadata)
    index.enrol_online(**NEW_NAMES)
    room.build()
    room.sign("ana", "ben", "chi")
    index.adopt(room.finish())


def lost(index: LiveIndex) -> dict[tuple[str, str], str | None]:
    lines = (index.folder / "recovery" / "lost.jsonl").read_bytes().splitlines()
    return {(row["kind"], row["path"]): row["found"] for row in map(orjson.loads, lines)}


def test_A13_from_three_days_of_theft_to_every_client_working_again(index: LiveIndex, tmp_path: Path) -> None:
    good, kept = snapshot_version(index), dict(index.uploads)
    mirror = tmp_path / "mirror"
    shutil.copytree(index.folder / "published", mirror)
    first, second = kept
    index.room.later(days=1)
    honest_but_lost = index.upload("3.0")
    thief = Thief(index)
    role = thief.rewrite_hash(first).split(".")[1]
    _, forged = thief.bin_of(first)
    thief.publish_to_the_sky(**{role.replace("-", "_"): forged.signed.version})
    thief.take_the_database()
    served = index.served()
    seen = {name: client.look_up(served, TargetPath(first)) for name, client in index.clients.items()}
    assert set(seen.values()) == {hashlib.sha256(EVIL).hexdigest()}, "the theft is real: without witnesses it works"
    index.room.later(days=2)

    done = run_recover(index, Request(good, [mirror]))
    assert (done.good, done.warnings) == (good, [])
    told = lost(index)
    assert ("added", honest_but_lost) in told
    assert told["changed", first] == hashlib.sha256(EVIL).hexdigest()
    assert "publication" in render_notice(done, index.room.now)
    with pytest.raises(OperatorError, match="frozen") as caught:
        require_thawed(index.data)
    assert "docs/operations.md" in (caught.value.next_step or "")
    assert len(read_mark(index.data)) == 3

    index.uploads = kept
    replace_online_keys(index)
    require_thawed(index.data)
    for path, sha256 in kept.items():
        served = index.served()
        for client in index.clients.values():
            assert client.look_up(served, TargetPath(path)) == sha256
    assert set(index.ask_everybody().values()) == {kept[second]}
    assert not [
        name for name, client in index.clients.items() if client.look_up(index.served(), TargetPath(honest_but_lost))
    ], "what came after is gone"
    index.upload("3.0")
    assert len(set(index.ask_everybody().values())) == 1

    ledger = Ledger.open(index.data.ledger_file)
    with ledger.read() as connection:
        assert connection.scalars(select(tokens.c.id).where(tokens.c.revoked.is_(None))).all() == []
        assert not connection.scalar(select(users.c.is_admin).where(users.c.name == "mallory"))
        rows = {row.path: row.sha256 for row in connection.execute(select(files))}
    ledger.close()
    assert {path: rows[path] for path in kept} == kept


def test_A13_the_good_publication_by_its_time(index: LiveIndex) -> None:
    good, when = snapshot_version(index), index.room.now
    index.room.later(hours=5)
    index.upload("3.0")
    done = run_recover(index, Request(when + timedelta(minutes=1)))
    assert done.good == good
    assert "nothing outside this machine" in done.warnings[0]
    again = run_recover(index, Request(good))
    assert again.publication > done.publication


def test_A13_a_past_that_was_rewritten_in_place_is_found_by_the_log_and_mended_from_a_copy(
    index: LiveIndex, tmp_path: Path
) -> None:
    good = snapshot_version(index)
    mirror = tmp_path / "mirror"
    shutil.copytree(index.folder / "published", mirror)
    path = next(iter(index.uploads))
    before = (index.metadata / "timestamp.json").read_bytes()
    Thief(index).rewrite_hash(path, in_place=True)
    with pytest.raises(VerificationFailed) as caught:
        run_recover(index, Request(good))
    assert (caught.value.rule, caught.value.subject) == ("recovery-contradicted", path)
    assert (index.metadata / "timestamp.json").read_bytes() == before
    done = run_recover(index, Request(good, [mirror]))
    assert done.rewritten == 1
    replace_online_keys(index)
    assert set(index.ask_everybody().values()) == {list(index.uploads.values())[-1]}


def test_A13_a_log_that_was_rewritten_is_found(index: LiveIndex, tmp_path: Path) -> None:
    good = snapshot_version(index)
    mirror = tmp_path / "mirror"
    shutil.copytree(index.folder / "published", mirror)
    entries = max((index.folder / "published" / "log" / "tile" / "entries").rglob("*"), key=lambda path: path.name)
    while entries.is_dir():
        entries = max(entries.iterdir(), key=lambda path: int(path.name))
    data = entries.read_bytes()
    entries.write_bytes(data.replace(b'"actor":"tess"', b'"actor":"mess"'))
    assert entries.read_bytes() != data
    with pytest.raises(VerificationFailed) as caught:
        run_recover(index, Request(good))
    assert caught.value.rule == "log-entries"
    run_recover(index, Request(good, [mirror]))
    replace_online_keys(index)
    assert set(index.ask_everybody().values()) == {list(index.uploads.values())[-1]}
    assert PublishedStore(index.folder / "published").read("log/checkpoint") is not None


def replace_keys_locally(index: LedgerIndex) -> None:
    """New online keys for an index whose offline keys are files: what the ceremony does, by hand."""
    life, keys = Lifetimes(), index.data.keys
    new = {role: create_online_key(keys, role, None)[1] for role in ONLINE_NAMES}
    offline = {role: load_key_file(keys.path(role), None) for role in (ROOT, TARGETS, BINS)}
    state = index.state()
    root = parse_envelope(state.root, Root, ROOT).signed
    for role in (TIMESTAMP, SNAPSHOT):
        root.revoke_key(root.roles[role].keyids[0], role)
        root.add_key(new[role], role)
    root.version += 1
    old = state.targets()
    assert old.delegations is not None
    assert old.delegations.roles is not None
    delegated = dict(old.delegations.roles)
    delegated[CLAIMED_NEW].keyids = [new[BIN_PREFIX].keyid]
    added = {new[BIN_PREFIX].keyid: new[BIN_PREFIX]}
    targets = with_delegations(old, delegated, added, set(), index.now + life.targets)
    bins = plan_bins([new[BIN_PREFIX]], 1, 2, state.bins().version + 1, index.now + life.bins)
    for role, body in ((BINS, bins), (TARGETS, targets), (ROOT, root)):
        index.data.inbox.mkdir(exist_ok=True)
        path = index.data.inbox / f"{body.version}.{role}.json"
        path.write_bytes(sign_envelope(body, [offline[role]]))


def test_A13_seals_and_claims_stand_through_a_recovery(tmp_path: Path) -> None:
    """Sealed files are found in their seal, a claimed project's under its developers' key; a forged claim is gone."""
    house = House(LedgerIndex(tmp_path / "data"), None)  # type: ignore[arg-type]
    index = house.index
    house.ana = index.user("ana")
    index.publish("demo", "1.0", house.ana)
    index.publish("other", "1.0", house.ana)
    index.later(days=20)
    index.sign()
    house.seal("first")
    index.later(hours=1)
    assert house.upload("2.0", None)[0] == "published"
    assert house.submit(house.role("2.0"))[0] == "published"
    roles = {version: house.signed_by(version) for version in ("1.0", "2.0")}
    assert (roles["1.0"] or "").startswith("seal-1")
    assert roles["2.0"] == "claim-demo"
    good = index.state().snapshot
    assert good is not None
    index.later(hours=1)
    index.publish("thiefs", "1.0", house.ana)
    index.later(days=3)
    index.sign()
    done = recover(index.data, IndexConfig(trust=TrustConfig(bin_bits=2)), None, Request(good.version), index.now)
    assert done.counts["added"] == 2, "a file and its page"
    with pytest.raises(OperatorError, match="frozen"):
        open_publisher(index.data, IndexConfig(), Keyring(index.data.keys, None), index.ledger)
    replace_keys_locally(index)
    require_thawed(index.data)
    index.later(minutes=5)
    index.publisher = index.new_publisher()
    index.sign()
    Keyring(index.data.keys, None).promote(index.publisher.keys)
    assert {version: house.signed_by(version) for version in roles} == roles
    assert index.vouched("other", "1.0")
    assert index.vouched("thiefs", "1.0") is None
    house.ana = index.principal(index.token("ana"))
    assert house.upload("3.0", house.role("2.0", "3.0"))[0] == "published"
