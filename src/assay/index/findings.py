"""What an examination of an index finds, for people who must do something about it."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know. ``wrong`` means that the parts contradict each other, or that clients are refused."""

    severity: Severity
    subject: str
    text: str
    next_step: str | None = None
