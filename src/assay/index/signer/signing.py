"""What the signer puts into a page about signatures: verified by itself, at its own time, whatever was proposed.

Invariants: an entry gets a signature or provenance only after it verified here against the signers of the same page;
moments on a page only grow, so that what came before a change can be told from what came after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from assay.formats.pages import PageFile, ProjectPage
from assay.index.blobs import BlobStore
from assay.index.proposals import ProposedFile
from assay.index.provenance.attach import Attach
from assay.index.provenance.changes import SignerChange
from assay.index.provenance.evidence import Evidence, ProjectSigners, Subject, vouched_by
from assay.index.provenance.moments import page_moment
from assay.index.provenance.registry import change_signers, publisher_members, root_name
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import SignerRefused
from assay.model.signers import Attached, RegisteredPublisher, Signers, Term
from assay.provenance.attestation_format import Attestation
from assay.provenance.expected import is_same_project, verify_first_seen
from assay.provenance.integrity import MAX_PROVENANCE_BYTES, parse_provenance
from assay.provenance.openpgp import MAX_SIGNATURE_BYTES
from assay.provenance.publishers import parse_publisher, render_publisher
from assay.provenance.sigstore_trust import SigstoreTrust, upstream_trust

CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(slots=True)
class SigningChecks:
    """Checks of one publication. ``published``: the published files; ``staged``: those that this one adds.

    ``require_approval`` refuses a change that the operator did not ask for. ``upstream_root``: the trust root of the
    upstream's attestations, None for Sigstore's.
    """

    blobs: BlobStore
    published: Callable[[str], bytes | None]
    require_approval: Callable[[SignerChange], None]
    upstream_root: bytes | None = None
    staged: dict[str, bytes] = field(default_factory=dict)

    def read(self, name: str) -> bytes | None:
        """The file of that name as it will be published."""
        return self.staged.get(name) or self.published(name)

    def change(self, before: ProjectPage | None, change: SignerChange, now: datetime) -> ProjectPage:
        """The page after a change of its signers. Raises as ``change_signers`` does."""
        page = before or ProjectPage(change.project, "upload", ())
        _require_standing(page)
        self.require_approval(change)
        changed = change_signers(page.signers, change, self.read, page_moment(page, now))
        self.staged |= changed.files
        return replace(page, signers=changed.signers)

    def admit(self, page: ProjectPage, file: ProposedFile, entry: PageFile, now: datetime) -> PageFile:
        """``entry`` of an uploaded file with what lies beside it. Raises VerificationFailed, SignerRefused."""
        if file.entry.upload_time > now + CLOCK_SKEW:
            raise SignerRefused(
                "this file says that it was uploaded in the future",
                subject=file.entry.filename,
                rule="clock",
                expected=f"{now:%Y-%m-%d %H:%M:%S} UTC or earlier",
                found=f"{file.entry.upload_time:%Y-%m-%d %H:%M:%S} UTC",
            )
        came = page_moment(page, now)
        signers = ProjectSigners(page.project, page.signers, self.read)
        signed, attested = file.signature is not None, file.provenance is not None
        signers.require(file.entry.filename, came, signed=signed, attested=attested)
        evidence = self._verify(signers, file.entry, file.signature, file.provenance, came)
        _require_vouching(file, evidence)
        return _with_evidence(entry, evidence, file.signature, file.provenance, came)

    def attach(self, page: ProjectPage | None, proposal: Attach, now: datetime) -> ProjectPage:
        """The page with what ``proposal`` puts beside a published file. Raises VerificationFailed, SignerRefused."""
        entry = page.file(proposal.filename) if page is not None else None
        if page is None or entry is None:
            raise SignerRefused("no such file is published", subject=proposal.filename, rule="not-published")
        came = page_moment(page, now)
        signers = page.signers
        if page.origin == "upstream" and not signers.has_chosen_publisher:
            if proposal.signature is not None:
                raise SignerRefused(
                    "an upstream's files have no signatures here", subject=proposal.filename, rule="not-verified"
                )
            attestations = self._attestations(proposal.provenance)
            trust = upstream_trust(self.upstream_root)
            evidence, signers = _meet(signers, entry, attestations, trust, self._pinned_root(page), now)
        else:
            checks = ProjectSigners(page.project, signers, self.read)
            evidence = self._verify(checks, entry, proposal.signature, proposal.provenance, came)
        entry = _with_evidence(entry, evidence, proposal.signature, proposal.provenance, came)
        return replace(page.with_files((entry,)), signers=signers)

    def _pinned_root(self, page: ProjectPage) -> Sha256 | None:
        """The upstream's own root, published for the clients of ``page``; None for Sigstore's."""
        if self.upstream_root is None:
            return None
        root = sha256_of(self.upstream_root)
        self.staged[root_name(page.project, root)] = self.upstream_root
        return root

    def _verify(
        self,
        signers: ProjectSigners,
        entry: PageFile,
        signature: Sha256 | None,
        provenance: Sha256 | None,
        came: datetime,
    ) -> Evidence:
        """Raises SignerRefused for a signature of bytes that are not here."""
        path = self.blobs.path(entry.sha256)
        return signers.verify(
            Subject(entry.filename, entry.sha256, path),
            signature=self._blob(signature, MAX_SIGNATURE_BYTES) if signature is not None else None,
            attestations=self._attestations(provenance),
            came=came,
            now=came,
        )

    def _attestations(self, provenance: Sha256 | None) -> Sequence[Attestation]:
        if provenance is None:
            return ()
        return parse_provenance(self._blob(provenance, MAX_PROVENANCE_BYTES)).attestations

    def _blob(self, sha256: Sha256, max_bytes: int) -> bytes:
        try:
            with self.blobs.path(sha256).open("rb") as file:
                data = file.read(max_bytes + 1)
        except FileNotFoundError:
            raise SignerRefused("a signature or provenance object is not in the blob store", subject=sha256) from None
        if sha256_of(data) != sha256:
            raise SignerRefused(
                "the bytes in the blob store are not those of the proposal",
                rule="blob-hash",
                expected=f"sha256 {sha256}",
                found=f"sha256 {sha256_of(data)}",
            )
        return data


def _require_standing(page: ProjectPage) -> None:
    if page.tombstone:
        raise SignerRefused("this project was removed; that is for ever", subject=page.project, rule="project-removed")


def _require_vouching(file: ProposedFile, evidence: Evidence) -> None:
    """What the file's target will say about who signed is what was verified here."""
    verified = vouched_by(evidence)
    claimed = {name: file.custom[name] for name in ("signed_by", "attested_by") if name in file.custom}
    if claimed != verified:
        raise SignerRefused(
            "the proposal names other signers than those that verify",
            subject=file.entry.filename,
            rule="vouching",
            expected=str(verified),
            found=str(claimed)[:300],
        )


