"""When a release is closed: no file joins it later, so that a forged, more specific wheel cannot (threat B5)."""

from datetime import datetime, timedelta
from typing import Final

from packaging.utils import canonicalize_version
from packaging.version import Version

from assay.model.errors import NotAllowed
from assay.model.names import ProjectName

CLOSE_AFTER: Final = timedelta(days=14)
_DAY: Final = timedelta(days=1)


def release_of(version: str) -> str:
    """The release that ``version`` (PEP 440) belongs to, in one spelling: without zeros at its end, without local part.

    ``1.0``, ``1.0.0`` and ``1.0+cuda`` are one release, because a requirement ``==1.0`` takes any of them: a file under
    another spelling joins the release as much as one under the same.
    """
    return canonicalize_version(Version(version).public)


def is_closed(first_upload: datetime, now: datetime, close_after: timedelta = CLOSE_AFTER) -> bool:
    """Whether a release whose first file came at ``first_upload`` takes no more files at ``now``."""
    return first_upload + close_after <= now


def require_open(
    project: ProjectName,
    version: str,
    first_upload: datetime | None,
    now: datetime,
    close_after: timedelta = CLOSE_AFTER,
) -> None:
    """Raise NotAllowed when the release is closed; ``first_upload`` None: it has no file yet."""
    if first_upload is not None and is_closed(first_upload, now, close_after):
        began = f"{first_upload:%Y-%m-%d %H:%M} UTC"
        raise NotAllowed(
            "this release is closed: it takes no more files",
            subject=f"{project} {version}",
            rule="release-closed",
            expected=f"an upload within {close_after / _DAY:g} days of the first one, {began}",
            next_step="publish a new version",
        )
