"""Ranges and entity tags: RFC 9110 sections 13 and 14, as tables, and as a law against slicing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.index.web.conditional import UNSATISFIABLE, ByteRange, UnsatisfiableRange, choose_range, matching_tag

ETAG = '"abc"'

RANGES: list[tuple[str, ByteRange | UnsatisfiableRange | None]] = [
    ("bytes=0-0", ByteRange(0, 1)),
    ("bytes=0-99", ByteRange(0, 100)),
    ("bytes=10-", ByteRange(10, 100)),
    ("bytes=99-", ByteRange(99, 100)),
    ("bytes=-1", ByteRange(99, 100)),
    ("bytes=-100", ByteRange(0, 100)),
    ("bytes=-1000", ByteRange(0, 100)),
    ("bytes=50-1000000000000", ByteRange(50, 100)),
    ("Bytes = 1 - 2", ByteRange(1, 3)),
    ("bytes=100-", UNSATISFIABLE),
    ("bytes=100-200", UNSATISFIABLE),
    ("bytes=-0", UNSATISFIABLE),
    ("bytes=5-4", None),
    ("bytes=-", None),
    ("bytes=", None),
    ("bytes=a-b", None),
    ("bytes=0-0,5-6", None),
    ("bytes=0-0,", None),
    ("bytes=--5", None),
    ("bytes=+1-5", None),
    ("bytes=\u0661-5", None),
    ("bytes=1-5 x", None),
    ("bytes=" + "9" * 19 + "-", None),
    ("items=0-5", None),
    ("", None),
]


@pytest.mark.parametrize(("header", "expected"), RANGES)
def test_range(header: str, expected: ByteRange | UnsatisfiableRange | None) -> None:
    assert choose_range(header, None, ETAG, 100) == expected


def test_range_of_an_empty_file() -> None:
    assert choose_range("bytes=0-", None, ETAG, 0) is UNSATISFIABLE
    assert choose_range("bytes=-5", None, ETAG, 0) is UNSATISFIABLE


@pytest.mark.parametrize(
    ("if_range", "is_served"),
    [
        (None, True),
        (ETAG, True),
        (f" {ETAG} ", True),
        ('"other"', False),
        (f"W/{ETAG}", False),
        ("", False),
        ("Mon, 23 Nov 2026 10:00:00 GMT", False),
    ],
)
def test_if_range(if_range: str | None, is_served: bool) -> None:
    assert (choose_range("bytes=0-1", if_range, ETAG, 100) is not None) is is_served


TAGS = [
    (None, None),
    ("", None),
    (ETAG, ETAG),
    ("*", ETAG),
    (f"W/{ETAG}", ETAG),
    (f'"x", {ETAG}', ETAG),
    (f'"x","y" ,W/"z",{ETAG}', ETAG),
    ('"x"', None),
    ("abc", None),
    ('"abc', None),
    ('"other"', '"other"'),
    (f'"other", {ETAG}', ETAG),
    (f'{"x" * 5000}"abc"', None),
]


@pytest.mark.parametrize(("header", "expected"), TAGS)
def test_if_none_match(header: str | None, expected: str | None) -> None:
    assert matching_tag(header, ETAG, '"other"') == expected


@given(st.integers(0, 40), st.integers(0, 60) | st.none(), st.integers(0, 60) | st.none())
def test_a_range_is_a_slice(size: int, first: int | None, last: int | None) -> None:
    data = bytes(range(size))
    found = choose_range(f"bytes={'' if first is None else first}-{'' if last is None else last}", None, ETAG, size)
    if first is None and last is None:
        assert found is None
        return
    if first is None:
        expected = data[-last:] if last else b""
    elif last is not None and last < first:
        assert found is None
        return
    else:
        expected = data[first:] if last is None else data[first : last + 1]
    assert (data[found.start : found.stop] if isinstance(found, ByteRange) else b"") == expected
    assert isinstance(found, ByteRange) == bool(expected)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_decided(header: str, if_range: str) -> None:
    choose_range(header, if_range, ETAG, 10)
    matching_tag(header, ETAG)
