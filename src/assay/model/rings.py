"""The rings of protection that a published file may be in. They do not contain each other: a file is in several."""

from enum import Enum


class Ring(Enum):
    """``SIGNED``: by the index's online keys. ``WITNESSED``: co-signed on another machine. ``SEALED``: by a key that
    was destroyed. ``CLAIMED``: by the project's own developers.
    """

    SIGNED = "signed"
    WITNESSED = "witnessed"
    SEALED = "sealed"
    CLAIMED = "claimed"
