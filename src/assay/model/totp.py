"""One-time passwords by the clock (RFC 6238): six digits, SHA-1, 30 seconds, as every app makes them. Pure."""

import hashlib
import hmac
from datetime import datetime
from typing import Final

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20
DRIFT_STEPS: Final = 1
"""A clock may be one step off, and typing takes a while (RFC 6238 section 5.2)."""


def step_at(now: datetime) -> int:
    """The number of the time step that ``now`` lies in."""
    return int(now.timestamp()) // STEP_S


def code_at(secret: bytes, step: int) -> str:
    """The code of a time step."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def accepted_step(secret: bytes, code: str, now: datetime, used: int) -> int | None:
    """The step that ``code`` is of, if it is acceptable at ``now``; None otherwise.

    ``used``: the last step that was accepted; neither it nor an earlier one is accepted again.
    """
    current, found = step_at(now), None
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.strip().encode()) and step > used:
            found = step
    return found
