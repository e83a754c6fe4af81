"""Which blob stands behind a published name, for web: the ledger's answer, remembered.

A path has one hash for ever, so a remembered answer stays right. A tampered ledger can make web serve other bytes; it
cannot make a client accept them.
"""

import asyncio
from collections import OrderedDict

from assay.index.ledger import Ledger
from assay.index.ledger.publications import find_file
from assay.index.web.services import LocatedFile
from assay.model.names import ProjectName

SIDECAR = ".metadata"
MAX_REMEMBERED = 20_000


class LedgerCatalogue:
    """The ``web.services.Catalogue`` over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._remembered: OrderedDict[tuple[str, str, str], LocatedFile] = OrderedDict()

    async def locate(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
        """The blob of ``packages/<project>/<version>/<filename>``, or of its sidecar; None where none is published."""
        key = (project, version, filename)
        if (known := self._remembered.get(key)) is not None:
            return known
        found = await asyncio.to_thread(self._find, project, version, filename)
        if found is not None:
            self._remembered[key] = found
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return found

    def _find(self, project: ProjectName, version: str, filename: str) -> LocatedFile | None:
        with self._ledger.read() as connection:
            row = find_file(connection, project, filename.removesuffix(SIDECAR))
        if row is None or row.version != version or row.state != "published":
            return None
        if not filename.endswith(SIDECAR):
            return LocatedFile(row.sha256, row.size)
        return LocatedFile(row.core_metadata) if row.core_metadata else None
