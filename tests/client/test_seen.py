"""The record of who was seen first: changes, losses, less evidence; a book that somebody edited."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.client.seen import Seen, SeenBook, Watcher, alarms, merge, release_line, rewritten, with_facts
from assay.client.store import MetadataStore
from assay.model.errors import CallerError, RefusedByPolicy
from assay.model.names import parse_project_name
from assay.model.rings import Ring
from assay.policy.model import Facts

DEMO = parse_project_name("demo")
DORA, EVE = "A" * 40, "E" * 40
START = datetime(2026, 1, 1, tzinfo=UTC)


def facts(version: str, key: str | None, *, days: int = 0, claimed: bool = False) -> Facts:
    rings = frozenset({Ring.SIGNED, Ring.CLAIMED} if claimed else {Ring.SIGNED})
    uploaded = START + timedelta(days=days)
    return Facts(DEMO, "https://a.example/", START, version, f"demo-{version}.tar.gz", uploaded, rings, key)


SIGNED = with_facts(Seen(), facts("1.0", DORA))


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (facts("1.1", DORA, days=9), None),
        (facts("1.1", EVE, days=9), "publisher-changed"),
        (facts("0.9", EVE, days=-9), "publisher-changed"),
        (facts("1.1", None, days=9), "evidence-downgrade"),
        (facts("1.1", None, days=9, claimed=True), "evidence-downgrade"),
        (facts("2.0", None, days=9), "publisher-lost"),
        (facts("0.9", None, days=-9), None),
        (facts("2.0", None, days=9, claimed=True), None),
    ],
)
def test_what_goes_on_and_what_is_an_alarm(found: Facts, rule: str | None) -> None:
    assert [each.rule for each in alarms(SIGNED, found)] == ([rule] if rule else [])


def test_files_that_never_said_who_made_them_are_no_alarm() -> None:
    assert with_facts(Seen(), facts("1.0", None)) == Seen()
    assert alarms(Seen(), facts("1.1", EVE)) == []


@pytest.mark.parametrize(
    ("version", "line"), [("1.2.3", "1"), ("0.4.1", "0.4"), ("2!1.0", "2!1"), ("2026.1", "2026"), ("1.0rc1", "1")]
)
def test_release_lines(version: str, line: str) -> None:
    assert release_line(version) == line


def test_a_book_is_read_as_it_was_written_and_two_commands_add_up(tmp_path: Path) -> None:
    book, again = SeenBook(tmp_path / "seen.json", tmp_path), SeenBook(tmp_path / "seen.json", tmp_path)
    other = parse_project_name("other")
    book.add({DEMO: SIGNED})
    again.add({other: Seen(certificates=frozenset({EVE}))})
    again.add({DEMO: with_facts(Seen(), facts("2.0", EVE))})
    found = book.read()
    assert found[DEMO].certificates == {DORA, EVE}
    assert set(found[DEMO].lines) == {"1", "2"}
    assert other in found
    assert len((tmp_path / "seen.json").read_text().splitlines()) == 4
    assert book.forget(DEMO)
    assert DEMO not in book.read()
    assert not book.forget(DEMO)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"assay-seen": 2, "projects": {}}', '{"assay-seen": 1, "projects": {"x": {"trust": 1}}}']
)
def test_a_book_that_cannot_be_read_stops_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / "seen.json").write_text(text)
    with pytest.raises(CallerError) as refused:
        SeenBook(tmp_path / "seen.json", tmp_path).read()
    assert refused.value.rule == "seen-record"


def test_a_book_replaced_by_a_link_that_leads_nowhere_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "seen.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CallerError, match="cannot be read"):
        SeenBook(tmp_path / "seen.json", tmp_path).read()


def test_a_pull_request_that_edits_the_teams_book_does_not_edit_mine(tmp_path: Path) -> None:
    mine, teams = SeenBook(tmp_path / "mine.json", tmp_path), SeenBook(tmp_path / "teams.json", tmp_path)
    mine.add({DEMO: SIGNED})
    teams.add({DEMO: SIGNED})
    before = teams.read()
    for edited in ({}, {DEMO: Seen(certificates=frozenset({EVE}), lines=SIGNED.lines)}):
        teams.write(edited)
        told: list[str] = []
        watcher = Watcher.of([mine, teams], refuse=True, notice=told.append)
        if not edited:
            with pytest.raises(RefusedByPolicy) as refused:
                watcher(facts("1.1", EVE), None)
            assert refused.value.rule == "publisher-changed"
        assert rewritten(before, teams.read())
    assert not rewritten(before, before)


def test_an_edit_that_adds_somebody_is_named_in_review_only() -> None:
    both = merge(SIGNED, with_facts(Seen(), facts("1.0", EVE)))
    assert rewritten({DEMO: SIGNED}, {DEMO: both}) == ("somebody else may make demo, too",)
    later = with_facts(SIGNED, facts("2.0", DORA))
    assert rewritten({DEMO: SIGNED}, {DEMO: later, parse_project_name("new"): SIGNED}) == ()


def test_where_policy_only_warns_an_alarm_is_told_and_recorded(tmp_path: Path) -> None:
    told: list[str] = []
    book = SeenBook(tmp_path / "mine.json", tmp_path)
    book.add({DEMO: SIGNED})
    watcher = Watcher.of([book], refuse=False, notice=told.append)
    watcher(facts("1.1", EVE, days=3), None)
    assert "publisher-changed" in told[0]
    book.add(watcher.new)
    assert set(json.loads(book.path.read_text())["projects"]["demo"]["certificates"]) == {DORA, EVE}


def test_what_another_command_notes_meanwhile_outlives_forgetting(tmp_path: Path) -> None:
    book, other = SeenBook(tmp_path / "seen.json", tmp_path / "locks"), parse_project_name("other")
    book.add({DEMO: SIGNED})
    with MetadataStore(tmp_path / "locks").locked():
        forgetting = threading.Thread(target=book.forget, args=(DEMO,))
        forgetting.start()
        forgetting.join(0.3)
        book.write({DEMO: SIGNED, other: SIGNED})
    forgetting.join()
    assert set(book.read()) == {other}
