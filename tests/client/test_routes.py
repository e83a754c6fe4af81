"""Routing is a pure, total function."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.client.proxy.location import Origin, parse_authority, parse_location, redact
from assay.client.proxy.ranges import ByteRange, Unsatisfiable, parse_range
from assay.client.proxy.routes import (
    FileRequest,
    JsonApiRequest,
    PageRequest,
    ProjectListRequest,
    Refused,
    Route,
    Tunnel,
    cover,
    route,
)
from assay.model.errors import CallerError
from client.memory_source import OWN_URL, UPSTREAM_FILES, UPSTREAM_SIMPLE

COVERED = cover(OWN_URL, [UPSTREAM_SIMPLE, "https://mirror.example/root/mirror/+simple/"])
JSON_TYPE = "application/vnd.pypi.simple.v1+json"


def route_of(url: str, *, method: str = "GET", accept: str = "", allowed: bool = False) -> Route:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return route(method, parse_authority(authority, scheme), slash + path, accept, COVERED, host_is_allowed=allowed)


@pytest.mark.parametrize(
    "url",
    [
        f"{OWN_URL}simple/demo/",
        f"{UPSTREAM_SIMPLE}/demo",
        "https://UPSTREAM.example:443/simple/Demo/",
        "https://mirror.example/root/mirror/+simple/demo/",
        "https://mirror.example/root/mirror/%2Bsimple/demo/",
    ],
)
def test_pages(url: str) -> None:
    found = route_of(url)
    assert isinstance(found, PageRequest)
    assert found.project == "demo"


def test_the_list_and_the_json_api() -> None:
    assert route_of(f"{UPSTREAM_SIMPLE}/") == ProjectListRequest()
    found = route_of("https://upstream.example/pypi/demo/1.0/json")
    assert isinstance(found, JsonApiRequest)
    assert (found.project, found.version) == ("demo", "1.0")
    assert isinstance(route_of("https://mirror.example/root/mirror/pypi/demo/json"), JsonApiRequest)


@pytest.mark.parametrize(
    ("name", "projects", "sidecar"),
    [
        ("demo-1.0-py3-none-any.whl", ["demo"], False),
        ("demo-1.0-py3-none-any.whl.metadata", ["demo"], True),
        ("my_demo-1.0.tar.gz", ["my-demo"], False),
        ("my-demo-1.0.tar.gz", ["my-demo"], False),
        ("demo-1.0-1.tar.gz", ["demo-1-0", "demo"], False),
    ],
)
def test_files_of_an_upstream_are_candidates(name: str, projects: list[str], sidecar: bool) -> None:
    found = route_of(UPSTREAM_FILES + name)
    assert isinstance(found, FileRequest)
    assert not found.own
    assert found.sidecar is sidecar
    assert [candidate.project for candidate in found.candidates] == projects
    assert str(found.location) == UPSTREAM_FILES + name.removesuffix(".metadata")


def test_files_of_the_index_itself() -> None:
    found = route_of(f"{OWN_URL}packages/demo/1.0/demo-1.0-py3-none-any.whl")
    assert isinstance(found, FileRequest)
    assert found.own


@pytest.mark.parametrize(
    "path", ["packages/other/1.0/demo-1.0-py3-none-any.whl", "packages/demo/2.0/demo-1.0-py3-none-any.whl"]
)
def test_a_file_of_the_index_under_another_release_is_refused(path: str) -> None:
    assert isinstance(route_of(OWN_URL + path), Refused)


@pytest.mark.parametrize(
    ("url", "accept", "package"),
    [
        ("https://private.example/simple/demo/", JSON_TYPE, True),
        ("https://telemetry.example/ping", "*/*", False),
        ("http://upstream.example/simple/demo/", JSON_TYPE, True),
        ("https://upstream.example:8443/simple/demo/", JSON_TYPE, True),
        ("https://upstream.example/simple-evil/demo/", JSON_TYPE, True),
    ],
)
def test_everything_else_is_refused(url: str, accept: str, package: bool) -> None:
    found = route_of(url, accept=accept)
    assert isinstance(found, Refused)
    assert (found.rule, found.package) == ("host-not-covered", package)


def test_an_allowed_host_is_tunnelled_but_a_covered_one_never() -> None:
    assert route_of("https://git.example/x", allowed=True) == Tunnel()
    assert isinstance(route_of("https://upstream.example/x", allowed=True), Refused)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PROPFIND"])
def test_only_reading_is_answered(method: str) -> None:
    found = route_of(f"{UPSTREAM_SIMPLE}/demo/", method=method)
    assert isinstance(found, Refused)
    assert found.rule == "method"


@given(st.text(max_size=80), st.text(max_size=20), st.booleans())
def test_routing_is_total(path: str, accept: str, allowed: bool) -> None:
    origin = Origin("https", "upstream.example", 443)
    for prefix in ("", "/simple/", "/packages/", "/pypi/"):
        found = route("GET", origin, prefix + path, accept, COVERED, host_is_allowed=allowed)
        assert not isinstance(found, Tunnel)


@given(st.lists(st.text(st.characters(exclude_characters="/\\", min_codepoint=33, codec="utf-8"), min_size=1)))
def test_a_location_survives_being_written(segments: list[str]) -> None:
    legal = [segment for segment in segments if segment not in (".", "..")]
    try:
        found = parse_location("https://example.org/" + "/".join(legal))
    except CallerError:
        return
    assert parse_location(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", ":443", "a b", "a/b", "user@host", "host:port", "host:99999", "[::1", "a..b", "-a", "a" * 300, "h\x00"]
)
def test_what_is_no_authority(text: str) -> None:
    with pytest.raises(CallerError):
        parse_authority(text, "https")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("Example.ORG", "example.org", 443), ("example.org.:8443", "example.org", 8443), ("[::1]:1", "::1", 1)],
)
def test_authorities(text: str, host: str, port: int) -> None:
    assert parse_authority(text, "https") == Origin("https", host, port)


def test_reports_never_hold_credentials() -> None:
    assert redact("https://user:secret@example.org/a?token=secret") == "https://example.org/a"


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_python_slices(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    try:
        found = parse_range(f"bytes={first}-{last}", size) or ByteRange(0, size)
    except Unsatisfiable:
        assert first >= size
        return
    expected = data[first : last + 1] if first <= last else data
    assert data[found.start : found.stop] == expected


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=9-3"])
def test_other_ranges_get_the_whole_file(header: str | None) -> None:
    assert parse_range(header, 10) is None
