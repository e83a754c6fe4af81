"""The rehearsal holds together; and an auditor finds every edited line of a transcript."""

import hashlib
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from assay.keys.ceremony.audit import audit
from assay.keys.ceremony.plan import parse_plan
from assay.keys.ceremony.rehearsal import rehearse
from assay.keys.ceremony.report import render_html, render_text
from assay.keys.ceremony.steps import countersign, note
from assay.keys.ceremony.stick import Stick
from assay.keys.ceremony.words import fingerprint_words
from assay.model.errors import VerificationFailed
from keys.room import PlanText, Room, secret_of


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """A ceremony that was held, with a note, countersigned by its observer."""
    room = Room(tmp_path_factory.mktemp("room"))
    room.begin(PlanText())
    room.enrol(*PlanText().enrol)
    room.build()
    room.sign("ana", "ben")
    note(room.stick, room.at("witness"), "Wim", "Chi was late: <her train> stood still")
    room.later(days=2)
    room.sign("chi")
    room.finish()
    countersign(room.stick, room.home("wim"), room.at("witness"), secret_of)
    return room


def test_a_ceremony_that_was_held_is_complete(held: Room) -> None:
    found = audit(held.stick)
    assert found.complete
    assert found.sealed_up_to["wim"] == len(found.entries)
    assert found.sealed_up_to["chi"] == max(entry.number for entry in found.entries if entry.step == "sign")


def test_the_report_tells_the_words_the_exceptions_and_who_was_there(held: Room) -> None:
    found = audit(held.stick)
    text, html = render_text(found, held.now), render_html(found, held.now)
    for word in fingerprint_words(found.case.fingerprint):
        assert word in text
        assert word in html
    assert "EXCEPTION: Chi was late: <her train> stood still" in text
    assert "&lt;her train&gt;" in html
    assert "<her train>" not in html
    assert "Ana Lima (ana)" in text
    assert "root: complete: 3 of the 3 needed; signed by ana, ben, chi" in text
    assert "http" not in html


def copy_of(held: Room, folder: Path) -> Path:
    shutil.copytree(held.stick_path, folder / "stick")
    return folder / "stick"


def redo_hashes(stick: Path) -> None:
    """What an attacker does after an edit: the chain and the manifest, made anew."""
    folder = stick / "assay-ceremony"
    previous = None
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    for path in sorted((folder / "transcript").iterdir()):
        entry = orjson.loads(path.read_bytes())
        entry["body"]["previous"] = previous
        data = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
        path.write_bytes(data)
        previous = hashlib.sha256(data).hexdigest()
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))


def edit(stick: Path, step: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = next(path for path in sorted((stick / "assay-ceremony" / "transcript").iterdir()) if step in path.name)
    entry = orjson.loads(path.read_bytes())
    change(entry["body"])
    path.write_bytes(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))


EDITS: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = [
    ("the exception of a note", "note", lambda body: body.update(exceptions=[])),
    ("a signer's machine", "sign", lambda body: body.update(machine="another-laptop")),
    ("the day of a signature", "sign", lambda body: body.update(time="2026-11-24T10:00:00Z")),
    ("the operator of the build", "build", lambda body: body.update(operator="nobody")),
    ("where a key is kept", "enroll", lambda body: body["facts"].update(kind="token")),
    ("what was merged", "merge", lambda body: body["outputs"].popitem()),
    ("the purpose", "plan", lambda body: body["facts"].update(purpose="nothing much")),
]


@pytest.mark.parametrize(("line", "step", "change"), EDITS, ids=[one[0] for one in EDITS])
def test_every_edited_line_is_found_even_when_all_hashes_are_redone(
    held: Room, tmp_path: Path, line: str, step: str, change: Callable[[dict[str, Any]], object]
) -> None:
    stick = copy_of(held, tmp_path)
    edit(stick, step, change)
    with pytest.raises(VerificationFailed, match="changed after it was written"):
        audit(Stick.open(stick))
    redo_hashes(stick)
    with pytest.raises(VerificationFailed) as caught:
        audit(Stick.open(stick))
    assert caught.value.rule in {"transcript-seal", "transcript-untrue", "transcript-unaccounted"}, line


def test_a_removed_entry_is_found(held: Room, tmp_path: Path) -> None:
    stick = copy_of(held, tmp_path)
    folder = stick / "assay-ceremony"
    removed = next(path for path in (folder / "transcript").iterdir() if "note" in path.name)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    del manifest["files"][f"transcript/{removed.name}"]
    removed.unlink()
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(VerificationFailed, match="chain is broken"):
        audit(Stick.open(stick))


def test_what_happens_after_the_countersignature_is_an_open_point(held: Room, tmp_path: Path) -> None:
    stick = copy_of(held, tmp_path)
    note(Stick.open(stick), held.at("office"), "Wim", "the stick went into the safe")
    found = audit(Stick.open(stick))
    assert not found.complete
    assert any("wim has not countersigned" in point for point in found.open_points)


def test_an_unfinished_ceremony_says_who_is_missing(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.begin(PlanText())
    room.enrol(*PlanText().enrol)
    room.build()
    room.sign("ana")
    points = audit(room.stick).open_points
    assert any("ben, chi, dov, eli have not" in point for point in points)


def test_a_rehearsal_is_a_whole_ceremony_on_one_machine(tmp_path: Path) -> None:
    told: list[str] = []
    room = Room(tmp_path)
    found = rehearse(parse_plan(PlanText().render()), tmp_path / "practice", room.at("office"), told.append)
    assert found.complete
    assert found.case.plan.rehearsal
    assert (tmp_path / "practice" / "data" / "published" / "tuf" / "1.root.json").exists()
    assert sum(line.startswith("show, sign") for line in told) == 3
    assert found.case.plan.closes - found.case.plan.opens > timedelta(days=1)
