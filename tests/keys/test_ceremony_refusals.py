"""What an attacker, a mistake or a broken machine does to a ceremony, and that each is refused with its reason."""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from assay.keys.ceremony.current import find_current
from assay.keys.ceremony.home import Home
from assay.keys.ceremony.publishing import publish_offline, refuse_data_folder
from assay.keys.ceremony.signing import show, sign
from assay.keys.ceremony.steps import NewKey, begin, enrol, note
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.surroundings import Surroundings, interfaces_up, require_no_network
from assay.keys.ceremony.words import fingerprint_words
from assay.keys.custody import key_file_uri
from assay.keys.files import Scheme, create_key_file
from assay.model.errors import (
    AlreadyExists,
    AssayError,
    CallerError,
    KeyUnavailable,
    NotFound,
    NotFresh,
    OperatorError,
    VerificationFailed,
)
from keys.room import START, PlanText, Room, secret, secret_of, start_of


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """A ceremony that is built; nobody has signed."""
    room = Room(tmp_path)
    room.begin(PlanText())
    room.enrol(*PlanText().enrol)
    room.build()
    return room


def attempt(room: Room, name: str = "ana", words: str | None = None, **surroundings: object) -> AssayError:
    """What ``name`` reads when signing fails; the stick has no signature afterwards."""
    typed = room.words() if words is None else words
    with pytest.raises(AssayError) as caught:
        sign(room.stick, room.home(name), room.at(name, **surroundings), secret_of, lambda: typed)
    assert not list((room.stick_path / "assay-ceremony" / "signatures").rglob("*.json"))
    return caught.value


def see(room: Room, name: str = "ana") -> None:
    show(room.stick, room.home(name), room.at(name))


