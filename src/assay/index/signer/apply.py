"""From proposals to pages and targets. Pure: pages in, pages and changes out.

A proposal is refused by itself, with the reason its uploader reads; the others of the same publication go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from assay.formats.pages import PageFile, ProjectPage
from assay.index.ledger.publications import OutboxRow
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.provenance.attach import Attach
from assay.index.provenance.changes import SignerChange
from assay.index.signer.claims import ClaimUpdate
from assay.index.signer.signing import SigningChecks
from assay.index.signer.states import change_state
from assay.model.digests import Sha256
from assay.model.distributions import parse_distribution
from assay.model.errors import AssayError, SignerRefused
from assay.model.names import ProjectName
from assay.model.releases import CLOSE_AFTER, require_open
from assay.model.statuses import REMOVED, require_accepting
from assay.trust.layout import TargetPath, file_target
from assay.trust.plan import NewTarget

JudgeClaim = Callable[[PublishFiles, ClaimUpdate | None, Sequence[NewTarget], datetime], ClaimUpdate | None]


@dataclass(slots=True)
class Applied:
    """What the proposals of one publication come to: new pages by project, new targets, refusals by outbox number.

    ``removed``: paths that leave for good, with the hash that they will always have had. ``claims``: the roles of
    claimed projects, which list what ``targets`` would list of others. ``files``: certificates and trust roots that
    pages pin, by their published names.
    """

    pages: dict[ProjectName, ProjectPage] = field(default_factory=dict)
    targets: list[NewTarget] = field(default_factory=list)
    claims: dict[ProjectName, ClaimUpdate] = field(default_factory=dict)
    removed: dict[TargetPath, Sha256] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    refused: dict[int, AssayError] = field(default_factory=dict)


def apply_proposals(
    rows: Sequence[OutboxRow],
    published_page: Callable[[ProjectName], ProjectPage | None],
    check_file: Callable[[PublishFiles, ProposedFile], None],
    judge_claim: JudgeClaim,
    signing: SigningChecks,
    now: datetime,
    close_after: timedelta = CLOSE_AFTER,
) -> Applied:
    """Apply ``rows`` in order on top of ``published_page``, at ``now``. A release takes files for ``close_after``.

    ``check_file`` raises for a file that may not be vouched for (its bytes, its archive). Errors of one proposal land
    in ``refused`` and leave no trace in the pages. ``judge_claim``: ``PublishedClaims.judge``. ``signing`` checks what
    lies beside files.
    """
    applied = Applied(files=signing.staged)
    for row in rows:
        project = row.proposal.project
        try:
            before = applied.pages.get(project) or published_page(project)
            targets, gone, claim = list[NewTarget](), tuple[PageFile, ...](), None
            if isinstance(row.proposal, PublishFiles):
                waiting = _waiting_for(applied, project) if row.proposal.claim is not None else ()
                claim = judge_claim(row.proposal, applied.claims.get(project), waiting, now)
                page, targets = _publish(before, row.proposal, check_file, signing, now, close_after)
            elif isinstance(row.proposal, Attach):
                page = signing.attach(before, row.proposal, now)
            elif isinstance(row.proposal, SignerChange):
                page = signing.change(before, row.proposal, now)
            else:
                page, gone = change_state(before, row.proposal, now)
        except AssayError as error:
            applied.refused[row.seq] = error
            continue
        applied.pages[project] = page
        if claim is not None:
            applied.claims[project] = claim
        elif project not in applied.claims:
            applied.targets.extend(targets)
        applied.removed |= {_path(project, file): file.sha256 for file in gone}
    applied.targets = [target for target in applied.targets if target.path not in applied.removed]
    return applied


def _waiting_for(applied: Applied, project: ProjectName) -> list[NewTarget]:
    return [target for target in applied.targets if target.path.split("/")[1] == project]


def _publish(
    before: ProjectPage | None,
    proposal: PublishFiles,
    check_file: Callable[[PublishFiles, ProposedFile], None],
    signing: SigningChecks,
    now: datetime,
    close_after: timedelta,
) -> tuple[ProjectPage, list[NewTarget]]:
    page = before or ProjectPage(proposal.project, proposal.origin, ())
    if page.origin != proposal.origin:
        raise SignerRefused(
            "a project is either uploaded here or pulled through, never both",
            subject=proposal.project,
            rule="origin-changed",
            expected=page.origin,
            found=proposal.origin,
        )
    require_accepting(page.project, REMOVED if page.tombstone else page.status)
    targets, entries = [], []
    for file in proposal.files:
        _require_unpublished(page, file.entry)
        if proposal.origin == "upload" and page.file(file.entry.filename) is None:
            version = file.distribution.version
            require_open(page.project, version, page.first_upload(version), now, close_after)
        check_file(proposal, file)
        entry = _with_past(page, file.entry)
        entries.append(signing.admit(page, file, entry, now) if proposal.origin == "upload" else entry)
        targets.append(NewTarget(file_target(file.distribution), file.entry.size, file.entry.sha256, file.custom))
    return page.with_files(tuple(entries)), targets


def _with_past(page: ProjectPage, entry: PageFile) -> PageFile:
    """``entry``; of a file that is published already, with what lies beside it and the moment that it came."""
    known = page.file(entry.filename)
    if known is None:
        return entry
    return replace(entry, upload_time=known.upload_time, signature=known.signature, provenance=known.provenance)


def _require_unpublished(page: ProjectPage, new: PageFile) -> None:
    known = page.known_hash(new.filename)
    if any(file.filename == new.filename for file in page.removed):
        raise SignerRefused(
            "this file was removed; a removed name never returns",
            subject=new.filename,
            rule="filename-removed",
            expected="a name that was never used",
            found=f"sha256 {new.sha256}",
        )
    if known is not None and known != new.sha256:
        raise SignerRefused(
            "this filename was published with other bytes; one path has one hash, for ever",
            subject=new.filename,
            rule="second-hash",
            expected=f"sha256 {known}",
            found=f"sha256 {new.sha256}",
        )


def _path(project: ProjectName, file: PageFile) -> TargetPath:
    return file_target(parse_distribution(file.filename, project))
