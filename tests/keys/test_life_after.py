"""Life after the first ceremony: after each change everybody installs without hand work."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from securesystemslib.signer import SSlibKey

from assay.cli.ceremony import command
from assay.keys.ceremony.bulletin import bulletin_of, parse_bulletin, render_announcement, render_bulletin
from assay.keys.ceremony.steps import build_payloads
from assay.model.errors import AssayError, CallerError, KeyUnavailable
from assay.trust.layout import SNAPSHOT, TIMESTAMP
from keys.live_index import LiveIndex
from keys.room import LOG_KEY, ONLINE, PlanText, Room
from support.simulator import AssayClient, StockClient, verdict

ONLINE_NAMES = {"timestamp": "timestamp-1", "snapshot": "snapshot-1", "bin": "bin-1"}
LOG_NAME = {"log": LOG_KEY}


@pytest.fixture
def index(tmp_path: Path) -> LiveIndex:
    """An index whose root came from a 3-of-5 ceremony, with one wheel, and clients that know it."""
    room = Room(tmp_path / "room")
    index = LiveIndex(room, tmp_path / "data")
    plan = PlanText()
    room.begin(plan)
    room.enrol(*(name for name in plan.enrol if name not in (*ONLINE, LOG_KEY)))
    index.enrol_online(**ONLINE_NAMES, **LOG_NAME)
    room.build()
    room.sign("ana", "ben", "chi")
    index.adopt(room.finish())
    index.upload("1.0")
    everybody_gets(index)
    return index


def everybody_gets(index: LiveIndex, root_version: int = 1) -> None:
    answers = index.ask_everybody(root_version)
    assert set(answers.values()) == {next(reversed(index.uploads.values()))}, answers


def next_plan(index: LiveIndex, **changes: object) -> PlanText:
    values = {"enrol": (), "observers": (), "log": None, "starts_from": index.start, "opens": index.room.now, **changes}
    return PlanText(**values)  # type: ignore[arg-type]


def hold_and_adopt(index: LiveIndex, plan: PlanText, signers: tuple[str, ...]) -> None:
    index.room.later(hours=1)
    index.adopt(index.room.hold(plan, signers, index.metadata))
    index.room.later(hours=1)
    index.upload(f"{len(index.uploads) + 1}.0")


def test_one_holder_is_replaced(index: LiveIndex) -> None:
    plan = next_plan(index, holders=("ana", "ben", "chi", "dov", "fay"), enrol=("fay",))
    hold_and_adopt(index, plan, ("ana", "ben", "chi", "fay"))
    everybody_gets(index)


def test_a_lost_token_is_replaced_without_its_signature(index: LiveIndex) -> None:
    """Dov enrols a new token, on a new machine too; the lost one never signs again."""
    shutil.rmtree(index.room.home("dov").folder)
    hold_and_adopt(index, next_plan(index, enrol=("dov",)), ("ana", "ben", "dov", "chi"))
    everybody_gets(index)


def test_all_holders_are_replaced_by_both_thresholds(index: LiveIndex) -> None:
    new = ("fay", "gus", "hal", "ida", "jon")
    plan = next_plan(index, holders=new, enrol=new)
    hold_and_adopt(index, plan, ("ana", "ben", "chi", "fay", "gus", "hal"))
    everybody_gets(index)


def test_the_threshold_changes(index: LiveIndex) -> None:
    hold_and_adopt(index, next_plan(index, threshold=4), ("ana", "ben", "chi", "dov"))
    everybody_gets(index)


def test_everything_is_signed_again_before_it_expires(index: LiveIndex) -> None:
    index.room.later(days=80)
    index.sign()
    hold_and_adopt(index, next_plan(index), ("dov", "eli", "ana"))
    index.room.later(days=60)
    index.sign()
    everybody_gets(index)


def test_targets_and_bins_are_renewed_without_a_new_root(index: LiveIndex) -> None:
    index.room.later(days=80)
    index.sign()
    hold_and_adopt(index, next_plan(index, sign=("targets", "bins")), ("dov", "eli", "ana"))
    assert not (index.metadata / "2.root.json").exists()
    everybody_gets(index)


@pytest.mark.parametrize("stolen", ["timestamp", "snapshot", "bin"])
def test_a_stolen_online_key_is_replaced_by_a_root_signature(index: LiveIndex, stolen: str) -> None:
    names = {**ONLINE_NAMES, stolen: f"{stolen}-2"}
    plan = next_plan(index, online=tuple(names.values()), enrol=(f"{stolen}-2",))
    index.room.later(hours=1)
    index.room.begin(plan, index.metadata)
    index.enrol_online(**{stolen: f"{stolen}-2"})
    old_key = index.keys.path(stolen).read_bytes()
    index.room.build()
    index.room.sign("ana", "ben", "chi")
    index.adopt(index.room.finish())
    index.upload("2.0")
    everybody_gets(index)
    assert index.keys.path(stolen).read_bytes() != old_key


def test_a_thief_who_sent_the_versions_to_the_sky_is_shaken_off(index: LiveIndex) -> None:
    """A4: with a stolen timestamp key the thief signs version 1,000,000,000; the rotation brings every client back."""
    from tuf.api.metadata import Metadata, Timestamp

    from assay.keys.files import load_key_file
    from assay.trust.envelope import sign_envelope

    thief = load_key_file(index.keys.path(TIMESTAMP), None)
    served = index.served()
    stamp = Metadata[Timestamp].from_bytes(served.files["timestamp.json"]).signed
    stamp.version = 1_000_000_000
    served.files["timestamp.json"] = sign_envelope(stamp, [thief])
    path = next(reversed(index.uploads))
    for client in index.clients.values():
        client.look_up(served, path)
    with pytest.raises(Exception, match=r"rollback|older|New timestamp version"):
        index.ask_everybody()

    names = {**ONLINE_NAMES, TIMESTAMP: "timestamp-2", SNAPSHOT: "snapshot-2"}
    plan = next_plan(index, online=tuple(names.values()), enrol=("timestamp-2", "snapshot-2"))
    index.room.later(hours=1)
    index.room.begin(plan, index.metadata)
    index.enrol_online(timestamp="timestamp-2", snapshot="snapshot-2")
    index.room.build()
    index.room.sign("ana", "ben", "chi")
    index.adopt(index.room.finish())
    everybody_gets(index)


def test_a_key_stolen_below_the_threshold_changes_nothing(index: LiveIndex) -> None:
    """A16: two holders' keys cannot make a root; they are rotated out in a ceremony of the others and themselves."""
    room = index.room
    room.later(hours=1)
    room.begin(next_plan(index, threshold=2), index.metadata)
    build_payloads(room.stick, room.at("thief"))
    room.sign("ana", "ben")
    with pytest.raises(AssayError, match="not complete"):
        room.finish()


