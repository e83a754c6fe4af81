"""The page as the child sees it: the verified page, minus what policy holds back, with URLs that lead back to us.

A file that would fail verification stays: an installer that does not see it would quietly take an older one.
"""

from collections.abc import Container
from dataclasses import replace

from assay.client.proxy.location import Location
from assay.client.proxy.routes import Covered
from assay.formats.pages import PageFile, ProjectPage, version_of


def show_page(published: ProjectPage, base: Location | None, covered: Covered, hidden: Container[str]) -> ProjectPage:
    """What a request is shown of ``published``: not the filenames ``hidden``, which policy keeps off the page.

    ``base``: the simple API that was asked. The index's own shows the page's own, relative URLs. Every other one, and
    None, shows absolute URLs: the upstream's, so that a lock file keeps them, else the index's own.
    """
    files = tuple(file for file in published.files if file.filename not in hidden)
    if base != covered.own_simple:
        files = tuple(_with_absolute_url(published, file, covered) for file in files)
    return replace(published, files=files)


def _with_absolute_url(page: ProjectPage, file: PageFile, covered: Covered) -> PageFile:
    """Without the links that the proxy does not answer. The index's own URL follows from the name alone."""
    own = covered.own
    path = (*own.segments, "packages", page.project, version_of(page.project, file), file.filename)
    url = file.upstream_url or str(Location(own.origin, path))
    return replace(file, url=url, upstream_url=None, signature=None, provenance=None, upstream_provenance=None)
