"""Which representation a request asks for: page types (PEP 691) and content codings (RFC 9110 section 12.5).

Invariants: every function is total (any text gives an answer, none raises) and linear in the length of its input; an
element of a header that does not parse is left out, and a header without one element that parses counts as absent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

Encoding = Literal["gzip", "identity"]


class PageType(Enum):
    """The media types of the simple API, best first where a client likes several equally."""

    JSON = "application/vnd.pypi.simple.v1+json"
    HTML = "application/vnd.pypi.simple.v1+html"
    LEGACY_HTML = "text/html"

    @property
    def content_type(self) -> str:
        """The value of ``Content-Type``."""
        return self.value if self is PageType.JSON else f"{self.value}; charset=utf-8"


MAX_HEADER_CHARS: Final = 4096
"""A longer header counts as absent: no client has that much to say."""

_ALIASES: Final = {
    "application/vnd.pypi.simple.latest+json": PageType.JSON.value,
    "application/vnd.pypi.simple.latest+html": PageType.HTML.value,
}
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's "token"
_SEPARATED_BY: Final = {
    separator: re.compile(rf'(?:[^{separator}"]|"(?:[^"\\]|\\.)*")*+', re.DOTALL) for separator in ",;"
}
_MEDIA_RANGE: Final = re.compile(rf"({_TOKEN})/({_TOKEN})\Z")
_PARAMETER: Final = re.compile(rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*")\Z', re.DOTALL)
_CODING: Final = re.compile(rf"{_TOKEN}\Z")
_WEIGHT: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")


@dataclass(frozen=True, slots=True)
class _Range:
    """One element of ``Accept``. ``specificity``: 0 for ``*/*``, 1 for ``text/*``, 2 for a type, 3 with a charset."""

    kind: str
    subtype: str
    specificity: int
    quality: float

    def covers(self, page_type: PageType) -> bool:
        kind, _, subtype = page_type.value.partition("/")
        return self.kind in ("*", kind) and self.subtype in ("*", subtype)


def choose_page_type(accept: str | None) -> PageType | None:
    """The type that the client likes best, or None where it accepts none of ours (406).

    ``accept``: the ``Accept`` header (several lines joined by commas), None or empty where there is none. As RFC 9110
    section 12.5.1 says, the most specific range that covers a type gives its weight. Equal weights go to the type that
    was named more specifically, then to JSON; a client that only says ``*/*`` gets text/html (PEP 691).
    """
    ranges = list(_media_ranges(accept)) if accept and len(accept) <= MAX_HEADER_CHARS else []
    if not ranges:
        return PageType.LEGACY_HTML
    best: tuple[tuple[float, int], PageType] | None = None
    for page_type in PageType:
        covering = [found for found in ranges if found.covers(page_type)]
        if not covering:
            continue
        chosen = max(covering, key=lambda found: (found.specificity, found.quality))
        rank = (chosen.quality, chosen.specificity)
        anything = chosen.specificity == 0 and page_type is PageType.LEGACY_HTML
        if chosen.quality > 0 and (best is None or rank > best[0] or (anything and rank == best[0])):
            best = (rank, page_type)
    return best[1] if best else None


def asks_for(accept: str | None, *media_types: str) -> bool:
    """Whether ``Accept`` names one of ``media_types`` itself, with a weight above zero; wildcards do not count."""
    if not accept or len(accept) > MAX_HEADER_CHARS:
        return False
    named = {f"{found.kind}/{found.subtype}" for found in _media_ranges(accept) if found.quality > 0}
    return not named.isdisjoint(media_types)


def page_type_of_format(text: str) -> PageType | None:
    """The type that ``?format=`` names (PEP 691, URL parameter), or None for any other text.

    A ``+`` that form decoding turned into a space is understood.
    """
    name = text.strip().replace(" ", "+").lower()
    name = _ALIASES.get(name, name)
    return next((page_type for page_type in PageType if page_type.value == name), None)


def choose_encoding(accept_encoding: str | None) -> Encoding:
    """``gzip`` where the client takes it at least as gladly as the plain bytes, else ``identity`` (section 12.5.3).

    Where a client refuses both, it gets the plain bytes: RFC 9110 lets a server disregard the header.
    """
    weights = _coding_weights(accept_encoding)
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return "gzip" if gzip > 0 and gzip >= weights.get("identity", 0.0) else "identity"


def accepts_coding(accept_encoding: str | None, coding: str) -> bool:
    """Whether a client names ``coding`` and takes it at least as gladly as gzip."""
    weights = _coding_weights(accept_encoding)
    return weights.get(coding, 0.0) > 0 and weights[coding] >= weights.get("gzip", 0.0)


def _coding_weights(accept_encoding: str | None) -> dict[str, float]:
    weights: dict[str, float] = {}
    if not accept_encoding or len(accept_encoding) > MAX_HEADER_CHARS:
        return weights
    for element in _split(accept_encoding, ","):
        name, *parameters = _split(element, ";")
        quality = _coding_quality(parameters)
        if quality is not None and _CODING.match(name):
            weights[name.lower().removeprefix("x-")] = quality
    return weights


def _coding_quality(parameters: list[str]) -> float | None:
    """The weight of a coding, 1 where none is given, None where what follows the coding is not a weight."""
    if not parameters:
        return 1.0
    name, _, value = parameters[0].partition("=")
    return _weight(value) if len(parameters) == 1 and name.strip().lower() == "q" else None


def _media_ranges(accept: str) -> Iterator[_Range]:
    for element in _split(accept, ","):
        if (found := _parse_range(element)) is not None:
            yield found


def _parse_range(element: str) -> _Range | None:
    """One element, or None where it does not parse or has a parameter that none of our types has."""
    name, *parameters = _split(element, ";")
    name = name.lower()
    matched = _MEDIA_RANGE.match(_ALIASES.get(name, name))
    if matched is None:
        return None
    kind, subtype = matched.groups()
    if kind == "*" and subtype != "*":
        return None
    specificity = 0 if kind == "*" else 1 if subtype == "*" else 2
    for parameter in parameters:
        if not parameter:
            continue
        pair = _PARAMETER.match(parameter)
        if pair is None:
            return None
        key, value = pair.group(1).lower(), pair.group(2)
        if key == "q":  # what follows the weight are accept-ext of RFC 7231, deprecated: disregarded
            quality = _weight(value)
            return None if quality is None else _Range(kind, subtype, specificity, quality)
        if key != "charset" or value.strip('"').lower() != "utf-8":
            return _Range("", "", specificity, 0.0)  # sound, but none of our types
        specificity = 3
    return _Range(kind, subtype, specificity, 1.0)


def _weight(text: str) -> float | None:
    return float(text) if _WEIGHT.match(text.strip()) else None


def _split(text: str, separator: str) -> list[str]:
    """``text`` cut at each ``separator`` outside quoted strings; an unclosed quote ends the reading there."""
    pattern = _SEPARATED_BY[separator]
    pieces, position = [], 0
    while True:
        matched = pattern.match(text, position)
        end = matched.end() if matched else position
        pieces.append(text[position:end].strip(" \t"))
        if end >= len(text) or text[end] != separator:
            return pieces
        position = end + 1
