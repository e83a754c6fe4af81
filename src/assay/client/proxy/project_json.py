"""The document of ``/pypi/<project>/json``, from a verified page and a verified sidecar.

Imported when it is asked for: poetry and pipenv ask, pip and uv never do, and reading METADATA needs much code.
"""

from assay.client.proxy.source import VerifiedSource
from assay.formats.core_metadata import CoreMetadata, parse_core_metadata
from assay.formats.json_api import files_of, newest_version, render_project_json
from assay.formats.pages import ProjectPage
from assay.model.distributions import parse_distribution
from assay.model.errors import InvalidDistribution


async def project_json(source: VerifiedSource, page: ProjectPage, version: str | None) -> bytes | None:
    """The document about ``version`` (canonical) of ``page``, or about its newest with every release for None.

    None when there is no such release. Raises what ``source.sidecar`` raises.
    """
    described = version or newest_version(page)
    files = files_of(page, described) if described else ()
    if not files or described is None:
        return None
    wheel = next((file.filename for file in files if file.core_metadata is not None), None)
    metadata = _facts(await source.sidecar(parse_distribution(wheel, page.project))) if wheel else None
    return render_project_json(page, metadata, described, "", every_release=version is None)


def _facts(metadata: bytes) -> CoreMetadata | None:
    """What METADATA says; None where it is not sound, which makes poetry read the file itself."""
    try:
        return parse_core_metadata(metadata)
    except InvalidDistribution:
        return None
