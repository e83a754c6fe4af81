"""Where the time of a run goes: ``assay run --timings``.

Stages overlap, as an installer asks for many things at once: their sum may be more than the run took.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assay.client.proxy.source import VerifiedSource
from assay.model.distributions import Distribution
from assay.model.names import ProjectName
from assay.trust.layout import TargetPath

if TYPE_CHECKING:
    from assay.client.trusted_index import VerifiedFile, VerifiedPage


class Timings:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block belongs to the stage ``name``."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + (time.perf_counter() - begun) * 1000

    def started(self) -> None:
        """Everything is ready for the command."""
        self.spent["start-up (processor)"] = time.process_time() * 1000

    def line(self) -> str:
        """One line of JSON, for a person or a program."""
        spent = self.spent | {"all (processor)": time.process_time() * 1000}
        return json.dumps({name: round(value, 1) for name, value in spent.items()})


class TimedSource:
    """A ``VerifiedSource`` whose calls are timed."""

    def __init__(self, source: VerifiedSource, timings: Timings) -> None:
        self._source = source
        self._timings = timings
        self.url = source.url

    async def refresh(self) -> None:
        """See ``VerifiedSource``, as for all below."""
        with self._timings.stage("refresh"):
            await self._source.refresh()
        self._timings.started()

    async def taken_down(self) -> list[TargetPath]:
        """The takedowns."""
        return await self._source.taken_down()

    async def page(self, project: ProjectName) -> "VerifiedPage | None":
        """The page."""
        with self._timings.stage("pages"):
            return await self._source.page(project)

    async def file(self, distribution: Distribution) -> "VerifiedFile":
        """The file."""
        with self._timings.stage("files"):
            return await self._source.file(distribution)

    async def sidecar(self, distribution: Distribution) -> bytes:
        """The METADATA."""
        with self._timings.stage("sidecars"):
            return await self._source.sidecar(distribution)
