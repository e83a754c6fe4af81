"""Where offline ceremonies leave what they signed: ``inbox/<version>.<role>.json``. Writing here is proposing."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from assay import durable
from assay.index.provenance.approvals import Approvals
from assay.keys.ceremony.publishing import NEW_IDENTITY
from assay.model.digests import Sha256, parse_sha256, sha256_of
from assay.model.errors import SignerRefused
from assay.trust.layout import ROOT, RoleLimits

MAX_FILES = 50_000
_NAME = re.compile(r"\A([1-9][0-9]{0,9})\.([a-z0-9][a-z0-9._-]{0,199})\.json\Z")

log = logging.getLogger(__name__)


class Inbox:
    """The files of the inbox folder; those that were refused are not looked at again until they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._refused: set[str] = set()
        self.approvals = Approvals(folder)

    def waiting(self) -> dict[str, tuple[int, bytes]]:
        """Role -> version and file, the lowest version of each role first in line."""
        found: dict[str, tuple[int, bytes]] = {}
        if not self._folder.is_dir():
            return found
        for path in sorted(self._folder.iterdir())[:MAX_FILES]:
            match = _NAME.match(path.name)
            if match is None or path.is_symlink() or path.stat().st_size > RoleLimits().for_role(match[2]):
                continue
            version, role = int(match[1]), match[2]
            if role in found and found[role][0] < version:
                continue
            data = durable.read_file(path)
            if data is not None and sha256_of(data) not in self._refused:
                found[role] = version, data
        return found

    def read(self, versions: Mapping[str, int]) -> dict[str, bytes]:
        """The files of an intent. Raises SignerRefused when one is gone."""
        files = {}
        for role, version in versions.items():
            data = durable.read_file(self._path(role, version))
            if data is None:
                raise SignerRefused(
                    "a signed role that was to be published is gone from the inbox",
                    subject=f"{version}.{role}.json",
                    rule="inbox",
                    next_step="put it back: assay ceremony publish",
                )
            files[role] = data
        return files

    def refuse(self, files: Mapping[str, bytes], reason: str) -> None:
        """Say why ``files`` are not taken, once, and leave them alone."""
        log.error("not taken from the inbox: %s: %s", ", ".join(sorted(files)), reason)
        self._refused |= {sha256_of(data) for data in files.values()}

    def clear(self, versions: Mapping[str, int]) -> None:
        """Remove what was published."""
        for role, version in versions.items():
            durable.remove_file(self._path(role, version))
        if ROOT in versions:
            durable.remove_file(self._folder / NEW_IDENTITY)

    def new_identity(self) -> Sha256 | None:
        """The hash of a root that replaces the present one without its signatures (re-root), or None."""
        try:
            text = (self._folder / NEW_IDENTITY).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        return parse_sha256(text.strip())

    def _path(self, role: str, version: int) -> Path:
        return self._folder / f"{version}.{role}.json"
