"""The offline half of a takedown: the paths that the holders agree to make uninstallable, for ever."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tuf.api.metadata import Targets

from assay.keys.offline_draft import OfflineDraft
from assay.trust.layout import TAKEDOWN, TARGETS, Lifetimes, TargetPath
from assay.trust.takedown import empty_takedown, with_takedown

KIND: Final = "takedown"


@dataclass(frozen=True, slots=True)
class Takedown:
    """What the holders decide on. ``bodies``: the roles that they sign."""

    paths: tuple[TargetPath, ...]
    bodies: Mapping[str, Targets]


def read_takedown(draft: OfflineDraft, now: datetime, lifetimes: Lifetimes) -> Takedown:
    """What a draft's holders are asked to sign, worked out from its plan. Raises CallerError, NotFresh."""
    plan, made = draft.plan(KIND), draft.made(KIND, now)
    root = draft.current_root()
    holders = root.roles[TARGETS]
    paths = tuple(TargetPath(path) for path in plan["paths"])
    keys = [root.keys[keyid] for keyid in holders.keyids]
    expires = made + lifetimes.targets
    targets = with_takedown(draft.current(TARGETS, root), paths, keys, holders.threshold, expires)
    return Takedown(paths, {TAKEDOWN: empty_takedown(int(plan["version"]), expires), TARGETS: targets})
