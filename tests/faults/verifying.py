"""A client that reads from anywhere, with the product's verifying core and, if it has one, a store on disk."""

from datetime import datetime
from pathlib import Path

from assay.client.store import MetadataStore
from assay.trust.layout import ROOT, TargetPath, metadata_path
from assay.trust.update import Answer, Fetch, Keep, Load, Request, drive, lookup, refresh
from assay.trust.verify import TrustedMetadata
from faults.readers import Read


class Reader:
    """Refreshed when it is made. ``folder`` None: a new client that keeps nothing. Raises what the core raises."""

    def __init__(self, read: Read, root: bytes, folder: Path | None, now: datetime) -> None:
        self._read = read
        self._store = MetadataStore(folder) if folder is not None else None
        kept = self._store.read(ROOT) if self._store else None
        self._trusted = TrustedMetadata(kept or root, now=now)
        drive(refresh(self._trusted), self._answer)

    def look_up(self, path: TargetPath) -> str | None:
        """The sha256 that is vouched for, or None."""
        found = drive(lookup(self._trusted, path), self._answer)
        return found.sha256 if found else None

    def _answer(self, request: Request) -> Answer:
        match request:
            case Load(role):
                return self._store.read(role) if self._store else None
            case Keep(role, data):
                if self._store:
                    self._store.write(role, data)
                return None
            case Fetch(role, version):
                return self._read(metadata_path(role, version))
