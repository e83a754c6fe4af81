"""``/pypi/<project>/json`` and ``/pypi/<project>/<version>/json``, made from the published page.

Invariant: every file, hash and yank stands on the page; only ``info`` adds what the newest file's METADATA says.
poetry and pipenv read this document; its fields follow the Warehouse JSON API. What Assay does not keep (downloads,
serial numbers, other digests) is absent, or has the value that API documents for "unknown". Who signed a file, as the
index verified it, stands in ``_signed_by`` (OpenPGP) and ``_attested_by`` (PEP 740).
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from packaging.version import Version

from assay.formats.core_metadata import CoreMetadata
from assay.formats.pages import PageFile, ProjectPage, format_time, provenance_url, version_of, versions_of
from assay.model.distributions import DistributionKind, parse_distribution
from assay.model.names import ProjectName

_PATH_TO_ROOT: Final = "../../"


def newest_version(page: ProjectPage) -> str | None:
    """The version an installer would take first: final before pre-release, kept before yanked. None: no files."""
    versions = versions_of(page)
    kept = {version_of(page.project, file) for file in page.files if file.yanked is None}
    final = [version for version in versions if version in kept and not Version(version).is_prerelease]
    return next((group[-1] for group in (final, [v for v in versions if v in kept], versions) if group), None)


def files_of(page: ProjectPage, version: str) -> tuple[PageFile, ...]:
    """The files of one release; ``version`` in canonical form."""
    return tuple(file for file in page.files if version_of(page.project, file) == version)


def render_project_json(
    page: ProjectPage, metadata: CoreMetadata | None, version: str, base_url: str, *, every_release: bool = True
) -> bytes:
    """The JSON API's document about ``version`` of ``page``.

    ``metadata``: the METADATA of a file of that version, None where none is kept (a release of sdists only);
    ``requires_dist`` is then null, which makes poetry look into the files.
    ``base_url``: the index's own address with a trailing slash; file URLs become absolute. ``every_release``: with the
    ``releases`` key, as ``/pypi/<project>/json`` has it and the document of a single version has not.
    """
    files = files_of(page, version)
    document: dict[str, Any] = {
        "info": _render_info(page.project, version, files, metadata, base_url),
        "last_serial": -1,
        "urls": [_render_file(page.project, file, base_url) for file in files],
        "vulnerabilities": [],
    }
    if every_release:
        document["releases"] = _render_releases(page, base_url)
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _render_releases(page: ProjectPage, base_url: str) -> dict[str, list[dict[str, Any]]]:
    releases: dict[str, list[dict[str, Any]]] = {}
    for file in page.files:
        releases.setdefault(version_of(page.project, file), []).append(_render_file(page.project, file, base_url))
    return releases


def _render_info(
    project: ProjectName, version: str, files: Sequence[PageFile], metadata: CoreMetadata | None, base_url: str
) -> dict[str, Any]:
    facts = metadata or CoreMetadata("", project, version)
    yanked = [file.yanked for file in files if file.yanked is not None]
    is_yanked = bool(files) and len(yanked) == len(files)
    requires_python = facts.requires_python or next((file.requires_python for file in files), None)
    page_url = f"{base_url}simple/{project}/"
    return {
        "author": facts.author or "",
        "author_email": facts.author_email or "",
        "bugtrack_url": None,
        "classifiers": facts.classifiers,
        "description": facts.description or "",
        "description_content_type": facts.description_content_type,
        "docs_url": None,
        "download_url": facts.download_url or "",
        "downloads": {"last_day": -1, "last_month": -1, "last_week": -1},
        "dynamic": facts.dynamic or None,
        "home_page": facts.home_page or "",
        "keywords": ",".join(facts.keywords),
        "license": facts.license or "",
        "license_expression": facts.license_expression,
        "license_files": facts.license_files or None,
        "maintainer": facts.maintainer or "",
        "maintainer_email": facts.maintainer_email or "",
        "name": facts.name,
        "package_url": page_url,
        "platform": ",".join(facts.platforms) or None,
        "project_url": page_url,
        "project_urls": dict(facts.project_urls) or None,
        "provides_extra": facts.provides_extra or None,
        "release_url": page_url,
        "requires_dist": facts.requires_dist if metadata is not None else None,
        "requires_python": requires_python or "",
        "summary": facts.summary or "",
        "version": version,
        "yanked": is_yanked,
        "yanked_reason": next((reason for reason in yanked if reason), None) if is_yanked else None,
    }


def _render_file(project: ProjectName, file: PageFile, base_url: str) -> dict[str, Any]:
    is_wheel = parse_distribution(file.filename, project).kind is DistributionKind.WHEEL
    provenance = base_url + provenance_url(file).removeprefix(_PATH_TO_ROOT) if file.provenance else None
    return {
        "_attested_by": list(file.provenance.by) if file.provenance else [],
        "_signed_by": list(file.signature.by) if file.signature else [],
        "comment_text": None,
        "digests": {"sha256": file.sha256},
        "downloads": -1,
        "filename": file.filename,
        "has_sig": file.signature is not None,
        "packagetype": "bdist_wheel" if is_wheel else "sdist",
        "provenance": provenance,
        "python_version": file.filename.removesuffix(".whl").split("-")[-3] if is_wheel else "source",
        "requires_python": file.requires_python,
        "size": file.size,
        "upload_time": format_time(file.upload_time)[:19],
        "upload_time_iso_8601": format_time(file.upload_time),
        "url": base_url + file.url.removeprefix(_PATH_TO_ROOT),
        "yanked": file.yanked is not None,
        "yanked_reason": file.yanked or None,
    }
