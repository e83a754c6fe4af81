"""Byte ranges (RFC 9110 section 14): one range, as installers send it; several get the whole file, as allowed."""

import re
from dataclasses import dataclass

_SINGLE = re.compile(r"\Abytes=(\d{0,19})-(\d{0,19})\Z")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Unsatisfiable(ValueError):
    """The range lies outside of the file (416)."""


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The range that ``header`` asks of a file of ``size`` bytes; None means the whole file.

    Raises Unsatisfiable when no byte of it exists.
    """
    found = _SINGLE.match(header.replace(" ", "")) if header else None
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise Unsatisfiable(header)
    return ByteRange(start, stop)
