"""How many signatures a second each kind of key makes on this machine."""

import time
from dataclasses import dataclass

from securesystemslib.signer import CryptoSigner, Signer, SSlibKey

from assay.keys.files import Scheme, generate_private_key
from assay.model.errors import KeyUnavailable

_PAYLOAD = b"x" * 20_000
"""About a bin of a small index."""


@dataclass(frozen=True, slots=True)
class Speed:
    """``rate``: signatures per second, one thread, payloads of 20 KB."""

    what: str
    rate: float


def measure(what: str, signer: Signer, seconds: float = 0.5) -> Speed:
    """Sign for ``seconds`` and count. Raises KeyUnavailable when the key does not sign."""
    signer.sign(_PAYLOAD)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        signer.sign(_PAYLOAD)
        count += 1
    return Speed(what, count / elapsed)


def measure_software(seconds: float = 0.5) -> list[Speed]:
    """Every scheme with a key in this process's memory; schemes that this machine lacks are left out."""
    found = []
    for scheme in Scheme:
        try:
            private = generate_private_key(scheme)
        except KeyUnavailable:
            continue
        public = SSlibKey.from_crypto(private.public_key(), scheme=scheme.value)
        found.append(measure(f"{scheme.value} in memory", CryptoSigner(private, public), seconds))
    return found
