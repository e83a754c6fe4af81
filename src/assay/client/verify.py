"""Are these files what the index vouches for under their names?"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.client.trusted_index import TrustedIndex
from assay.model.digests import Sha256
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AssayError, CallerError, RefusedByPolicy, VerificationFailed
from assay.trust.layout import file_target

if TYPE_CHECKING:
    from assay.client.provenance.checks import FileEvidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """One file's verdict: ``error`` None means that it is what the index vouches for.

    ``evidence``: the signatures and attestations that verified.
    """

    path: Path
    sha256: Sha256 | None
    error: AssayError | None
    evidence: "FileEvidence | None" = None


async def verify_file(index: TrustedIndex, path: Path) -> Verdict:
    """Is the file at ``path`` what ``index`` vouches for under its name? Raises only when the index itself fails."""
    try:
        with path.open("rb") as file:
            found = Sha256(hashlib.file_digest(file, "sha256").hexdigest())
            size = file.tell()
    except OSError as error:
        return Verdict(path, None, CallerError(f"cannot be read: {error.strerror}", subject=str(path)))
    try:
        distribution = parse_distribution(path.name)
        page = await index.page(distribution.project)
        if page is None or page.page.file(distribution.filename) is None:
            raise VerificationFailed("nobody vouches for this file", subject=path.name, rule="not-vouched-for")
        target = await index.target(file_target(distribution))
    except CallerError as error:
        return Verdict(path, found, error)
    except VerificationFailed as error:
        return Verdict(path, found, error)
    if (found, size) == (target.sha256, target.length):
        return await _verify_signers(index, distribution, path, found)
    mismatch = VerificationFailed(
        "the file is not what was vouched for",
        subject=path.name,
        rule="target-hash",
        expected=f"sha256 {target.sha256}, {target.length} bytes",
        found=f"sha256 {found}, {size} bytes",
        next_step="do not install it",
    )
    return Verdict(path, found, mismatch)


async def _verify_signers(index: TrustedIndex, distribution: Distribution, path: Path, sha256: Sha256) -> Verdict:
    """The verdict on a file whose bytes are those that are vouched for: who signed it?"""
    try:
        return Verdict(path, sha256, None, await index.evidence(distribution, path))
    except (VerificationFailed, RefusedByPolicy) as error:
        return Verdict(path, sha256, error)
