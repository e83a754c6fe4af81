"""The page as the child sees it: the verified page, minus what policy holds back, with URLs that lead back to us.

A file that would fail verification stays: an installer that does not see it would quietly take an older one.
"""

from dataclasses import replace
from datetime import datetime

from assay.client.policy import Policy
from assay.client.proxy.location import Location
from assay.client.proxy.routes import Covered
from assay.formats.pages import PageFile, ProjectPage, version_of


def show_page(
    published: ProjectPage, base: Location | None, covered: Covered, policy: Policy, now: datetime
) -> tuple[ProjectPage, tuple[str, ...]]:
    """What a request is shown of ``published`` at ``now`` (UTC), and the filenames that the cooldown left out of it.

    ``base``: the simple API that was asked. The index's own shows the page's own, relative URLs. Every other one, and
    None, shows absolute URLs: the upstream's, so that a lock file keeps them, else the index's own.
    """
    cooling = tuple(
        file.filename for file in published.files if policy.is_cooling(published.project, file.upload_time, now)
    )
    files = tuple(file for file in published.files if file.filename not in cooling)
    if base != covered.own_simple:
        files = tuple(_with_absolute_url(published, file, covered) for file in files)
    return replace(published, files=files), cooling


def _with_absolute_url(page: ProjectPage, file: PageFile, covered: Covered) -> PageFile:
    """Without the links that the proxy does not answer. The index's own URL follows from the name alone."""
    own = covered.own
    path = (*own.segments, "packages", page.project, version_of(page.project, file), file.filename)
    url = file.upstream_url or str(Location(own.origin, path))
    return replace(file, url=url, upstream_url=None, signature=None, provenance=None, upstream_provenance=None)