def test_an_online_key_cannot_hold_an_offline_role(index: LiveIndex) -> None:
    room = index.room
    room.begin(next_plan(index, enrol=("timestamp-2",), online=("timestamp-2", "snapshot-1", "bin-1")), index.metadata)
    ana = next(iter(room.home("ana").read().keys.values()))
    assert isinstance(ana.key, SSlibKey)
    room.enrol_key("timestamp-2", ana.uri, ana.key)
    with pytest.raises(CallerError, match="an offline and an online role"):
        room.build()


def test_the_index_never_opens_another_key_than_the_metadata_names(index: LiveIndex) -> None:
    index.keys.path(TIMESTAMP).write_bytes(index.keys.path(SNAPSHOT).read_bytes())
    with pytest.raises(KeyUnavailable, match="another key"):
        index.sign()


def test_a_new_identity_is_followed_by_nobody_until_told(index: LiveIndex) -> None:
    new = ("fay", "gus", "hal", "ida", "jon")
    plan = next_plan(
        index, holders=new, enrol=(*new, "timestamp-2", "snapshot-2", "bin-2"), replaces="three tokens were stolen"
    )
    plan.online = ("timestamp-2", "snapshot-2", "bin-2")
    room = index.room
    room.later(hours=1)
    room.begin(plan, index.metadata)
    room.enrol(*new)
    index.enrol_online(timestamp="timestamp-2", snapshot="snapshot-2", bin="bin-2")
    room.build()
    room.sign("fay", "gus", "hal")
    bundle = room.finish()

    told = bulletin_of(bundle, room.now)
    assert parse_bulletin(render_bulletin(told)) == told
    words = render_announcement(told)
    assert "three tokens were stolen" in words
    assert f"sha256:{bundle.root_sha256}" in words
    assert bundle.versions["root"] == 2

    served = index.served_under(bundle)
    path = next(reversed(index.uploads))
    assert {verdict(client, served, path) for client in index.clients.values()} == {"refused"}
    told_clients: list[AssayClient | StockClient] = [
        AssayClient(bundle.files["root"]),
        StockClient(bundle.files["root"], index.folder / "ng-replaced"),
    ]
    assert {verdict(client, served, path) for client in told_clients} == {index.uploads[path]}
    arguments = ["publish", "--stick", str(room.stick_path), "--data", str(index.folder)]
    assert isinstance(CliRunner().invoke(command, arguments, obj=room.at("index")).exception, CallerError)
    arguments += ["--bulletin", str(index.folder / "bulletin")]
    assert CliRunner().invoke(command, arguments, obj=room.at("index")).exit_code == 0
    assert parse_bulletin((index.folder / "bulletin.json").read_bytes()).new == bundle.root_sha256
    assert (index.data.inbox / "new-identity").read_text() == f"{bundle.root_sha256}\n"
