"""TOML files as frozen dataclasses: loaded once, every key known, every value of its field's type.

A field is a number, a text, a truth value, a list of texts (``tuple[str, ...]``), a section (another dataclass) or
repeated sections (``tuple[Section, ...]``). A field without a default must be there.
"""

import tomllib
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from assay.model.errors import OperatorError

C = TypeVar("C")


def read_settings(path: Path, kind: type[C]) -> C:
    """The settings in ``path`` as a ``kind``; a missing file says nothing. Raises OperatorError naming the key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"not TOML: {error}", subject=str(path), rule="config") from error
    return _section(path, "", kind, document)


def _section(path: Path, prefix: str, kind: type[C], table: dict[str, Any]) -> C:
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise _refuse(path, f"{prefix}{key}", f"one of {', '.join(hints)}", "an unknown key")
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        key = field.name
        if key in table:
            values[key] = _value(path, f"{prefix}{key}", hints[key], table[key])
        elif _is_required(field):
            raise _refuse(path, f"{prefix}{key}", "a value", "none")
    return kind(**values)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(path: Path, key: str, hint: Any, value: Any) -> Any:
    if get_origin(hint) is UnionType:
        hint = next(option for option in get_args(hint) if option is not NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise _refuse(path, key, "a table", repr(value)[:80])
        return _section(path, f"{key}.", hint, value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise _refuse(path, key, "a list", repr(value)[:80])
        return tuple(_value(path, f"{key}[{number}]", get_args(hint)[0], item) for number, item in enumerate(value))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _refuse(path, key, hint.__name__, repr(value)[:80])
    return value


def _refuse(path: Path, key: str, expected: str, found: str) -> OperatorError:
    return OperatorError(
        "this key is not understood", subject=f"{path}: {key}", rule="config", expected=expected, found=found
    )
