"""Digests as types: a ``Sha256`` is proof that the text is 64 lower-case hex digits."""

import hashlib
import re
from typing import NewType

from assay.model.errors import CallerError

Sha256 = NewType("Sha256", str)

_HEX64 = re.compile(r"\A[0-9a-f]{64}\Z")


def parse_sha256(text: str) -> Sha256:
    """Accept 64 hex digits in either case. Raises CallerError for anything else."""
    if _HEX64.match(text):
        return Sha256(text)
    lowered = text.lower()
    if not _HEX64.match(lowered):
        raise CallerError(
            "not a SHA-256 digest", rule="invalid-digest", found=repr(text[:80]), expected="64 hex digits"
        )
    return Sha256(lowered)


def sha256_of(data: bytes) -> Sha256:
    """The SHA-256 of ``data`` as lower-case hex."""
    return Sha256(hashlib.sha256(data).hexdigest())
