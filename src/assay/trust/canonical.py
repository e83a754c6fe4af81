"""Canonical JSON of signed roles (OLPC canonical JSON, TUF 1.0.34 section 4.2), fast where that is provably the same.

orjson with sorted keys writes the same bytes as securesystemslib's reference encoder unless a string holds a control
character (orjson escapes it, the reference does not) or a number is not an integer (the reference refuses it). The line
ends of PEM keys are unescaped here; whatever else may differ is recognised in orjson's output and handed to the
reference encoder. The equivalence is a property test.
"""

import re
from contextlib import suppress
from typing import Any

import orjson
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from assay.model.errors import VerificationFailed

_FRACTIONS = [re.compile(before + rb"-?\d+[.eE]") for before in (rb'":', rb",", rb"\[")]
"""One pattern for each beginning of a number: with a fixed first byte ``re`` skips to it. Times in strings have none"""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_CONTROL = re.compile(rb"[\x00-\x1f]")
_ESCAPE = re.compile(rb"\\(.)")
_SAME = {b'"': b'\\"', b"\\": b"\\\\", b"n": b"\n"}
"""What the reference writes for what orjson escapes so."""


def encode(document: dict[str, Any], integral: str | None = None) -> bytes:
    """The canonical bytes of ``document``. Raises VerificationFailed where canonical JSON has no form for it.

    ``integral``: a member that the caller has found to hold no fractions, which is not searched for them again.
    """
    try:
        fast = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        searched = fast
        if integral is not None:
            rest = {name: value for name, value in document.items() if name != integral}
            searched = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)
        if not (_has_fraction(searched) and _has_fraction(_STRING.sub(b'""', searched))):  # most are times in strings
            with suppress(KeyError):
                return _ESCAPE.sub(lambda found: _SAME[found[1]], fast) if b"\\" in fast else fast
        return str(encode_canonical(document)).encode("utf-8")
    except (TypeError, ValueError, FormatError) as error:
        raise VerificationFailed(f"no canonical JSON for this document: {error}", rule="malformed") from error


def is_json(payload: bytes) -> bool:
    """Whether canonical bytes are JSON as ``orjson`` writes it, too: those of strings that need an escape are not."""
    return b"\\" not in payload and not _CONTROL.search(payload)


def _has_fraction(data: bytes) -> bool:
    return any(fraction.search(data) for fraction in _FRACTIONS)
