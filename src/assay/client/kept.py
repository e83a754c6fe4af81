"""Files that lie on this machine: whole or not, and whether a wheel says of itself what its sidecar said."""

import hashlib
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

from assay.formats.pages import PageFile
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import Distribution
from assay.model.errors import VerificationFailed

MAX_SIDECAR_BYTES = 16_000_000
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA\Z")


def is_kept(path: Path, sha256: Sha256) -> bool:
    """Whether the kept copy is still whole; hashed again at every use."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def read_kept(path: Path) -> bytes | None:
    """The file's bytes; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def require_sidecar(path: Path, distribution: Distribution, entry: PageFile) -> None:
    """What resolvers read from the sidecar must be what the wheel itself says (threat A8)."""
    from assay.formats.wheel import read_wheel_metadata  # not before a run's first wheel

    with path.open("rb") as stream:
        if entry.upstream_url is None:
            data = read_wheel_metadata(stream, distribution.filename)
        else:
            data = _read_foreign_metadata(stream, distribution.filename)
    if sha256_of(data) != entry.core_metadata:
        raise VerificationFailed(
            "the wheel's own METADATA is not the sidecar that was shown for it",
            subject=distribution.filename,
            rule="sidecar",
            expected=f"sha256 {entry.core_metadata}",
            found=f"sha256 {sha256_of(data)}",
        )


def _read_foreign_metadata(stream: BinaryIO, filename: str) -> bytes:
    """METADATA of a wheel that never went through our admission, as installers read it: odd names are tolerated."""
    try:
        with zipfile.ZipFile(stream) as archive:
            names = [name for name in archive.namelist() if _METADATA.match(name)]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > MAX_SIDECAR_BYTES:
                raise ValueError(f"{len(names)} METADATA files")
            return archive.read(names[0])
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise VerificationFailed(
            "not a readable wheel", subject=filename, rule="wheel-unreadable", found=str(error)
        ) from error
