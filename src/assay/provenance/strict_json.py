"""JSON objects read in one way only: no duplicate keys, no unknown keys where a format names all of its own, bounded.

Invariant: whoever reads the same bytes with another JSON library sees the same values, because what libraries read
differently (a key given twice, NaN, deep nesting) is refused. Refusals are VerificationFailed with the caller's rule.
"""

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

import orjson

from assay.model.errors import Reading, VerificationFailed

_T = TypeVar("_T")
_TYPE_NAMES: Final[dict[type, str]] = {list: "an array", str: "a text", int: "a whole number"}


def load_json(data: bytes, *, rule: str, max_bytes: int) -> object:
    """Parse ``data``. Raises VerificationFailed (``rule``) for anything that is not one reading of bounded JSON."""
    if len(data) > max_bytes:
        raise VerificationFailed(
            "the document is too large",
            rule=rule,
            expected=f"at most {max_bytes} bytes",
            found=f"{len(data)} bytes",
            reading=Reading.EITHER,
        )

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            _refuse("a key is given twice", rule)
        return found

    def whole(digits: str) -> int:
        if not -(2**63) <= int(digits) < 2**63:
            _refuse("a number beyond 64 bits", rule)
        return int(digits)

    try:
        value: object = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_int=whole)
        other = orjson.loads(data)
    except (ValueError, RecursionError) as error:
        raise VerificationFailed("not JSON", rule=rule, found=str(error)[:200], reading=Reading.EITHER) from error
    if value != other:
        _refuse("two readers of JSON see different things", rule)
    return value


def _refuse(what: str, rule: str, *, subject: str | None = None) -> NoReturn:
    raise VerificationFailed(what, rule=rule, subject=subject, reading=Reading.EITHER)


@dataclass(frozen=True, slots=True)
class JsonObject:
    """An object of a document, with typed access. ``where``: its path, for people. ``rule``: of every refusal."""

    values: dict[str, object]
    rule: str = field(compare=False)
    where: str = field(default="", compare=False)

    @classmethod
    def of(cls, value: object, *, rule: str, where: str = "") -> "JsonObject":
        """``value`` as an object. Raises VerificationFailed (``rule``) for everything else."""
        if not isinstance(value, dict):
            _refuse("not an object", rule, subject=where or None)
        return cls(value, rule, where)

    def path(self, name: str) -> str:
        """The path of the member ``name``."""
        return f"{self.where}.{name}" if self.where else name

    def only(self, *names: str) -> None:
        """Refuse any member that is not in ``names``."""
        unknown = sorted(set(self.values) - set(names))
        if unknown:
            _refuse("unknown member", self.rule, subject=self.path(unknown[0][:80]))

    def _typed(self, name: str, kind: type[_T]) -> _T:
        value = self.values.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            _refuse(f"not {_TYPE_NAMES[kind]}", self.rule, subject=self.path(name))
        return value

    def text(self, name: str) -> str:
        """The member ``name``, which must be a text."""
        return self._typed(name, str)

    def optional_text(self, name: str) -> str | None:
        """The member ``name``: a text, or None where it is absent or null."""
        return None if self.values.get(name) is None else self.text(name)

    def number(self, name: str) -> int:
        """The member ``name``, which must be a whole number."""
        return self._typed(name, int)

    def object(self, name: str) -> "JsonObject":
        """The member ``name``, which must be an object."""
        return JsonObject.of(self.values.get(name), rule=self.rule, where=self.path(name))

    def optional_object(self, name: str) -> "JsonObject | None":
        """The member ``name``: an object, or None where it is absent or null."""
        return None if self.values.get(name) is None else self.object(name)

    def objects(self, name: str, *, at_most: int) -> "list[JsonObject]":
        """The member ``name``, an array of 1 to ``at_most`` objects."""
        items: list[object] = self._typed(name, list)
        if not 1 <= len(items) <= at_most:
            _refuse(f"not 1 to {at_most} items", self.rule, subject=self.path(name))
        return [JsonObject.of(item, rule=self.rule, where=f"{self.path(name)}[{at}]") for at, item in enumerate(items)]

    def base64(self, name: str) -> bytes:
        """The member ``name``, base64 on one line, decoded."""
        try:
            return base64.b64decode(self.text(name).encode("ascii"), validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise VerificationFailed(
                "not base64", rule=self.rule, subject=self.path(name), reading=Reading.EITHER
            ) from error
