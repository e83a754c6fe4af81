"""The offline half of a takedown: the paths that the holders agree to make uninstallable, for ever."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from assay.keys.offline_draft import OfflineDraft
from assay.model.errors import CallerError
from assay.trust.layout import TAKEDOWN, TARGETS, Lifetimes, TargetPath
from assay.trust.takedown import empty_takedown, with_takedown

KIND: Final = "takedown"
SIGNED: Final = (TARGETS, TAKEDOWN)
"""What the holders of targets sign."""


def draft_takedown(draft: OfflineDraft, now: datetime, lifetimes: Lifetimes) -> Sequence[TargetPath]:
    """Put the roles that ``draft`` plans there, for the holders to sign; returns the paths. Raises CallerError."""
    plan = draft.plan(KIND)
    if draft.files():
        raise CallerError(
            "this draft was signed already; holders add their signature with cosign", subject=str(draft.folder)
        )
    root = draft.current_root()
    holders = root.roles[TARGETS]
    targets = draft.current(TARGETS, root)
    paths = [TargetPath(path) for path in plan["paths"]]
    keys = [root.keys[keyid] for keyid in holders.keyids]
    draft.put(TARGETS, with_takedown(targets, paths, keys, holders.threshold, now + lifetimes.targets), [])
    draft.put(TAKEDOWN, empty_takedown(int(plan["version"]), now + lifetimes.targets), [])
    return paths
