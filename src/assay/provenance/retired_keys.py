"""What policy says of OpenPGP keys that have ended; apart from the verifier, so that reading a policy loads none."""

from enum import Enum


class RetiredKeys(Enum):
    """What to do with a key that was good when it signed and has expired, or was retired or superseded, since.

    ``REFUSE`` is the rule. ``ACCEPT_EARLIER`` is a named leniency for files that were uploaded before the key ended,
    on the word of the index's signed upload time. A key revoked as compromised, or without a reason, is refused in
    any case.
    """

    REFUSE = "refuse"
    ACCEPT_EARLIER = "accept-earlier"
