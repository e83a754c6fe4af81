"""What a project's status means for uploads (PEP 792), with one of our own: ``removed``, which is for ever."""

from typing import Final

from assay.model.errors import NotAllowed
from assay.model.names import ProjectName

ACTIVE: Final = "active"
ARCHIVED: Final = "archived"
QUARANTINED: Final = "quarantined"
DEPRECATED: Final = "deprecated"
REMOVED: Final = "removed"
"""Not PEP 792's: pages show it as ``quarantined`` without files. The name is nobody's again, ever (threat B7)."""

_REFUSALS: Final = {
    ARCHIVED: "this project is archived: it takes no uploads",
    QUARANTINED: "this project is quarantined: it takes no uploads",
    REMOVED: "this project was removed; its name is never given again",
}
_NEXT_STEPS: Final = {
    ARCHIVED: "ask an owner or administrator to reactivate it",
    QUARANTINED: "ask an administrator why, and to reactivate it",
    REMOVED: "choose another name",
}


def require_accepting(project: ProjectName, status: str) -> None:
    """Raise NotAllowed unless a project of ``status`` takes files. Unknown statuses take none."""
    if status in (ACTIVE, DEPRECATED):
        return
    raise NotAllowed(
        _REFUSALS.get(status, "this project takes no uploads"),
        subject=project,
        rule="project-removed" if status == REMOVED else "project-status",
        found=status,
        next_step=_NEXT_STEPS.get(status),
    )
