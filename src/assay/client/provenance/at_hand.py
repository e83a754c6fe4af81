"""A file and its signature at hand: what ``gpg --verify`` leaves to the reader, decided."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from assay.client.trusted_index import TrustedIndex
from assay.model.digests import sha256_of
from assay.model.distributions import parse_distribution
from assay.model.errors import CallerError, NotFound
from assay.provenance.expected import verify_expected_signature
from assay.provenance.openpgp import MAX_SIGNATURE_BYTES, VerifiedSignature, parse_certificate, verify_signature
from assay.provenance.openpgp_certificate import MAX_CERTIFICATE_BYTES

_ANY_TIME: Final = timedelta(days=365_000)
"""Nobody uploaded a file at hand, so its signature need not be near any upload."""


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The bytes of ``path``, one more than allowed where there are more. Raises CallerError."""
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise CallerError(f"cannot be read: {error.strerror}", subject=str(path)) from error


def verify_with_certificates(
    path: Path, signature: Path, certificates: Sequence[Path], now: datetime
) -> VerifiedSignature:
    """Check that a key of one of ``certificates`` signed the file at ``path``; it must be good now.

    Raises VerificationFailed with a rule of docs/provenance.md.
    """
    known = [parse_certificate(read_bounded(file, MAX_CERTIFICATE_BYTES)) for file in certificates]
    data = read_bounded(signature, MAX_SIGNATURE_BYTES)
    return verify_signature(data, path, known, uploaded_at=now, now=now, tolerance=_ANY_TIME)


async def verify_with_index(index: TrustedIndex, path: Path, signature: Path, now: datetime) -> VerifiedSignature:
    """Check that a certificate that the file's project registered signed the file at ``path``.

    A signature that the index has counts as of when it came there, any other one as of ``now``. Raises as above, and
    NotFound where the index has no such project.
    """
    distribution = parse_distribution(path.name)
    page = await index.page(distribution.project)
    if page is None:
        raise NotFound("the index has no such project", subject=distribution.project)
    data = read_bounded(signature, MAX_SIGNATURE_BYTES)
    entry = page.page.file(distribution.filename)
    known = entry.signature if entry is not None else None
    came = known.since if known is not None and known.sha256 == sha256_of(data) else now
    expected = await index.provenance_checks().openpgp.certificates(page.page)
    return verify_expected_signature(data, path, expected, came=came, now=now)
