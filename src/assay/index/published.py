"""Everything a reader may fetch without asking a process: metadata and pages, as static files.

Names are those of the URLs: ``tuf/<version>.<role>.json``, ``tuf/timestamp.json``,
``simple/<project>/<sha256>.index.json`` and the pointer ``simple/<project>/index.json``. A versioned or hashed name
never changes once the head lists it.
"""

from collections.abc import Mapping
from pathlib import Path

from assay import durable
from assay.trust.layout import TIMESTAMP, metadata_path

TIMESTAMP_NAME = metadata_path(TIMESTAMP, None)


class PublishedStore:
    """A folder of published files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where ``name`` is, or would be."""
        return self.root / name

    def read(self, name: str) -> bytes | None:
        """The bytes of ``name``, or None. Raises StorageUnavailable."""
        return durable.read_file(self.path(name))

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files under their names. Durable on return."""
        staging = self.root / durable.STAGING
        durable.write_files({self.path(name): data for name, data in files.items()}, staging=staging)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files under their names, whole but not durable before ``sync``."""
        for name, data in files.items():
            durable.put_file(self.path(name), data, staging=self.root / durable.STAGING)

    def sync(self) -> None:
        """Make everything durable that was ``put``."""
        durable.sync_filesystem(self.root)

    def point_later(self, name: str, target: str) -> None:
        """Make ``name`` another name of ``target``, not durable before ``sync``."""
        staging = self.root / durable.STAGING
        durable.link_file(self.path(target), self.path(name), staging=staging, sync_folder=False)

    def point(self, name: str, target: str) -> None:
        """Make ``name`` another name of ``target``. Durable on return."""
        durable.link_file(self.path(target), self.path(name), staging=self.root / durable.STAGING)
