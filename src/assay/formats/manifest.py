"""A closed release's manifest: the list of its files, so that none can join it later. Canonical bytes."""

from collections.abc import Mapping
from typing import Any

import orjson

from assay.model.digests import Sha256
from assay.model.errors import VerificationFailed
from assay.model.names import ProjectName

MANIFEST = "manifest.json"


def manifest_path(project: ProjectName, release: str) -> str:
    """The target path of the manifest of ``release`` (``model.releases.release_of``), whatever its files spell it."""
    return f"packages/{project}/{release}/{MANIFEST}"


def render_manifest(project: ProjectName, release: str, files: Mapping[str, Sha256]) -> bytes:
    """The manifest's bytes; ``files`` maps filenames to their sha256."""
    document = {"project": project, "release": release, "files": dict(files)}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def require_listed(custom: Mapping[str, Any], filename: str, sha256: Sha256) -> None:
    """Raise VerificationFailed unless a manifest target's ``custom`` lists ``filename`` with ``sha256``."""
    files = custom.get("files")
    if not isinstance(files, Mapping) or files.get(filename) != sha256:
        raise VerificationFailed(
            "this file was added to a release that was closed and sealed",
            subject=filename,
            rule="release-closed",
            expected="one of the sealed release's files",
            found=f"sha256 {sha256}",
            next_step="do not install it; the project should publish a new version instead",
        )
