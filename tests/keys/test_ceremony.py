"""A ceremony as people hold it, in any order and on several days; and what is refused in it, with the reason."""

from pathlib import Path

import pytest
from securesystemslib.signer import SSlibKey

from assay.keys.ceremony.assembling import VerifiedBundle, merge, progress
from assay.keys.ceremony.transcript import read_transcript
from assay.keys.files import Scheme
from assay.model.errors import NotFound
from assay.trust.verify import TrustedMetadata
from keys.room import LOG_KEY, ONLINE, ROOM, START, PlanText, Room, start_of


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_three_of_five_sign_on_two_days_in_any_order(room: Room) -> None:
    room.begin(PlanText())
    room.enrol("wim", "eli", *ONLINE, LOG_KEY, "chi")
    room.later(days=1)
    room.enrol("ana", "dov", "ben")
    room.build()
    room.sign("dov")
    assert [one.complete for one in merge(room.stick, room.at("office"))] == [False, False, False]
    room.later(days=3)
    room.sign("ana", "eli")

    bundle = room.finish()

    assert set(bundle.files) == {"root", "targets", "bins"}
    assert TrustedMetadata(bundle.files["root"], now=room.now).root.version == 1
    done = progress(room.stick, room.build())
    assert done[0].have == ("ana", "dov", "eli")
    assert done[0].lack == ("ben", "chi")


def test_two_of_five_are_not_enough_and_the_missing_are_named(room: Room) -> None:
    room.begin(PlanText())
    room.enrol(*PlanText().enrol)
    room.build()
    room.sign("ana", "ben")
    with pytest.raises(NotFound, match="chi, dov, eli"):
        room.finish()


def test_classical_and_ml_dsa_holders_share_a_threshold(room: Room) -> None:
    room.schemes = {"ana": Scheme.ML_DSA_65, "ben": Scheme.P256, "chi": Scheme.P384, "dov": Scheme.ML_DSA_87}
    bundle = room.hold(PlanText(), ("ana", "ben", "dov"))
    assert TrustedMetadata(bundle.files["root"], now=room.now).root.version == 1


def test_one_holder_is_replaced_by_the_old_and_the_new_threshold(room: Room, tmp_path: Path) -> None:
    first = room.hold(PlanText(), ("ana", "ben", "chi"))
    published = publish(first, tmp_path / "published")
    plan = PlanText(
        holders=("ana", "ben", "chi", "dov", "fay"),
        enrol=("fay",),
        observers=(),
        log=None,
        starts_from=start_of(first),
        opens=START,
    )
    second = room.hold(plan, ("fay", "ana", "ben", "chi"), published)

    trusted = TrustedMetadata(first.files["root"], now=room.now)
    trusted.update_root(second.files["root"])
    assert trusted.root.version == 2
    assert second.versions == {"root": 2, "targets": 2, "bins": 2}
    assert set(ROOM) - {"eli"} < set(plan.holders)


def test_a_spare_holder_is_known_and_holds_nothing_until_a_plan_says_so(room: Room, tmp_path: Path) -> None:
    plan = PlanText(enrol=(*PlanText().enrol, "fay"), tables='[spares.fay]\nname = "Fay Nakamura"')
    first = room.hold(plan, ("ana", "ben", "chi"))
    assert b"fay" not in first.files["root"]
    spare = next(iter(room.home("fay").read().keys.values()))
    assert any(entry.facts.get("key") == spare.key.keyid for entry in read_transcript(room.stick))

    published = publish(first, tmp_path / "published")
    promoted = PlanText(
        holders=("ana", "ben", "chi", "dov", "fay"),
        enrol=("fay",),
        observers=(),
        log=None,
        starts_from=start_of(first),
    )
    room.begin(promoted, published)
    assert isinstance(spare.key, SSlibKey)
    room.enrol_key("fay", spare.uri, spare.key)
    room.build()
    room.sign("fay", "ana", "ben", "chi")
    assert spare.key.keyid.encode() in room.finish().files["root"]


def publish(bundle: VerifiedBundle, folder: Path) -> Path:
    folder.mkdir()
    for role, data in bundle.files.items():
        (folder / f"{bundle.versions[role]}.{role}.json").write_bytes(data)
    return folder
