"""The plan file: what is understood, what is refused and where; drafts that parse; the words; the reminders."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.keys.ceremony.drafting import draft_first, render_draft
from assay.keys.ceremony.plan import parse_plan
from assay.keys.ceremony.words import PREFIX_CHARS, WORDS, fingerprint_words, render_words, require_typed_words
from assay.keys.expiry import reminders, render_calendar
from assay.model.digests import Sha256
from assay.model.errors import AssayError, CallerError, VerificationFailed
from keys.room import PlanText

PLAN = PlanText().render()


def test_a_plan_says_who_holds_what() -> None:
    plan = parse_plan(PLAN)
    assert plan.roles["root"].threshold == 3
    assert plan.roles_of("ana") == ("root", "targets", "bins")
    assert plan.named("observer") == ("wim",)
    assert plan.next_root_version == 1
    assert plan.opens.tzinfo is UTC


@pytest.mark.parametrize(
    ("old", "new", "subject"),
    [
        (b"threshold = 3", b"threshold = 6", "roles.root.threshold"),
        (b"threshold = 3", b"threshold = 0", "roles.root.threshold"),
        (b"threshold = 3", b"threshold = true", "roles.root.threshold"),
        (b"threshold = 3", b"treshold = 3", "roles.root.threshold"),
        (b"rehearsal = false", b"rehearsal = false\ncolour = 1", "colour"),
        (b'name = "Ana Lima"', b'name = "Ana Lima"\npin = "1234"', "holders.ana.pin"),
        (b'name = "Ana Lima"', b'name = "Ana\\nLima"', "holders.ana.name"),
        (b"[holders.ana]", b"[holders.Ana]", "holders.Ana"),
        (b"[observers.wim]", b"[observers.ana]", "observers.ana"),
        (b'holders = ["timestamp-1"]', b'holders = ["ana"]', "roles.timestamp.holders"),
        (b'holders = ["timestamp-1"]', b'holders = ["snapshot-1"]', "roles.timestamp.holders"),
        (b'sign = ["root"', b'sign = ["snapshot"', "sign"),
        (b'"ben", "chi"', b'"ben", "ben"', "enrol"),
        (b'enrol = ["ana", ', b"enrol = [", "enrol"),
        (b"opens = 2026-11-23T09:00:00Z", b"opens = 2026-11-23T09:00:00", "window.opens"),
        (b"opens = 2026-11-23T09:00:00Z", b"opens = 2027-11-23T09:00:00Z", "window.closes"),
        (b"expires = 2027-11-23", b"expires = 2026-11-24", "roles.root.expires"),
        (b"bin_bits = 3", b"bin_bits = 99", "bin_bits"),
        (b"assay-ceremony-plan/1", b"assay-ceremony-plan/2", "format"),
        (b"[window]", b"[[window]]", "window"),
        (b"[window]", b"[starts_from]\nroot_version = 1\nroot_sha256 = 'x'\n[window]", "starts_from.root_sha256"),
    ],
)
def test_what_is_wrong_is_named(old: bytes, new: bytes, subject: str) -> None:
    assert old in PLAN
    with pytest.raises(CallerError) as caught:
        parse_plan(PLAN.replace(old, new))
    assert caught.value.subject == subject


@pytest.mark.parametrize("data", [b"", b"\xff", b"= 1", b"x" * 200_000])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(CallerError):
        parse_plan(data)


@given(st.integers(0, len(PLAN) - 1), st.binary(min_size=1, max_size=3))
def test_a_mangled_plan_parses_or_is_refused_with_a_reason(at: int, junk: bytes) -> None:
    try:
        parse_plan(PLAN[:at] + junk + PLAN[at + len(junk) :])
    except AssayError as error:
        assert error.rule == "plan"  # noqa: PT017  (both outcomes are right)


def test_a_draft_parses_and_says_what_was_asked() -> None:
    draft = draft_first("index.example", ("ana", "ben", "chi"), 2, ("wim",), bin_bits=8, rehearsal=True)
    plan = parse_plan(render_draft(draft, datetime(2026, 11, 23, tzinfo=UTC)).encode())
    assert plan.rehearsal
    assert plan.roles["bins"].holders == ("ana", "ben", "chi")
    assert plan.closes - plan.opens == timedelta(days=14)


# --- words -----------------------------------------------------------------------------------------------------

digests = st.binary(min_size=32, max_size=32).map(lambda data: Sha256(data.hex()))


def test_four_letters_tell_the_words_apart_and_no_slip_makes_another() -> None:
    assert len(set(WORDS)) == 256
    assert len({word[:PREFIX_CHARS] for word in WORDS}) == 256
    for word in WORDS:
        slips = {
            word[:at] + other + word[at + 1 :] for at in range(len(word)) for other in "abcdefghijklmnopqrstuvwxyz"
        }
        slips |= {word[:at] + word[at + 1 :] for at in range(len(word))}
        assert slips & set(WORDS) <= {word}


@given(digests)
def test_the_words_of_a_fingerprint_are_accepted_however_they_are_typed(digest: Sha256) -> None:
    words = fingerprint_words(digest)
    require_typed_words(" ".join(words), digest)
    require_typed_words(render_words(words).upper(), digest)
    require_typed_words(", ".join(word[:PREFIX_CHARS] for word in words), digest)


@given(digests, digests)
def test_other_words_are_refused(digest: Sha256, other: Sha256) -> None:
    if digest[:40] == other[:40]:
        return
    with pytest.raises(VerificationFailed):
        require_typed_words(" ".join(fingerprint_words(other)), digest)


# --- reminders -------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
LIVES = {"root": timedelta(days=365), "targets": timedelta(days=90)}


@pytest.mark.parametrize(
    ("role", "days", "step"),
    [
        ("root", 91, None),
        ("root", 90, 90),
        ("root", 29, 30),
        ("root", 6, 7),
        ("root", -1, 7),
        ("targets", 60, None),
        ("targets", 30, 30),
    ],
)
def test_reminders_come_at_their_days(role: str, days: int, step: int | None) -> None:
    due = reminders({role: NOW + timedelta(days=days)}, LIVES, NOW)
    assert [one.step for one in due] == ([] if step is None else [step])


def test_an_ended_signature_is_said_to_have_ended() -> None:
    (one,) = reminders({"root": NOW - timedelta(days=2)}, LIVES, NOW)
    assert one.urgent
    assert str(one).startswith("the root signature ended on 2026-11-21")


def test_the_calendar_has_an_alarm_for_each_step_in_short_lines() -> None:
    name = "packages, of a company with a very long name; and a comma, ä"
    text = render_calendar(name, {"root": NOW, "targets": NOW}, LIVES, NOW).decode()
    assert text.count("BEGIN:VEVENT") == 2
    assert [line for line in text.split("\r\n") if line.startswith("TRIGGER")] == [
        "TRIGGER:-P90D",
        "TRIGGER:-P30D",
        "TRIGGER:-P7D",
        "TRIGGER:-P30D",
        "TRIGGER:-P7D",
    ]
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    assert "packages\\, of" in text.replace("\r\n ", "")
