"""Witnesses are enrolled in ceremonies: with the first root, and later, at an index that has published for long."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from assay.index.ledger import accounts
from assay.keys.ceremony.publishing import publish_offline
from assay.keys.custody import key_file_uri
from assay.keys.online import create_online_key
from assay.model.digests import sha256_of
from assay.trust.layout import ONLINE_ROLES, ROOT, metadata_path
from assay.witness.store import WitnessStore
from keys.room import LOG_KEY, PlanText, Room, start_of
from witness.live import LiveWitness, WitnessedIndex, free_port, serving, wait_until


@dataclass
class WitnessedPlan(PlanText):
    """A plan in which witnesses hold the online roles, too: each has a key of its own in each."""

    witnesses: tuple[str, ...] = ()

    def render(self) -> bytes:
        text = super().render().decode()
        for role, own in zip(("timestamp", "snapshot", "bin"), self.online, strict=True):
            named = ", ".join(f'"{name}"' for name in (own, *(f"{one}-{role}" for one in self.witnesses)))
            before = f'[roles.{role}]\nholders = ["{own}"]\nthreshold = 1'
            assert before in text
            text = text.replace(before, f"[roles.{role}]\nholders = [{named}]\nthreshold = 2")
        return text.encode()


@dataclass
class CeremonyIndex(WitnessedIndex):
    """An index whose roles come from a real ceremony."""

    room: Room = field(default_factory=lambda: Room(Path("room")))

    def __post_init__(self) -> None:
        self.data.make()
        with self.ledger() as ledger, ledger.write() as connection:
            accounts.create_user(connection, "tess", "tess", datetime.now(UTC), is_admin=True)

    def hold(self, plan: WitnessedPlan, *signers: str) -> tuple[int, str]:
        """Hold the ceremony, hand it over, publish; where the next one starts."""
        first = plan.starts_from is None
        self.room.begin(plan, None if first else self.data.published / "tuf")
        names = {"timestamp-1": "timestamp", "snapshot-1": "snapshot", "bin-1": "bin", LOG_KEY: "log"}
        theirs = {f"{one.name}-{role}": (one, role) for one in self.witnesses for role in ONLINE_ROLES}
        for name in plan.enrol:
            if name in names:
                path, key = create_online_key(self.data.keys, names[name], None)
                self.room.enrol_key(name, key_file_uri(path, encrypted=False), key)
            elif name in theirs:
                witness, role = theirs[name]
                uri = key_file_uri(witness.place.keys.path(role), encrypted=False)
                self.room.enrol_key(name, uri, witness.public.keys[role])
            else:
                self.room.enrol(name)
        self.room.build()
        self.room.sign(*signers)
        bundle = self.room.finish()
        publish_offline(bundle, self.folder)
        return start_of(bundle)


def tables_of(*witnesses: str) -> str:
    """The witnesses' keys as participants of the ceremony."""
    names = [f"{one}-{role}" for one in witnesses for role in ONLINE_ROLES]
    return "\n".join(f'[online.{name}]\nname = "key of witness {name}"' for name in names)


def test_a_witness_from_the_first_root_on_and_another_one_later(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    w1, w2 = (LiveWitness.make(name, tmp_path / name) for name in ("w1", "w2"))
    index = CeremonyIndex(tmp_path / "index", [w1, w2], room=Room(tmp_path / "room", now))
    first = WitnessedPlan(witnesses=("w1",), opens=now - timedelta(hours=1), tables=tables_of("w1"))
    first.observers = ()
    first.enrol = tuple(name for name in (*first.enrol, *(f"w1-{role}" for role in ONLINE_ROLES)) if name != "wim")
    start = index.hold(first, "ana", "ben", "chi")
    port = free_port()
    for one, other in ((w1, w2), (w2, w1)):
        one.configure("", [other], asked=True)
        store = WitnessStore.open(one.place.database)
        store.follow(f"http://127.0.0.1:{port}/", sha256_of(index.store.read(metadata_path(ROOT, 1)) or b""))
        store.close()
    with ExitStack() as stack:
        stack.enter_context(serving(index.data.published, port))
        stack.callback(w1.stop)
        stack.callback(w2.stop)
        w1.start()
        assert index.sign()
        path = index.upload("demo", "1.0")
        assert set(index.everybody(path).values()) == {index.published[path]}

        w2.start()
        index.room.now = datetime.now(UTC).replace(microsecond=0)
        plan = WitnessedPlan(
            witnesses=("w1", "w2"),
            opens=now - timedelta(hours=1),
            starts_from=start,
            enrol=tuple(f"w2-{role}" for role in ONLINE_ROLES),
            observers=(),
            log=None,
            tables=tables_of("w1", "w2"),
        )
        index.hold(plan, "ana", "ben", "chi")
        assert index.sign()
        wait_until(lambda: w2.status()["snapshot"] == w1.status()["snapshot"])
        assert set(index.everybody(path).values()) == {index.published[path]}
        w1.stop()
        path = index.upload("demo", "1.1")
        assert set(index.everybody(path).values()) == {index.published[path]}
        assert w2.refusals() == []
