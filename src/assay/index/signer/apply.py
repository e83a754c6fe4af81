"""From proposals to pages and targets. Pure: pages in, pages and changes out.

A proposal is refused by itself, with the reason its uploader reads; the others of the same publication go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from assay.formats.pages import PageFile, ProjectPage
from assay.index.ledger.publications import OutboxRow
from assay.index.proposals import ProposedFile, PublishFiles, Yank
from assay.model.errors import AssayError, SignerRefused
from assay.model.names import ProjectName
from assay.model.releases import require_open
from assay.trust.layout import file_target
from assay.trust.plan import NewTarget


@dataclass(slots=True)
class Applied:
    """What the proposals of one publication come to: new pages by project, new targets, refusals by outbox number."""

    pages: dict[ProjectName, ProjectPage] = field(default_factory=dict)
    targets: list[NewTarget] = field(default_factory=list)
    refused: dict[int, AssayError] = field(default_factory=dict)


def apply_proposals(
    rows: Sequence[OutboxRow],
    published_page: Callable[[ProjectName], ProjectPage | None],
    check_file: Callable[[PublishFiles, ProposedFile], None],
    now: datetime,
) -> Applied:
    """Apply ``rows`` in order on top of ``published_page``, at ``now``.

    ``check_file`` raises for a file that may not be vouched for (its bytes, its archive). Errors of one proposal land
    in ``refused`` and leave no trace in the pages.
    """
    applied = Applied()
    for row in rows:
        project = row.proposal.project
        try:
            before = applied.pages.get(project) or published_page(project)
            if isinstance(row.proposal, Yank):
                page, targets = _yank(before, row.proposal), list[NewTarget]()
            else:
                page, targets = _publish(before, row.proposal, check_file, now)
        except AssayError as error:
            applied.refused[row.seq] = error
            continue
        applied.pages[project] = page
        applied.targets.extend(targets)
    return applied


def _publish(
    before: ProjectPage | None,
    proposal: PublishFiles,
    check_file: Callable[[PublishFiles, ProposedFile], None],
    now: datetime,
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
    targets = []
    for file in proposal.files:
        _require_unpublished(page.file(file.entry.filename), file.entry)
        if proposal.origin == "upload" and page.file(file.entry.filename) is None:
            version = file.distribution.version
            require_open(page.project, version, page.first_upload(version), now)
        check_file(proposal, file)
        targets.append(NewTarget(file_target(file.distribution), file.entry.size, file.entry.sha256, file.custom))
    return page.with_files(tuple(file.entry for file in proposal.files)), targets


def _require_unpublished(old: PageFile | None, new: PageFile) -> None:
    if old is not None and old.sha256 != new.sha256:
        raise SignerRefused(
            "this filename was published with other bytes; one path has one hash, for ever",
            subject=new.filename,
            rule="second-hash",
            expected=f"sha256 {old.sha256}",
            found=f"sha256 {new.sha256}",
        )


def _yank(before: ProjectPage | None, proposal: Yank) -> ProjectPage:
    old = before.file(proposal.filename) if before else None
    if before is None or old is None:
        raise SignerRefused("no such file is published", subject=proposal.filename, rule="not-published")
    return before.with_files((old.yank(proposal.reason),))
