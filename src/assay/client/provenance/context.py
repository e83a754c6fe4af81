"""What the checks of signatures and of attestations share."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from assay.client.provenance.pinned import PinnedFiles
from assay.policy.model import ProvenancePolicy


@dataclass(frozen=True, slots=True)
class Checking:
    """Where pinned files come from, what the user asks, the time (UTC), and who is told of what policy lets pass."""

    pinned: PinnedFiles
    policy: ProvenancePolicy
    clock: Callable[[], datetime]
    notice: Callable[[str], None]
