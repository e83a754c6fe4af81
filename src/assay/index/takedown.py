"""The index's half of a takedown: which published files, and where the change starts from."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from assay.index.config import DataFolder
from assay.index.handover import read_published
from assay.keys.offline_draft import OfflineDraft
from assay.keys.takedown import KIND, read_takedown
from assay.model.errors import NotFound
from assay.trust.layout import ROOT, TAKEDOWN, TARGETS, Lifetimes, TargetPath


def plan_takedown(data: DataFolder, folder: Path, paths: Sequence[str], now: datetime) -> Sequence[TargetPath]:
    """Write a draft to ``folder`` that takes ``paths`` down. Raises NotFound for a path that nobody vouches for."""
    state = read_published(data)
    for path in paths:
        if state.target(TargetPath(path)) is None:
            raise NotFound(
                "nothing is published under this path",
                subject=path,
                expected="packages/<project>/<version>/<filename>",
            )
    listed = state.snapshot.meta.get(f"{TAKEDOWN}.json") if state.snapshot else None
    facts = {"paths": sorted(set(paths)), "version": listed.version + 1 if listed else 1}
    current = {ROOT: state.root, TARGETS: state.role_file(TARGETS)}
    return read_takedown(OfflineDraft.create(folder, KIND, current, facts, now), now, Lifetimes()).paths
