"""What becomes of a page when a file is yanked or removed, or the project's status changes. Pure: pages in, pages out.

Invariants: nothing here adds a file; a removed filename stays on the page with its hash for ever; a tombstone stays.
"""

from dataclasses import replace
from datetime import datetime

from assay.formats.pages import PageFile, ProjectPage, RemovedFile, sort_files
from assay.index.proposals import Entomb, Remove, SetStatus, Yank
from assay.model.errors import SignerRefused
from assay.model.names import ProjectName
from assay.model.statuses import ACTIVE, QUARANTINED

REMOVED_REASON = "this project was removed"


def change_state(
    before: ProjectPage | None, proposal: Yank | Remove | SetStatus | Entomb, now: datetime
) -> tuple[ProjectPage, tuple[PageFile, ...]]:
    """The page after ``proposal``, and the files that leave it for good. Raises SignerRefused."""
    if isinstance(proposal, Entomb):
        return _entomb(before or ProjectPage(proposal.project, "upload", ()), now)
    page = _require_page(before, proposal.project)
    match proposal:
        case Yank(filename=filename, reason=reason):
            return _replace_file(page, _require_file(page, filename).yank(reason)), ()
        case Remove(filename=filename):
            file = _require_file(page, filename)
            return _without(page, (file,), now), (file,)
        case SetStatus():
            return _with_status(page, proposal), ()


def _require_page(page: ProjectPage | None, project: ProjectName) -> ProjectPage:
    if page is None:
        raise SignerRefused("no page of this project is published", subject=project, rule="not-published")
    if page.tombstone:
        raise SignerRefused("this project was removed; that is for ever", subject=project, rule="project-removed")
    return page


def _require_file(page: ProjectPage, filename: str) -> PageFile:
    found = next((file for file in (*page.files, *page.withheld) if file.filename == filename), None)
    if found is None:
        raise SignerRefused("no such file is published", subject=filename, rule="not-published")
    return found


def _replace_file(page: ProjectPage, new: PageFile) -> ProjectPage:
    def replaced(files: tuple[PageFile, ...]) -> tuple[PageFile, ...]:
        return tuple(new if file.filename == new.filename else file for file in files)

    return replace(page, files=replaced(page.files), withheld=replaced(page.withheld))


def _without(page: ProjectPage, gone: tuple[PageFile, ...], now: datetime) -> ProjectPage:
    names = {file.filename for file in gone}
    removed = (*page.removed, *(RemovedFile(file.filename, file.sha256, file.upload_time, now) for file in gone))
    return replace(
        page,
        files=tuple(file for file in page.files if file.filename not in names),
        withheld=tuple(file for file in page.withheld if file.filename not in names),
        removed=tuple(sorted(removed, key=lambda file: file.filename)),
    )


def _with_status(page: ProjectPage, proposal: SetStatus) -> ProjectPage:
    """A quarantined page offers nothing; whatever status follows, its files are offered again."""
    every = sort_files(page.project, (*page.files, *page.withheld))
    hidden = proposal.status == QUARANTINED
    return replace(
        page,
        status=proposal.status,
        status_reason=proposal.reason if proposal.status != ACTIVE else None,
        files=() if hidden else every,
        withheld=every if hidden else (),
    )


def _entomb(page: ProjectPage, now: datetime) -> tuple[ProjectPage, tuple[PageFile, ...]]:
    every = (*page.files, *page.withheld)
    empty = _without(page, every, now)
    return replace(empty, status=QUARANTINED, status_reason=REMOVED_REASON, tombstone=True), every
