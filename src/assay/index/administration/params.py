"""The parameters of an operation, from JSON: taken one by one, each of its type, and none left over."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from assay.model.errors import CallerError
from assay.model.names import ProjectName, parse_project_name

MAX_TEXT_CHARS: Final = 10_000
MAX_LISTED: Final = 1_000


class Params:
    """Take what an operation knows, then ``end``. Every method raises CallerError naming the parameter."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = dict(given)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.optional_text(name)
        if value is None:
            raise _refused(name, "this parameter is missing")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None."""
        value = self._given.pop(name, None)
        if value is not None and (not isinstance(value, str) or len(value) > MAX_TEXT_CHARS or "\0" in value):
            raise _refused(name, "not a text, or too long", f"at most {MAX_TEXT_CHARS} characters")
        return value

    def project(self, name: str = "project") -> ProjectName:
        """The name of a project."""
        return parse_project_name(self.text(name))

    def flag(self, name: str) -> bool:
        """True or false; false where it is not given."""
        value = self._given.pop(name, None)
        if not isinstance(value, bool | None):
            raise _refused(name, "not a truth value")
        return bool(value)

    def number(self, name: str) -> int:
        """A whole number that must be there."""
        value = self._given.pop(name, None)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _refused(name, "not a whole number")
        return value

    def days(self, name: str) -> timedelta | None:
        """A number of days, None where it is not given."""
        value = self._given.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 36_500:
            raise _refused(name, "not a number of days", "more than 0, at most 36,500")
        return timedelta(days=value)

    def texts(self, name: str) -> list[str]:
        """A list of texts, empty where it is not given."""
        value = self._given.pop(name, None) or []
        if not isinstance(value, list) or len(value) > MAX_LISTED or not all(isinstance(each, str) for each in value):
            raise _refused(name, "not a list of texts", f"at most {MAX_LISTED}")
        return value

    def table(self, name: str) -> dict[str, Any]:
        """An object, empty where it is not given."""
        value = self._given.pop(name, None) or {}
        if not isinstance(value, dict):
            raise _refused(name, "not an object")
        return value

    def end(self) -> None:
        """Refuse what nobody took."""
        for name in self._given:
            raise _refused(str(name)[:100], "this operation has no such parameter")


def shown(value: object) -> object:
    """``value`` as it stands in JSON: moments in ISO 8601, mappings and lists of such."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    return value


def _refused(name: str, what: str, expected: str | None = None) -> CallerError:
    return CallerError(what, subject=name, rule="parameter", expected=expected)
