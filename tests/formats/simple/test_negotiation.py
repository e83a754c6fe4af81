"""Which page type and which coding a client gets (RFC 9110 section 12.5, PEP 691)."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.formats.negotiation import (
    MAX_HEADER_CHARS,
    PageType,
    asks_for,
    choose_encoding,
    choose_page_type,
    page_type_of_format,
)

JSON, HTML, TEXT = PageType.JSON, PageType.HTML, PageType.LEGACY_HTML
J, H, T = (page_type.value for page_type in PageType)

ACCEPT = {
    # nothing said
    None: TEXT,
    "": TEXT,
    " , ,": TEXT,
    "*/*": TEXT,
    # the clients of today
    f"{J}, {H}; q=0.1, text/html; q=0.01": JSON,
    f"{J}, {H};q=0.2, text/html;q=0.01": JSON,
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": TEXT,
    "text/html, */*; q=0.01": TEXT,
    # one type
    J: JSON,
    H: HTML,
    T: TEXT,
    J.upper(): JSON,
    "application/vnd.pypi.simple.latest+json": JSON,
    "application/vnd.pypi.simple.latest+html": HTML,
    # none of ours
    "application/json": None,
    "image/png": None,
    "application/vnd.pypi.simple.v2+json": None,
    # weights
    f"{J};q=0.1, {H};q=0.2": HTML,
    f"{J};q=0.001, text/html;q=0": JSON,
    f"{J};q=0": None,
    f"{J};q=0, */*": TEXT,
    "*/*;q=0": None,
    "text/html;q=0.000": None,
    f"{T};Q=0.5, {J};q=0.4": TEXT,
    f"{J};q=1.000, {T}": JSON,
    # equal weights: the one named, then JSON
    f"{T}, {H}, {J}": JSON,
    f"{T}, {H}": HTML,
    f"{T}, */*": TEXT,
    f"{H}, application/*": HTML,
    # wildcards: the most specific range decides
    "application/*": JSON,
    "text/*": TEXT,
    "text/*;q=0, */*": JSON,
    f"application/*;q=0.5, {H};q=0.6": HTML,
    f"application/*, {J};q=0.1": HTML,
    # the same range twice: the better weight
    f"{J};q=0.1, {J};q=0.9, {T};q=0.5": JSON,
    # parameters
    "text/html;charset=utf-8": TEXT,
    'text/html; charset="UTF-8"; q=0.7': TEXT,
    "text/html;charset=latin-1": None,
    "text/html;level=1": None,
    f"text/html;level=1, {J};q=0.1": JSON,
    "text/html;q=0.5;ext=1": TEXT,
    # quoted strings hide commas and semicolons
    f'text/plain;x="a,{J}", {H}': HTML,
    f'text/plain;x="\\",{J}", {T}': TEXT,
    f'text/plain;x=";q=0", {T};q=0.1': TEXT,
    # what does not parse is left out
    f"text/html;q=2, {J};q=0.1": JSON,
    f"text/html;q=-1, {J};q=0.1": JSON,
    f"text/html;q=0.1234, {J};q=0.1": JSON,
    f"text/html;q=, {J};q=0.1": JSON,
    f"*/html, {J};q=0.1": JSON,
    f"text /html, {J};q=0.1": JSON,
    f"/, text, {J}": JSON,
    f"text/html;charset, {J};q=0.1": JSON,
    # and where nothing parses, nothing was said
    "garbage": TEXT,
    "text/html;q=2": TEXT,
    '"': TEXT,
    f"{J}," + " " * MAX_HEADER_CHARS: TEXT,
}


@pytest.mark.parametrize(("accept", "expected"), ACCEPT.items())
def test_accept(accept: str | None, expected: PageType | None) -> None:
    assert choose_page_type(accept) is expected


FORMATS = {
    J: JSON,
    H: HTML,
    "text/html": TEXT,
    "application/vnd.pypi.simple.v1 json": JSON,
    "application/vnd.pypi.simple.latest+json": JSON,
    " TEXT/HTML ": TEXT,
    "json": None,
    "*/*": None,
    "": None,
}


@pytest.mark.parametrize(("text", "expected"), FORMATS.items())
def test_format(text: str, expected: PageType | None) -> None:
    assert page_type_of_format(text) is expected


ENCODINGS = {
    None: "identity",
    "": "identity",
    "gzip": "gzip",
    "GZip": "gzip",
    "x-gzip": "gzip",
    "gzip, deflate, br, zstd": "gzip",
    "*": "gzip",
    "br": "identity",
    "identity": "identity",
    "gzip;q=0": "identity",
    "gzip; q=0.001": "gzip",
    "gzip;q=0, *": "identity",
    "*;q=0": "identity",
    "identity;q=1, gzip;q=0.5": "identity",
    "identity;q=0.5, gzip;q=0.5": "gzip",
    "identity;q=0, *;q=0": "identity",
    "gzip;q=nan": "identity",
    "gzip;level=9": "identity",
    "gzip;q=1;q=0": "identity",
    "gz ip": "identity",
    "gzip," + "a" * MAX_HEADER_CHARS: "identity",
}


@pytest.mark.parametrize(("accept_encoding", "expected"), ENCODINGS.items())
def test_accept_encoding(accept_encoding: str | None, expected: str) -> None:
    assert choose_encoding(accept_encoding) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, False),
        ("*/*", False),
        ("application/*", False),
        ("application/json", True),
        ("application/json;q=0.9, text/plain;q=0.8", True),
        ("application/json;q=0", False),
        ("application/problem+json", True),
        ("application/jsonp", False),
    ],
)
def test_asks_for(accept: str | None, expected: bool) -> None:
    assert asks_for(accept, "application/json", "application/problem+json") is expected


PIECES = st.sampled_from([*'*/,;="\\ q01.', J, H, T, "charset", "utf-8", "gzip", "identity"]) | st.characters()
HEADERISH = st.lists(PIECES, max_size=60).map("".join)
WEIGHTS = st.integers(0, 1000).map(lambda n: f"{n / 1000:.3f}")


@given(HEADERISH)
def test_any_text_gets_an_answer(header: str) -> None:
    assert choose_page_type(header) in {*PageType, None}
    assert choose_encoding(header) in {"gzip", "identity"}
    assert asks_for(header, "application/json") in {True, False}


@given(st.dictionaries(st.sampled_from([J, H, T]), WEIGHTS, min_size=1), st.randoms())
def test_the_heaviest_type_wins_in_any_order(weights: dict[str, str], random: object) -> None:
    elements = [f"{name};q={weight}" for name, weight in weights.items()]
    random.shuffle(elements)  # type: ignore[attr-defined]
    chosen = choose_page_type(", ".join(elements))
    best = max(float(weight) for weight in weights.values())
    if best == 0:
        assert chosen is None
    else:
        assert chosen is not None
        assert float(weights[chosen.value]) == best


TOKENS = st.text("abcdefghijklmnopqrstuvwxyz0123456789.+-", min_size=1, max_size=12)


@given(TOKENS, TOKENS, WEIGHTS)
def test_a_type_that_is_not_ours_changes_nothing(kind: str, subtype: str, weight: str) -> None:
    foreign = f"x-{kind}/{subtype};q={weight}"
    for accept in (J, f"{J};q=0.5, {T};q=0.4", f"{H};q=0", "text/*;q=0.1"):
        assert choose_page_type(f"{foreign}, {accept}") is choose_page_type(accept)


@given(st.sampled_from([J, H, T]))
def test_an_explicit_refusal_is_kept(refused: str) -> None:
    chosen = choose_page_type(f"*/*, {refused};q=0")
    assert chosen is not None
    assert chosen.value != refused


def test_reading_is_linear() -> None:
    started = time.process_time()
    for hostile in ('"' * 4000, ',"' * 2000, ';"\\' * 1300, "a/b;c=d," * 500, "*/*;" * 1000):
        choose_page_type(hostile)
        choose_encoding(hostile)
    assert time.process_time() - started < 1
