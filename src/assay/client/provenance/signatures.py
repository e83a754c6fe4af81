"""OpenPGP signatures at install: fetched by the hash that the signed page pins, verified against its certificates.

Invariant: a signature that the page names must be there and verify; one that the page demands must be named.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from assay.client.provenance.context import Checking
from assay.formats.pages import PageFile, ProjectPage
from assay.model.errors import VerificationFailed
from assay.model.signers import Attached, RegisteredCertificate
from assay.provenance.expected import ExpectedCertificate, verify_expected_signature
from assay.provenance.openpgp import MAX_SIGNATURE_BYTES, VerifiedSignature, parse_certificate
from assay.provenance.openpgp_certificate import MAX_CERTIFICATE_BYTES


@dataclass(frozen=True, slots=True)
class SignatureChecks:
    """The checks of one index's OpenPGP signatures."""

    checking: Checking

    async def check(self, page: ProjectPage, entry: PageFile, path: Path) -> VerifiedSignature | None:
        """The verified signature of the file at ``path``, or None. Raises VerificationFailed."""
        if entry.signature is None:
            _require_no_signature(page, entry)
            return None
        return await self.verify(page, entry, entry.signature, path)

    async def verify(self, page: ProjectPage, entry: PageFile, beside: Attached, path: Path) -> VerifiedSignature:
        """The signature of the file at ``path``, verified against the page's certificates."""
        data, expected = await asyncio.gather(
            self.checking.pinned.beside(page.project, entry, ".asc", beside, MAX_SIGNATURE_BYTES),
            self.certificates(page),
        )
        return await asyncio.to_thread(
            verify_expected_signature,
            data,
            path,
            expected,
            came=beside.since,
            now=self.checking.clock(),
            retired_keys=self.checking.policy.retired_keys,
        )

    async def certificates(self, page: ProjectPage) -> tuple[ExpectedCertificate, ...]:
        """Every certificate that the page names, fetched and read."""
        return tuple(await asyncio.gather(*(self._certificate(page, each) for each in page.signers.certificates)))

    async def _certificate(self, page: ProjectPage, each: RegisteredCertificate) -> ExpectedCertificate:
        name = f"certificates/{page.project}/{each.sha256}.pgp"
        certificate = parse_certificate(await self.checking.pinned.published(name, each.sha256, MAX_CERTIFICATE_BYTES))
        if certificate.fingerprint != each.fingerprint:
            raise VerificationFailed(
                "the page names another certificate than the one it pins",
                rule="signer-pin",
                expected=each.fingerprint,
                found=certificate.fingerprint,
            )
        return ExpectedCertificate(certificate, each.term)


def _require_no_signature(page: ProjectPage, entry: PageFile) -> None:
    if page.signers.demand_signature(entry.upload_time):
        raise VerificationFailed(
            "files of this project must be signed, and nothing says that this one is",
            rule="signature-missing",
            subject=entry.filename,
            expected="a signature by " + " or ".join(each.fingerprint for each in page.signers.certificates),
            next_step="do not install it; tell the index's operator",
        )
