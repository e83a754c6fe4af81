"""Two rooms, two sticks: a copy is signed elsewhere and comes home with its part of the transcript."""

import hashlib
import shutil
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from assay.cli.ceremony import command
from assay.keys.ceremony.audit import audit
from assay.keys.ceremony.collecting import collect
from assay.keys.ceremony.report import render_text
from assay.keys.ceremony.steps import countersign, note
from assay.keys.ceremony.stick import Stick
from assay.model.errors import AlreadyExists, VerificationFailed
from keys.room import PlanText, Room, secret_of


@pytest.fixture
def rooms(tmp_path: Path) -> tuple[Room, Room]:
    """Two rooms with the same people's homes, each with a stick of its own, after the build."""
    here = Room(tmp_path / "here")
    here.begin(PlanText())
    here.enrol(*PlanText().enrol)
    here.build()
    there = Room(tmp_path / "there", now=here.now)
    shutil.copytree(here.folder, there.folder)
    return here, there


def test_signatures_of_both_rooms_come_together(rooms: tuple[Room, Room]) -> None:
    here, there = rooms
    here.sign("ana")
    there.later(hours=2)
    there.sign("ben", "chi")
    note(there.stick, there.at("ben"), "Ben", "the telephone was used for the words")
    here.later(hours=5)

    arguments = ["collect", "--stick", str(here.stick_path), str(there.stick_path)]
    said = CliRunner().invoke(command, arguments, obj=here.at("office"))
    assert said.output.startswith("3 steps of the copy")
    branch = collect(here.stick, there.stick, here.at("office"))

    assert [entry.step for entry in branch.entries] == ["sign", "sign", "note"]
    assert set(here.finish().files) == {"root", "targets", "bins"}
    countersign(here.stick, here.home("wim"), here.at("witness"), secret_of)
    found = audit(here.stick)
    assert found.complete
    assert "the telephone was used for the words" in render_text(found, here.now)


def test_collecting_twice_changes_nothing(rooms: tuple[Room, Room]) -> None:
    here, there = rooms
    there.sign("ben")
    collect(here.stick, there.stick, here.at("office"))
    before = dict(here.stick.files)
    collect(here.stick, there.stick, here.at("office"))
    assert dict(here.stick.files) == before


def test_the_stick_of_another_ceremony_is_refused(rooms: tuple[Room, Room], tmp_path: Path) -> None:
    here, _there = rooms
    other = Room(tmp_path / "other", now=here.now)
    other.begin(PlanText(purpose="another one"))
    other.enrol(*PlanText().enrol)
    other.build()
    with pytest.raises(VerificationFailed, match="not a copy"):
        collect(here.stick, other.stick, here.at("office"))


def test_two_contents_under_one_name_are_refused(rooms: tuple[Room, Room]) -> None:
    here, there = rooms
    here.sign("ana")
    there.sign("ana")
    name = next(name for name in there.stick.names("signatures/") if "root" in name)
    path = there.stick_path / "assay-ceremony" / name
    path.write_bytes(path.read_bytes() + b" ")
    manifest = there.stick_path / "assay-ceremony" / "manifest.json"
    document = orjson.loads(manifest.read_bytes())
    document["files"][name] = {
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    manifest.write_bytes(orjson.dumps(document))
    with pytest.raises(AlreadyExists, match="something else"):
        collect(here.stick, there.stick, here.at("office"))


def test_an_edited_line_of_the_other_room_is_found_too(rooms: tuple[Room, Room], tmp_path: Path) -> None:
    here, there = rooms
    there.sign("ben", "chi", "dov")
    folder = there.stick_path / "assay-ceremony"
    path = next(path for path in sorted((folder / "transcript").iterdir()) if "sign" in path.name)
    entry = orjson.loads(path.read_bytes())
    entry["body"]["machine"] = "another"
    data = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    path.write_bytes(data)
    with pytest.raises(VerificationFailed, match="changed after it was written"):
        collect(here.stick, Stick.open(there.stick_path), here.at("office"))
