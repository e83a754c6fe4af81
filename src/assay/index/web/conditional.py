"""Conditional and range requests, decided on header texts alone. Pure and total (RFC 9110 sections 13 and 14)."""

import re
from dataclasses import dataclass
from typing import Final

_ENTITY_TAG: Final = re.compile(r'\s*,?\s*(?:W/)?("[^"]*")')
_RANGE: Final = re.compile(r"bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*\Z", re.IGNORECASE)
MAX_HEADER_CHARS: Final = 4096


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` to ``stop``, exclusive."""

    start: int
    stop: int

    def content_range(self, size: int) -> bytes:
        """The value of ``Content-Range`` in a file of ``size`` bytes."""
        return b"bytes %d-%d/%d" % (self.start, self.stop - 1, size)


class UnsatisfiableRange:
    """The range lies outside the file: 416."""


UNSATISFIABLE: Final = UnsatisfiableRange()


def matching_tag(if_none_match: str | None, *etags: str) -> str | None:
    """The first of our quoted ``etags`` that ``If-None-Match`` lists (304), else None. ``*`` matches the first."""
    if not if_none_match or len(if_none_match) > MAX_HEADER_CHARS:
        return None
    if if_none_match.strip() == "*":
        return etags[0]
    listed = set(_listed_tags(if_none_match))
    return next((etag for etag in etags if etag in listed), None)


def _listed_tags(text: str) -> list[str]:
    tags, position = [], 0
    while found := _ENTITY_TAG.match(text, position):
        tags.append(found.group(1))
        position = found.end()
    return tags


def choose_range(
    range_header: str | None, if_range: str | None, etag: str, size: int
) -> ByteRange | UnsatisfiableRange | None:
    """Which bytes of a file of ``size`` bytes to send; None: all of them, with 200.

    One range or one suffix is served. Several ranges, other units and malformed headers are disregarded, as section
    14.2 allows. ``If-Range`` must be our strong ``etag``: with anything else the whole file is sent.
    """
    if range_header is None or (if_range is not None and if_range.strip() != etag):
        return None
    found = _RANGE.match(range_header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        return ByteRange(size - length, size) if length else UNSATISFIABLE
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return UNSATISFIABLE
    return ByteRange(start, min(int(last) + 1, size) if last else size)
