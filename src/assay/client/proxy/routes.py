"""What a request asks for: a pure function from its method, place and Accept header to one of a few kinds.

Nothing here decides that a file is good. A ``FileRequest`` on a host of somebody else is only a candidate: it is
covered when the verified page of the project lists exactly this URL (``Answers`` looks).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from assay.client.proxy.location import Location, Origin, parse_location, parse_segments
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import CallerError, InvalidName
from assay.model.names import ProjectName, parse_project_name

SIMPLE_API_TYPE: Final = "application/vnd.pypi.simple."
MAX_CANDIDATES: Final = 6


@dataclass(frozen=True, slots=True)
class Covered:
    """The places that the trusted index answers for.

    ``own``: the index itself; its simple API is ``<own>/simple``. ``simple``: base URLs of other simple APIs (an
    upstream whose packages it serves), without trailing slash.
    """

    own: Location
    simple: tuple[Location, ...]

    def bases(self) -> tuple[Location, ...]:
        """Every covered simple API, the index's own first."""
        return (self.own_simple, *self.simple)

    @property
    def own_simple(self) -> Location:
        """The index's own simple API."""
        return Location(self.own.origin, (*self.own.segments, "simple"))

    def has_host(self, host: str) -> bool:
        """Is ``host`` the host of a covered simple API?"""
        return any(base.origin.host == host for base in self.bases())


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A project's page, asked under the simple API ``base``."""

    project: ProjectName
    base: Location


@dataclass(frozen=True, slots=True)
class ProjectListRequest:
    """The list of all projects."""


@dataclass(frozen=True, slots=True)
class JsonApiRequest:
    """``/pypi/<project>/json``, or with a ``version`` in between, beside the simple API ``base``."""

    project: ProjectName
    version: str | None
    base: Location


@dataclass(frozen=True, slots=True)
class FileRequest:
    """The file at ``location``, or with ``sidecar`` the metadata beside it.

    ``own``: asked at the trusted index itself. Otherwise ``location`` must be what a verified page of one of the
    ``candidates`` lists (several, because an old sdist's name can be split in several ways).
    """

    location: Location
    candidates: tuple[Distribution, ...]
    sidecar: bool
    own: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Not answered. ``package``: an installer looked for a package here, so its result may differ for want of it."""

    reason: str
    rule: str
    package: bool


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A host that the policy allows: passed through, unverified."""


Route = PageRequest | ProjectListRequest | JsonApiRequest | FileRequest | Refused | Tunnel


def cover(own_url: str, simple_urls: Iterable[str]) -> Covered:
    """The places as types. Raises CallerError for a URL that is not plain http or https."""
    own = _without_trailing_slash(parse_location(own_url))
    own_simple = Location(own.origin, (*own.segments, "simple"))
    others = dict.fromkeys(_without_trailing_slash(parse_location(url)) for url in simple_urls)
    others.pop(own_simple, None)
    return Covered(own=own, simple=tuple(others))


def route(method: str, origin: Origin, path: str, accept: str, covered: Covered, *, host_is_allowed: bool) -> Route:
    """What ``method`` at ``origin`` and ``path`` (as sent, without query) asks for. Total: every input has an answer.

    ``accept``: the request's Accept header. ``host_is_allowed``: the policy lets the host pass unverified.
    """
    if host_is_allowed and not covered.has_host(origin.host):
        return Tunnel()
    wants_page = SIMPLE_API_TYPE in accept
    try:
        location = Location(origin, parse_segments(path))
    except CallerError as error:
        return Refused(str(error), error.rule, package=wants_page)
    found = _covered_api(location, covered) or _own_file(location, covered) or _foreign_file(location)
    if found is None:
        return not_covered(origin, package=wants_page)
    if method not in ("GET", "HEAD"):
        return Refused(f"{method} is not answered here, only GET and HEAD", "method", package=False)
    return found


