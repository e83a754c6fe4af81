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
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, ROOT, TARGETS, Lifetimes

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
        if signed.expires - now > spans[role] * RENEW_AT or not keys.path(role).exists():
            continue
        body = deepcopy(signed)
        body.version += 1
        body.expires = now + spans[role]
        renewed[role] = body.version, sign_envelope(body, [load_key_file(keys.path(role), passphrase)])
    return renewed
