"""Entries have one spelling, and no event is too strange to be in the log."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.model.errors import VerificationFailed
from assay.trust.log.entry import LogEntry, decode_entry, encode_entry, fitted_facts

WHEN = datetime(2026, 11, 23, 12, 0, 0, 250, tzinfo=UTC)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", max_size=5), inner, max_size=3),
    max_leaves=8,
)
FACTS = st.dictionaries(st.text("abc-_", max_size=9), PLAIN, max_size=4)


@given(
    FACTS, st.text(max_size=20), st.none() | st.just("demo"), st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC))
)
def test_an_entry_is_read_back_as_it_was_written(
    facts: dict[str, Any], actor: str, project: str | None, when: datetime
) -> None:
    entry = LogEntry("file-published", when, actor, project, facts)
    try:
        data = encode_entry(entry)
    except ValueError:
        assert any(0xD800 <= ord(char) < 0xE000 for char in str(entry))
        return
    assert decode_entry(data) == entry
    assert encode_entry(decode_entry(data)) == data


def test_an_entry_is_canonical_json() -> None:
    entry = LogEntry("file-yanked", WHEN, "alice", "demo", {"reason": 'a\nb \u2014 "c"', "filename": "demo-1.0.tar.gz"})
    assert (
        encode_entry(entry)
        == (
            '{"actor":"alice","facts":{"filename":"demo-1.0.tar.gz","reason":"a\\nb \u2014 \\"c\\""},'
            '"kind":"file-yanked","project":"demo","time":"2026-11-23T12:00:00.000250Z","v":1}'
        ).encode()
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"actor":"a","facts":{},"kind":"x","time":"2026-11-23T12:00:00Z","v":1}',
        b'{"actor":"a","facts":{}, "kind":"x","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"facts":{},"actor":"a","kind":"x","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":"a","actor":"a","facts":{},"kind":"x","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":"a","facts":{"n":1.0},"kind":"x","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":"a","facts":{},"kind":"X!","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":"a","facts":{},"kind":"x","time":"2026-11-23T12:00:00.000000Z","v":2}',
        b'{"actor":"a","facts":{},"kind":"x","more":1,"time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":1,"facts":{},"kind":"x","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":"a","facts":[],"kind":"x","time":"2026-11-23T12:00:00.000000Z","v":1}',
        b'{"actor":"a","facts":{},"kind":"x","project":null,"time":"2026-11-23T12:00:00.000000Z","v":1}',
    ],
)
def test_other_bytes_are_no_entry(data: bytes) -> None:
    with pytest.raises(VerificationFailed) as refusal:
        decode_entry(data)
    assert refusal.value.rule == "malformed"


@pytest.mark.parametrize("strange", [1.5, 2**60, "x" * 70_000, "\ud800", {"\u00e9": 1}, [[[[[[[[[1]]]]]]]]]])
def test_facts_that_no_entry_can_hold_leave_their_hash(strange: object) -> None:
    facts = fitted_facts({"path": "packages/a/1/a-1.tar.gz", "custom": strange})
    assert list(facts) == ["unfit_sha256"]
    assert decode_entry(encode_entry(LogEntry("x", WHEN, "a", None, facts))).facts == facts
    assert fitted_facts({"n": 1}) == {"n": 1}
