"""What the signer checks for itself before it vouches for a file: it believes neither web nor ledger (threat B16)."""

import hashlib
from datetime import timedelta
from pathlib import Path

from assay.formats.inspect import InspectionLimits, inspect_distribution
from assay.index.blobs import BlobStore
from assay.index.proposals import ProposedFile, PublishFiles
from assay.model.digests import sha256_of
from assay.model.errors import SignerRefused
from assay.model.releases import CLOSE_AFTER


class FileChecks:
    """Checks of proposed files against the blobs they speak of.

    ``upstream_root``: the trust root of the upstream's attestations, None for Sigstore's. ``close_after``: how long a
    release takes files.
    """

    def __init__(
        self,
        blobs: BlobStore,
        limits: InspectionLimits,
        upstream_root: bytes | None = None,
        close_after: timedelta = CLOSE_AFTER,
    ) -> None:
        self.blobs = blobs
        self.close_after = close_after
        self.upstream_root = upstream_root
        self._limits = limits

    def check(self, proposal: PublishFiles, file: ProposedFile) -> None:
        """Raise SignerRefused or InvalidDistribution unless ``file`` is what the proposal says.

        An uploaded file is hashed and inspected again from its blob. A file that is pulled through has no blob yet: its
        hash is the upstream's, first seen wins, and its bytes are checked when they come.
        """
        if proposal.origin == "upstream":
            if file.entry.upstream_url is None:
                raise SignerRefused("a file from upstream without its address", subject=file.entry.filename)
            return
        blob = self.blobs.path(file.entry.sha256)
        _require_bytes(blob, file)
        with blob.open("rb") as stream:
            inspected = inspect_distribution(stream, file.entry.filename, self._limits)
        if inspected.distribution != file.distribution:
            raise SignerRefused("the proposal names another distribution", subject=file.entry.filename)
        sidecar = sha256_of(inspected.metadata_bytes) if file.entry.filename.endswith(".whl") else None
        if file.entry.core_metadata != sidecar:
            raise SignerRefused(
                "the sidecar is not the metadata inside the file",
                subject=file.entry.filename,
                rule="sidecar",
                expected=f"sha256 {sidecar}",
                found=f"sha256 {file.entry.core_metadata}",
            )
        if file.entry.requires_python != inspected.metadata.requires_python:
            raise SignerRefused(
                "the page would show another Requires-Python than the file has",
                subject=file.entry.filename,
                expected=str(inspected.metadata.requires_python),
                found=str(file.entry.requires_python),
            )


def _require_bytes(blob: Path, file: ProposedFile) -> None:
    try:
        with blob.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except FileNotFoundError:
        raise SignerRefused("the file's bytes are not in the blob store", subject=file.entry.filename) from None
    if found != file.entry.sha256 or size != file.entry.size:
        raise SignerRefused(
            "the bytes in the blob store are not those of the proposal",
            subject=file.entry.filename,
            rule="blob-hash",
            expected=f"sha256 {file.entry.sha256}, {file.entry.size} bytes",
            found=f"sha256 {found}, {size} bytes",
        )
