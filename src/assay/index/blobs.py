"""Distributions and sidecars by their sha256. A blob is written once, read-only, and never under another name."""

import hashlib
from pathlib import Path

from assay import durable
from assay.model.digests import Sha256


class BlobStore:
    """A folder of blobs, two hex digits a subfolder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: Sha256) -> Path:
        """Where the blob is, or would be."""
        return self.root / sha256[:2] / sha256

    def store(self, source: Path, sha256: Sha256) -> None:
        """Move ``source``, whose digest the caller computed, into the store. Durable on return; idempotent."""
        durable.move_file(source, self.path(sha256))

    def store_bytes(self, data: bytes) -> Sha256:
        """Store ``data`` under its digest. Durable on return; idempotent."""
        sha256 = Sha256(hashlib.sha256(data).hexdigest())
        durable.write_file(self.path(sha256), data, mode=0o444, staging=self.root / durable.STAGING)
        return sha256
