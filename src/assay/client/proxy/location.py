"""URLs as the proxy compares them: two spellings of one place are equal, anything ambiguous is refused.

A path is split at its literal slashes before percent-decoding, so an encoded slash can never make a segment.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from assay.model.errors import CallerError

MAX_URL_CHARS: Final = 8_000
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_HOST_CHARS = re.compile(r"\A[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?\Z")
_UNSAFE_IN_SEGMENT = re.compile(r"[/\\\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads. ``host``: lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")


@dataclass(frozen=True, slots=True)
class Location:
    """A URL without query and fragment. ``segments``: the decoded path; a trailing slash leaves an empty last one."""

    origin: Origin
    segments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.origin}/" + "/".join(quote(segment, safe="!$&'()*+,;=:@~") for segment in self.segments)


def parse_authority(text: str, scheme: str) -> Origin:
    """Read ``host``, ``host:port`` or ``[v6]:port``. Raises CallerError for anything else."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _malformed(text) from error
    if parts.path or parts.query or parts.fragment or "@" in text or len(text) > MAX_URL_CHARS:
        raise _malformed(text)
    return Origin(scheme, _parse_host(host.rstrip("."), text), DEFAULT_PORTS[scheme] if port is None else port)


def parse_location(url: str) -> Location:
    """Read an absolute http or https URL; credentials in it are dropped. Raises CallerError for anything ambiguous."""
    if len(url) > MAX_URL_CHARS:
        raise _malformed(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _malformed(url) from error
    if parts.scheme not in DEFAULT_PORTS:
        raise _malformed(url)
    origin = parse_authority(parts.netloc.rpartition("@")[2], parts.scheme)
    return Location(origin, parse_segments(parts.path))


def parse_segments(path: str) -> tuple[str, ...]:
    """The decoded segments of an absolute path (no query).

    Raises CallerError for dot segments and control characters.
    """
    segments = tuple(unquote(part) for part in path.removeprefix("/").split("/"))
    if len(path) > MAX_URL_CHARS or any(
        segment in (".", "..") or _UNSAFE_IN_SEGMENT.search(segment) for segment in segments
    ):
        raise _malformed(path)
    return segments


def redact(url: str) -> str:
    """``url`` without credentials, query and fragment, fit for a report; never raises."""
    try:
        return str(parse_location(url))
    except CallerError:
        return repr(url[:200])


def _parse_host(host: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not _HOST_CHARS.match(host) or ".." in host:
        raise _malformed(text)
    return host


def _malformed(url: str) -> CallerError:
    return CallerError("not a URL that can be read in one way only", rule="malformed-url", subject=repr(url[:200]))