def _with_evidence(
    entry: PageFile, evidence: Evidence, signature: Sha256 | None, provenance: Sha256 | None, came: datetime
) -> PageFile:
    """The entry with what verified beside it; what is there already and was not sent again stays."""
    if signature is not None:
        entry = replace(entry, signature=Attached(signature, came, evidence.signed_by))
    if provenance is not None:
        entry = replace(entry, provenance=Attached(provenance, came, evidence.attested_by))
    return entry


# --- upstream projects ----------------------------------------------------------------------------------------


def _meet(
    signers: Signers,
    entry: PageFile,
    attestations: Sequence[Attestation],
    trust: SigstoreTrust,
    root: Sha256 | None,
    now: datetime,
) -> tuple[Evidence, Signers]:
    """What an upstream file's attestations say, and the signers with whoever was met first.

    Another publisher than the first one is shown in the entry and not remembered: whether it is accepted, policy says.
    """
    verified = verify_first_seen(attestations, trust, filename=entry.filename, sha256=entry.sha256, now=now)
    evidence = Evidence(attestations=verified)
    seen = [each for each in signers.publishers if each.first_seen and each.term.until is None]
    if not verified:
        return evidence, signers
    if not seen:
        members = publisher_members(dict(render_publisher(verified[0].publisher)))
        added = RegisteredPublisher(members, root, Term(entry.upload_time), first_seen=True)
        return evidence, replace(signers, publishers=(*signers.publishers, added))
    return evidence, replace(
        signers, publishers=tuple(_seen_from(each, entry, evidence) for each in signers.publishers)
    )


def _seen_from(each: RegisteredPublisher, entry: PageFile, evidence: Evidence) -> RegisteredPublisher:
    """``each``, seen from an earlier file on if this one is by it and older."""
    if not each.first_seen or each.term.until is not None or entry.upload_time >= each.term.since:
        return each
    known = parse_publisher(dict(each.members))
    if not any(is_same_project(attestation.publisher, known) for attestation in evidence.attestations):
        return each
    return replace(each, term=replace(each.term, since=entry.upload_time))
