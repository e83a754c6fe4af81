"""The page pointers of a bulk publication: a list beside the published files, too long for the row of the head."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from assay.index.published import PublishedStore
from assay.model.names import ProjectName
from assay.trust.layout import TargetPath, hashed_path, page_target

POINTERS: Final = ".pages"


def pointer_list(number: int) -> str:
    """Where the page pointers of publication ``number`` are listed until they are set."""
    return f"{POINTERS}/{number}"


def set_pointers(published: PublishedStore, number: int) -> None:
    """Show the pages of a publication that came in bulk, if ``number`` did. Idempotent; durable on return."""
    listed = published.path(pointer_list(number))
    if not listed.exists():
        return
    for path, target in _pointers(listed):
        published.point_later(path, target)
    published.sync()
    listed.unlink()


def _pointers(listed: Path) -> Iterator[tuple[TargetPath, str]]:
    with listed.open(encoding="ascii") as lines:
        for line in lines:
            project, digest = line.split()
            path = page_target(ProjectName(project))
            yield path, hashed_path(path, digest)
