"""Signing offline roles again before they expire, where their keys still lie beside the index.

That is so for the local index of one user and for demos; everybody else renews in a ceremony.
"""

from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from typing import Final

from tuf.api.metadata import Root, Targets

from assay.keys.files import load_key_file
from assay.keys.local import KeyFolder
from assay.trust.claims import is_claiming
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, CLAIMED, ROOT, TARGETS, Lifetimes

RENEW_AT: Final = 0.5
"""Renewed when half of the lifetime is gone."""


def renew_offline_roles(
    keys: KeyFolder,
    passphrase: bytes | None,
    current: Mapping[str, Root | Targets],
    now: datetime,
    lifetimes: Lifetimes,
) -> dict[str, tuple[int, bytes]]:
    """New versions of those of ``current`` (role -> signed) that are due and whose key file is here.

    Returns role -> version and file. Raises KeyUnavailable when a key file does not open.
    """
    spans = {ROOT: lifetimes.root, TARGETS: lifetimes.targets, BINS: lifetimes.bins}
    renewed = {}
    for role, signed in current.items():
        span = spans.get(role, lifetimes.claimed)
        key = keys.path(TARGETS if is_claiming(role, CLAIMED) else role)
        if signed.expires - now > span * RENEW_AT or not key.exists():
            continue
        body = deepcopy(signed)
        body.version += 1
        body.expires = now + span
        renewed[role] = body.version, sign_envelope(body, [load_key_file(key, passphrase)])
    return renewed
