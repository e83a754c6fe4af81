"""What a lock file pins, in one shape for all formats, with the line where it stands.

TOML and JSON readers keep no line numbers, so a value is looked for in the text again: in the line that names its file,
else in the nearest one.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from assay.model.errors import CallerError, TooLarge

MAX_LOCK_BYTES: Final = 64_000_000
_HEX64: Final = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class Locked:
    """One hash that a lock file pins, or the want of one.

    ``version``: None where it is not pinned. ``filename``: None where the format does not say which file it is the hash
    of. ``digest``: ``sha256:<hex>``, None where there is none. ``elsewhere``: a source that is no index, in words.
    """

    line: int
    project: str
    version: str | None = None
    filename: str | None = None
    digest: str | None = None
    elsewhere: str | None = None


class LockText:
    """A lock file's text. ``path`` is for messages."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self._lines = text.splitlines()
        self._places: dict[str, list[int]] = {}
        for number, line in enumerate(self._lines, 1):
            for digest in _HEX64.findall(line):
                self._places.setdefault(digest, []).append(number)

    def line_of_package(self, name: str) -> int:
        """The line (from 1) on which the TOML table of a package says its name; 1 when there is none."""
        return next((number for number, line in enumerate(self._lines, 1) if line.strip() == f'name = "{name}"'), 1)

    def line_of(self, value: str) -> int:
        """The first line with ``value``; 1 when there is none."""
        return next((number for number, line in enumerate(self._lines, 1) if value in line), 1)

    def line_of_digest(self, digest: str, near: str) -> int:
        """The line of ``digest`` (``sha256:<hex>``); where several have it, the one nearest to a line with ``near``."""
        found = self._places.get(digest.partition(":")[2].lower()) or [self.line_of(digest.partition(":")[2])]
        if len(found) == 1:
            return found[0]
        places = [number for number, line in enumerate(self._lines, 1) if near in line] or found
        return min(found, key=lambda number: min(abs(number - place) for place in places))

    def refused(self, what: str, line: int = 1) -> CallerError:
        """This file is not a lock file of its kind."""
        return CallerError(what, rule="lock-format", subject=f"{self.path}:{line}")


def read_text(path: Path) -> LockText:
    """The file, bounded, as UTF-8. Raises CallerError, TooLarge."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_LOCK_BYTES + 1)
        if len(data) > MAX_LOCK_BYTES:
            raise TooLarge("too long for a lock file", subject=str(path), expected=f"at most {MAX_LOCK_BYTES} bytes")
        return LockText(path, data.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CallerError("cannot be read", rule="lock-format", subject=str(path), found=str(error)) from error


def read_toml(lock: LockText) -> Mapping[str, Any]:
    """The file's tables. Raises CallerError."""
    try:
        return tomllib.loads(lock.text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError, too
        raise lock.refused(f"not TOML: {error}") from error


def tables(lock: LockText, table: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """The array of tables under ``key``; none where it is absent. Raises CallerError for another type."""
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise lock.refused(f"{key!r} is not an array of tables")
    yield from found


def text_of(lock: LockText, table: Mapping[str, Any], key: str) -> str | None:
    """The text under ``key``; None where it is absent. Raises CallerError for another type."""
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise lock.refused(f"{key!r} is not a text")
    return value


def name_of(lock: LockText, table: Mapping[str, Any]) -> str:
    """The text under ``name``. Raises CallerError when there is none."""
    name = text_of(lock, table, "name")
    if name is None:
        raise lock.refused("a package without a name")
    return name


def pinned(
    lock: LockText, project: str, version: str | None, files: list[tuple[str | None, str | None]]
) -> Iterator[Locked]:
    """The entries of one package from its ``files`` (filename and digest); one that lacks a hash if there are none."""
    place = lock.line_of_package(project)
    if not files:
        yield Locked(place, project, version)
    for filename, digest in files:
        line = lock.line_of_digest(digest, filename or "") if digest else place
        yield Locked(line, project, version, filename, digest)


def filename_of(url_or_path: str) -> str:
    """The last part of a URL's or file's path; of what only looks like a URL, of its text."""
    try:
        path = urlsplit(url_or_path).path
    except ValueError:
        path = url_or_path
    return unquote(path.replace("\\", "/").rpartition("/")[2])
