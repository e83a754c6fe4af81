"""Hostile documents made of good ones: bytes spoilt, JSON trees with one branch that nobody expects."""

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import orjson

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**53, 2**63, -(2**63), 1e300),
    *("", "\x00", "..", "../../etc/passwd", "x" * 5_000, "\u202e", "2026-13-45T99:99:99Z", "9" * 400),
    *([], {}, [[]], {"": {}}, {"sha256": ""}, ["x"] * 3_000),
)

ODD = (b"[" * 2_000, b'{"a":' * 2_000, b"\xff\xfe", b"\x00", b"9" * 5_000)


def spoil_bytes(data: bytes, random: Random) -> bytes:
    """A few bytes of ``data`` changed, lost, doubled or new."""
    spoilt = bytearray(data)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(spoilt) + 1)
        match random.randrange(5):
            case 0:
                spoilt[place : place + 1] = bytes([random.randrange(256)])
            case 1:
                del spoilt[place : place + random.randint(1, 40)]
            case 2:
                spoilt[place:place] = spoilt[place : place + random.randint(1, 40)]
            case 3:
                spoilt[place:place] = random.choice(
                    [b"[" * 2_000, b'{"a":' * 2_000, b"\xff\xfe", b"\x00", b"9" * 5_000]
                )
            case 4:
                del spoilt[place:]
    return bytes(spoilt)


def spoil_tree(document: Any, random: Random) -> Any:
    """A copy of the JSON value ``document`` with one to three of its branches replaced, renamed, copied or gone."""
    spoilt = deepcopy(document)
    for _ in range(random.randint(1, 3)):
        places = _branches(spoilt)
        if not places:
            break
        holder, key = random.choice(places)
        match random.randrange(5):
            case 0:
                del holder[key]
            case 1:
                other, name = random.choice(places)
                holder[key] = deepcopy(other[name])
            case 2 if isinstance(holder, dict):
                holder[random.choice(["", "..", "x" * 600, "\u0000", f"{key}/", "signed"])] = holder.pop(key)
            case _:
                holder[key] = random.choice([*HOSTILE, _deep(300)])
    return spoilt


def spoil_json(data: bytes, random: Random) -> bytes:
    """``data``, which is JSON, spoilt as a tree or as bytes."""
    if random.randrange(3) == 0:
        return spoil_bytes(data, random)
    try:
        return orjson.dumps(spoil_tree(orjson.loads(data), random))
    except (TypeError, RecursionError, orjson.JSONEncodeError):  # deeper than JSON is written
        return spoil_bytes(data, random)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _branches(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        found += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys]
        if len(found) > 5_000:
            break
    return found


Spoil = Callable[[bytes, Random], bytes]