def tamper(room: Room, name: str, change: Callable[[bytes], bytes], *, cover: bool) -> None:
    """Change a file of the stick; ``cover``: as an attacker who writes the manifest anew."""
    path = room.stick_path / "assay-ceremony" / name
    data = change(path.read_bytes())
    path.write_bytes(data)
    if cover:
        manifest = room.stick_path / "assay-ceremony" / "manifest.json"
        document = orjson.loads(manifest.read_bytes())
        document["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        manifest.write_bytes(orjson.dumps(document))


def longer(data: bytes) -> bytes:
    """A payload whose expiry is ten years later."""
    return re.sub(rb'"expires":"20(\d\d)', lambda match: b'"expires":"20%02d' % (int(match[1]) + 10), data)


# --- the stick -------------------------------------------------------------------------------------------------


def test_a_tampered_stick_is_refused(room: Room) -> None:
    see(room)
    tamper(room, "payloads/root.canonical", longer, cover=False)
    with pytest.raises(VerificationFailed, match="changed after it was written") as caught:
        sign(room.stick, room.home("ana"), room.at("ana"), secret_of, lambda: "any words")
    assert caught.value.rule == "stick-tampered"


def test_a_payload_swapped_with_its_manifest_is_refused(room: Room) -> None:
    see(room)
    words = room.words()
    tamper(room, "payloads/root.canonical", longer, cover=True)
    error = attempt(room, words=words)
    assert error.rule == "payload-swapped"


def test_a_plan_and_payload_swapped_together_between_show_and_sign_are_refused(room: Room, tmp_path: Path) -> None:
    """The attacker holds a whole ceremony of their own, consistent in itself, on the same stick."""
    see(room)
    words = room.words()
    other = Room(tmp_path / "attacker", now=room.now)
    other.begin(PlanText(purpose="the very first root"))
    other.enrol(*PlanText().enrol)
    other.build()
    (room.stick_path / "assay-ceremony").rename(room.stick_path / "away")
    (other.stick_path / "assay-ceremony").rename(room.stick_path / "assay-ceremony")
    assert attempt(room, words=words).rule == "not-found"  # never shown here
    see(room)
    with pytest.raises(VerificationFailed) as caught:
        sign(room.stick, room.home("ana"), room.at("ana"), secret_of, lambda: words)
    assert caught.value.rule == "foreign-key", "the attacker enrolled in her name; else the words would differ"


def test_the_words_of_another_fingerprint_are_refused(room: Room) -> None:
    see(room)
    other = " ".join(fingerprint_words("00" * 32))  # type: ignore[arg-type]
    error = attempt(room, words=other)
    assert error.rule == "fingerprint-mismatch"
    assert "words differ" in str(error)


def test_a_slip_while_typing_is_told_apart_from_an_attack(room: Room) -> None:
    see(room)
    assert attempt(room, words="acorn acorn").rule == "fingerprint-words"
    assert isinstance(attempt(room, words="xyzzy " * 20), CallerError)


def test_four_letters_of_each_word_are_enough(room: Room) -> None:
    see(room)
    short = " ".join(word[:4].upper() for word in room.words().split())
    assert sign(room.stick, room.home("ana"), room.at("ana"), secret_of, lambda: f"1 {short}")


def test_nothing_is_signed_that_was_not_shown_on_this_machine(room: Room) -> None:
    assert isinstance(attempt(room), NotFound)


def test_what_else_lies_on_the_stick_is_ignored(room: Room) -> None:
    see(room)
    folder = room.stick_path / "assay-ceremony"
    (room.stick_path / "autorun.inf").write_text("x")
    (folder / "enrolments" / "mallory.json").write_text("{}")
    (folder / "transcript" / "0001-evil.json").write_text("{}")
    (folder / "signatures" / "root").mkdir(parents=True)
    (folder / "signatures" / "root" / "nonsense.txt").write_text("x")
    (folder / "holidays.jpg").symlink_to("/etc/passwd")
    assert sign(room.stick, room.home("ana"), room.at("ana"), secret_of, room.words)


def test_a_link_in_the_place_of_a_file_is_not_followed(room: Room) -> None:
    plan = room.stick_path / "assay-ceremony" / "plan.toml"
    copy = room.stick_path / "copy.toml"
    plan.rename(copy)
    plan.symlink_to(copy)
    with pytest.raises(VerificationFailed, match="cannot be read"):
        see(room)


def test_a_second_ceremony_does_not_begin_on_a_stick_that_has_one(room: Room) -> None:
    with pytest.raises(AlreadyExists):
        Stick.create(room.stick_path)


# --- the machine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [timedelta(days=-365), timedelta(days=365), timedelta(hours=-2)])
def test_a_clock_that_is_off_is_refused(room: Room, off: timedelta) -> None:
    see(room)
    error = attempt(room, now=room.now + off)
    assert isinstance(error, NotFresh)
    assert "clock" in error.what
    assert f"{room.now + off:%Y-%m-%d %H:%M}" in str(error)


def test_a_clock_behind_the_transcript_is_refused(room: Room) -> None:
    see(room)
    room.later(days=2)
    note(room.stick, room.at("witness"), "Wim", "the lights went out for a minute")
    room.later(days=-2)
    assert attempt(room).rule == "ceremony-clock"


def test_a_machine_with_a_network_is_refused_unless_a_reason_is_noted(room: Room) -> None:
    see(room)
    error = attempt(room, networks=("wlan0",))
    assert error.rule == "ceremony-network"
    assert "wlan0" in str(error)
    at = room.at("ana", networks=("wlan0",))
    sign(room.stick, room.home("ana"), at, secret_of, room.words, network_reason="the key is in a KMS")
    last = room.stick.read(room.stick.names("transcript/")[-1])
    assert b"signed on a machine with a network: the key is in a KMS" in last


def test_an_offline_key_is_not_kept_in_an_index_data_folder(tmp_path: Path) -> None:
    (tmp_path / "data" / "published" / "tuf").mkdir(parents=True)
    with pytest.raises(KeyUnavailable, match="data folder of an index"):
        refuse_data_folder(tmp_path / "data" / "keys" / "mine.pem")
    refuse_data_folder(tmp_path / "home" / "mine.pem")


# --- the people ------------------------------------------------------------------------------------------------


def test_an_old_plan_replayed_is_refused_by_the_current_metadata_and_by_the_holders(room: Room, tmp_path: Path) -> None:
    room.sign("ana", "ben", "chi")
    first = room.finish()
    data = tmp_path / "data"
    publish_offline(first, data)
    second_plan = PlanText(
        enrol=(),
        observers=(),
        log=None,
        starts_from=start_of(first),
        purpose="a longer life",
        opens=START + timedelta(days=30),
    )
    room.now = second_plan.opens + timedelta(hours=1)
    second = room.hold(second_plan, ("ana", "ben", "chi"), data / "published" / "tuf")
    for role, version in second.versions.items():
        (data / "published" / "tuf" / f"{version}.{role}.json").write_bytes(second.files[role])

    replayed = Room(tmp_path / "again", now=room.now)
    replayed.stick_path.mkdir(parents=True)
    found, stick = find_current(data / "published" / "tuf"), Stick.create(replayed.stick_path)
    with pytest.raises(VerificationFailed) as caught:
        begin(stick, second_plan.render(), found, replayed.at("office"))
    assert caught.value.rule == "plan-start"
    assert "old plan" in caught.value.what

    third_plan = PlanText(enrol=(), observers=(), log=None, starts_from=start_of(first), purpose="x", opens=room.now)
    room.begin(third_plan, _only_first(data, first.files))
    room.build()
    see(room)
    assert attempt(room).rule == "plan-replayed"


def _only_first(data: Path, files: object) -> Path:
    folder = data.parent / "old-mirror"
    folder.mkdir()
    assert isinstance(files, dict)
    for role, content in files.items():
        (folder / f"1.{role}.json").write_bytes(content)
    return folder


def test_a_ceremony_that_was_broken_off_is_superseded_only_by_a_plan_that_says_so(room: Room) -> None:
    room.sign("ana")
    broken_off = room.build().plan.sha256
    plan = PlanText(purpose="the first root, second try", enrol=PlanText().enrol)
    room.begin(plan)
    room.enrol(*plan.enrol)
    room.build()
    see(room)
    assert attempt(room).rule == "plan-replayed"
    plan.extra = f'supersedes = ["{broken_off}"]'
    room.hold(plan, ("ana", "ben", "chi"))


def test_an_enrolment_under_somebody_elses_name_is_found_by_its_owner(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.begin(PlanText())
    room.enrol(*(name for name in PlanText().enrol if name != "ben"))
    mallory = tmp_path / "mallory.pem"
    key = create_key_file(mallory, Scheme.ED25519, None)
    enrol(
        room.stick,
        Home(tmp_path / "mallory"),
        "ben",
        NewKey(key_file_uri(mallory, encrypted=False), key, {}),
        room.at("ben"),
        secret,
    )
    with pytest.raises(AlreadyExists, match="another key"):
        room.enrol("ben")


def test_an_enrolment_of_another_ceremony_cannot_be_replayed(room: Room, tmp_path: Path) -> None:
    stolen = room.stick.read("enrolments/ana.json")
    other = Room(tmp_path / "other", now=room.now)
    other.begin(PlanText(purpose="another one"))
    other.enrol(*(name for name in PlanText().enrol if name != "ana"))
    other.stick.write({"enrolments/ana.json": stolen})
    with pytest.raises(VerificationFailed, match="another plan or name"):
        other.build()


def test_an_enrolment_without_the_private_key_is_refused(room: Room) -> None:
    def claim(data: bytes) -> bytes:
        document = orjson.loads(data)
        mine = orjson.loads(room.stick.read("enrolments/ben.json"))
        document["statement"] |= {"key": mine["statement"]["key"], "keyid": mine["statement"]["keyid"]}
        document["statement"]["key"]["x-assay-holder"] = "ana"
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    tamper(room, "enrolments/ana.json", claim, cover=True)
    with pytest.raises(VerificationFailed, match="does not have this key"):
        see(room)


def test_a_key_that_the_plan_does_not_pin_is_refused(tmp_path: Path) -> None:
    room = Room(tmp_path)
    text = PlanText().render().replace(b'name = "Ana Lima"', b'name = "Ana Lima"\nkey = "%s"' % (b"0" * 64))
    room.stick_path.mkdir()
    begin(Stick.create(room.stick_path), text, {}, room.at("office"))
    with pytest.raises(VerificationFailed, match="not the key that the plan names"):
        room.enrol("ana")


def test_somebody_without_a_part_cannot_sign(room: Room) -> None:
    show(room.stick, room.home("visitor"), room.at("visitor"))
    with pytest.raises(KeyUnavailable, match="none of this home's keys"):
        sign(room.stick, room.home("visitor"), room.at("visitor"), secret_of, room.words)


def test_a_signature_for_other_bytes_does_not_count(room: Room) -> None:
    room.sign("ana", "ben", "chi")
    name = next(one for one in room.stick.names("signatures/root/"))
    tamper(room, name, lambda data: data.replace(b'"sig":"', b'"sig":"00'), cover=True)
    with pytest.raises(VerificationFailed, match="does not count"):
        room.finish()


# --- rehearsals ------------------------------------------------------------------------------------------------


def test_production_refuses_what_a_rehearsal_made(tmp_path: Path) -> None:
    room = Room(tmp_path)
    bundle = room.hold(PlanText(rehearsal=True), ("ana", "ben", "chi"))
    with pytest.raises(VerificationFailed, match="rehearsal"):
        publish_offline(bundle, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    practice = tmp_path / "practice"
    practice.mkdir()
    (practice / "REHEARSAL").touch()
    assert publish_offline(bundle, practice).files


def test_a_rehearsal_key_does_not_enter_a_production_plan(tmp_path: Path) -> None:
    practice = Room(tmp_path / "practice")
    practice.begin(PlanText(rehearsal=True))
    practice.enrol("ana")
    room = Room(tmp_path / "real")
    room.begin(PlanText())
    room.stick.write({"enrolments/ana.json": practice.stick.read("enrolments/ana.json")})
    room.enrol(*(name for name in PlanText().enrol if name != "ana"))
    with pytest.raises(VerificationFailed):
        room.build()


# --- the index -------------------------------------------------------------------------------------------------


def test_an_index_that_still_has_offline_keys_gets_no_ceremony(room: Room, tmp_path: Path) -> None:
    room.sign("ana", "ben", "chi")
    create_key_file(tmp_path / "data" / "keys" / "offline" / "root.pem", Scheme.ED25519, None)
    with pytest.raises(KeyUnavailable, match="offline role lies on the index"):
        publish_offline(room.finish(), tmp_path / "data")


def test_publishing_twice_changes_nothing_and_another_ceremony_is_refused(room: Room, tmp_path: Path) -> None:
    room.sign("ana", "ben", "chi")
    bundle = room.finish()
    first = publish_offline(bundle, tmp_path / "data")
    assert publish_offline(bundle, tmp_path / "data") == first
    other = Room(tmp_path / "other").hold(PlanText(), ("ana", "ben", "chi"))
    with pytest.raises(VerificationFailed, match="does not start from"):
        publish_offline(other, tmp_path / "data")


def test_what_was_published_since_the_ceremony_began_is_not_undone(room: Room, tmp_path: Path) -> None:
    """A takedown, say: it made targets version 2 while the holders were travelling with theirs."""
    room.sign("ana", "ben", "chi")
    first, data = room.finish(), tmp_path / "data"
    publish_offline(first, data)
    metadata = data / "published" / "tuf"
    plan = PlanText(enrol=(), observers=(), log=None, starts_from=start_of(first), purpose="renewal")
    second = Room(room.folder, now=room.now).hold(plan, ("ana", "ben", "chi"), metadata)
    (metadata / "2.targets.json").write_bytes(b"a takedown")
    with pytest.raises(VerificationFailed, match="somebody else since the ceremony began"):
        publish_offline(second, data)
    assert not (data / "inbox").exists()


def test_a_clean_machine_reads_its_networks(tmp_path: Path) -> None:
    for name, flags, kind in (("lo", "0x9", "772"), ("eth0", "0x1003", "1"), ("wlan0", "0x1002", "1")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "flags").write_text(f"{flags}\n")
        (folder / "type").write_text(f"{kind}\n")
    (tmp_path / "bonding_masters").write_text("\n")
    assert interfaces_up(tmp_path) == ("eth0",)
    assert interfaces_up(tmp_path / "absent") == ("unknown",)
    with pytest.raises(OperatorError):
        require_no_network(Surroundings(START, "a", "b", ("unknown",)))
