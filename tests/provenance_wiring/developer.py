"""Somebody who signs with gpg, as of the day on which the index of these tests lives."""

from provenance.openpgp_makers import Gpg

DAY = "2024-05-23"
"""The day on which the index of these tests lives."""


class Developer:
    """Somebody with an OpenPGP key."""

    def __init__(self, gpg: Gpg, name: str, *, expires: str = "never", at: str = "2024-05-01") -> None:
        self.gpg = gpg
        self.name = name
        try:
            self.fingerprint = gpg.fingerprints(name)[0]
        except RuntimeError:
            self.fingerprint = gpg.make_key(name, "ed25519", "sign", at=at, expires=expires)

    @property
    def certificate(self) -> bytes:
        return self.gpg.export(self.name)

    def sign(self, data: bytes, at: str = DAY) -> bytes:
        return self.gpg.sign(self.name, data, at=at)

    @property
    def revocation(self) -> bytes:
        """What gpg keeps for the bad day: it gives no reason, so nothing counts that the key ever signed."""
        kept = (self.gpg.home / "openpgp-revocs.d" / f"{self.fingerprint}.rev").read_bytes()
        return kept[kept.index(b":-----BEGIN") + 1 :]
