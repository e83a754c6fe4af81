"""TOML as types: a table that is emptied as it is read, so that what is left is what nobody understands."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import AssayError, CallerError

_KEY_ID = re.compile(r"\A[0-9a-f]{64}\Z")
_LABEL = re.compile(r"\A[^\x00-\x1f\x7f]{1,200}\Z")


def refuse(subject: str, expected: str, found: str) -> CallerError:
    """The refusal of one key of the plan."""
    return CallerError("the plan cannot be followed", rule="plan", subject=subject, expected=expected, found=found)


class Table:
    """One table. Every method takes a key out of it and raises CallerError naming the key when it does not fit."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self._left = dict(values)
        self._path = path

    def names_left(self) -> tuple[str, ...]:
        """The keys that are left."""
        return tuple(self._left)

    def require_empty(self) -> None:
        """Raise CallerError when a key is left over."""
        if self._left:
            raise CallerError(
                "the plan has a key that is not understood", rule="plan", subject=self._at(min(self._left))
            )

    def table(self, key: str) -> "Table":
        """A table below this one."""
        value = self._take(key, dict, "a table")
        return Table(value, self._at(key) + ".")

    def optional_table(self, key: str) -> "Table | None":
        """A table below this one, or None."""
        return self.table(key) if key in self._left else None

    def label(self, key: str) -> str:
        """One line of text."""
        value: str = self._take(key, str, "text")
        if not _LABEL.match(value):
            raise refuse(self._at(key), "one line of 1 to 200 characters", repr(value[:80]))
        return value

    def literal(self, key: str, expected: str) -> None:
        """The text ``expected`` and nothing else."""
        value = self._take(key, str, expected)
        if value != expected:
            raise refuse(self._at(key), expected, repr(value[:80]))

    def boolean(self, key: str, *, default: bool) -> bool:
        """True or false."""
        return bool(self._take(key, bool, "true or false")) if key in self._left else default

    def integer(self, key: str, least: int, most: int) -> int:
        """A number from ``least`` to ``most``."""
        value: int = self._take(key, int, "a number")
        if isinstance(value, bool) or not least <= value <= most:
            raise refuse(self._at(key), f"a number from {least} to {most}", str(value))
        return value

    def moment(self, key: str) -> datetime:
        """A moment with its zone, in whole seconds; as UTC."""
        value: datetime = self._take(key, datetime, "a date and time with its zone, like 2027-01-31T12:00:00Z")
        if value.tzinfo is None or value.microsecond:
            raise refuse(self._at(key), "a date and time with its zone, in whole seconds", str(value))
        return value.astimezone(UTC)

    def names(self, key: str, *, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts, each once."""
        if default is not None and key not in self._left:
            return default
        values = self._take(key, list, "a list of names")
        for value in values:
            if not isinstance(value, str):
                raise refuse(self._at(key), "a list of names", repr(value)[:80])
        if len(set(values)) != len(values):
            raise refuse(self._at(key), "each name once", ", ".join(values)[:200])
        return tuple(values)

    def digest(self, key: str) -> Sha256:
        """A SHA-256 digest."""
        return self._as_digest(key, self._take(key, str, "a SHA-256 digest"))

    def digests(self, key: str) -> tuple[Sha256, ...]:
        """A list of SHA-256 digests; empty when the key is absent."""
        return tuple(self._as_digest(key, value) for value in self.names(key, default=()))

    def key_id(self, key: str) -> str | None:
        """A key id, or None when the key is absent."""
        if key not in self._left:
            return None
        value: str = self._take(key, str, "a key id")
        if not _KEY_ID.match(value):
            raise refuse(self._at(key), "a key id: 64 hex digits", repr(value[:80]))
        return value

    def _as_digest(self, key: str, value: str) -> Sha256:
        try:
            return parse_sha256(value)
        except AssayError as error:
            raise refuse(self._at(key), str(error.expected), str(error.found)) from error

    def _take(self, key: str, kind: type, expected: str) -> Any:
        if key not in self._left:
            raise CallerError("the plan lacks a key", rule="plan", subject=self._at(key), expected=expected)
        value = self._left.pop(key)
        if not isinstance(value, kind):
            raise refuse(self._at(key), expected, repr(value)[:80])
        return value

    def _at(self, key: str) -> str:
        return f"{self._path}{key}"