def not_covered(origin: Origin, *, package: bool) -> Refused:
    """The refusal of a place that the trusted index does not answer for."""
    return Refused(f"the trusted index does not answer for {origin.host}", "host-not-covered", package=package)


def _covered_api(location: Location, covered: Covered) -> Route | None:
    for base in covered.bases():
        if location.origin != base.origin:
            continue
        rest = _below(base.segments, location.segments)
        if rest is not None:
            return _simple_api(rest, base)
        rest = _below((*base.segments[:-1], "pypi"), location.segments)
        if rest is not None:
            return _json_api(rest, base)
    return None


def _below(base: tuple[str, ...], segments: tuple[str, ...]) -> tuple[str, ...] | None:
    """``segments`` after ``base``, a trailing slash dropped; None when they do not begin with it."""
    if segments[: len(base)] != base:
        return None
    rest = segments[len(base) :]
    return rest[:-1] if rest and rest[-1] == "" else rest


def _simple_api(rest: tuple[str, ...], base: Location) -> Route | None:
    if not rest:
        return ProjectListRequest()
    if len(rest) != 1:
        return None
    try:
        return PageRequest(parse_project_name(rest[0]), base)
    except InvalidName:
        return Refused(f"{rest[0][:80]!r} is not a project name", "invalid-name", package=False)


def _json_api(rest: tuple[str, ...], base: Location) -> Route | None:
    if len(rest) not in (2, 3) or rest[-1] != "json":
        return None
    try:
        return JsonApiRequest(parse_project_name(rest[0]), rest[1] if len(rest) == 3 else None, base)
    except InvalidName:
        return Refused(f"{rest[0][:80]!r} is not a project name", "invalid-name", package=False)


def _own_file(location: Location, covered: Covered) -> Route | None:
    if location.origin != covered.own.origin:
        return None
    rest = _below((*covered.own.segments, "packages"), location.segments)
    if rest is None or len(rest) != 3:
        return None
    filename, sidecar = _split_sidecar(rest[2])
    try:
        found = parse_distribution(filename, parse_project_name(rest[0]))
    except InvalidName:
        return Refused(f"{filename[:80]!r} is not a file of project {rest[0][:80]!r}", "invalid-name", package=True)
    if found.version != rest[1]:
        return Refused(f"{filename!r} is not a file of version {rest[1][:80]!r}", "invalid-name", package=True)
    return FileRequest(location, (found,), sidecar, own=True)


def _foreign_file(location: Location) -> FileRequest | None:
    filename, sidecar = _split_sidecar(location.segments[-1])
    candidates = tuple(_readings(filename))
    place = Location(location.origin, (*location.segments[:-1], filename))
    return FileRequest(place, candidates, sidecar, own=False) if candidates else None


def _split_sidecar(segment: str) -> tuple[str, bool]:
    filename = segment.removesuffix(".metadata")
    return filename, filename != segment


def _readings(filename: str) -> Iterable[Distribution]:
    """Every way to read ``filename``, the likeliest first, at most ``MAX_CANDIDATES``."""
    seen: list[Distribution] = []
    names = [None, *_prefixes(filename)] if not filename.endswith(".whl") else [None]
    for name in names[:MAX_CANDIDATES]:
        try:
            found = parse_distribution(filename, name)
        except InvalidName:
            continue
        if found not in seen:
            seen.append(found)
            yield found


def _prefixes(filename: str) -> list[ProjectName]:
    """The project names that stand before a dash of ``filename``, the longest first."""
    cuts = [index for index, char in enumerate(filename) if char == "-"]
    names = []
    for cut in reversed(cuts[:MAX_CANDIDATES]):
        try:
            names.append(parse_project_name(filename[:cut]))
        except InvalidName:
            continue
    return names


def _without_trailing_slash(location: Location) -> Location:
    segments = location.segments
    while segments and segments[-1] == "":
        segments = segments[:-1]
    return Location(location.origin, segments)
