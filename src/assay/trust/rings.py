"""In which rings a target is, as the metadata says that vouches for it."""

from assay.model.rings import Ring
from assay.trust.claims import CLAIM_PREFIX
from assay.trust.layout import BIN_PREFIX, BINS, SEAL_PREFIX, SNAPSHOT, TARGETS, TIMESTAMP
from assay.trust.verify import TrustedMetadata, VerifiedTarget


def rings_of(trusted: TrustedMetadata, target: VerifiedTarget) -> frozenset[Ring]:
    """The rings of ``target``, which ``trusted`` found.

    A sealed file stays claimed where its developers had signed it: the seal took their words over. In a bin the same
    words count nothing, because whoever holds the online keys could write them.
    """
    rings = {Ring.SIGNED}
    if _is_witnessed(trusted, target.role):
        rings.add(Ring.WITNESSED)
    sealed = target.role.startswith(SEAL_PREFIX)
    if sealed:
        rings.add(Ring.SEALED)
    if target.role.startswith(CLAIM_PREFIX) or (sealed and target.custom.get("origin") == "claim"):
        rings.add(Ring.CLAIMED)
    return frozenset(rings)


def _is_witnessed(trusted: TrustedMetadata, role: str) -> bool:
    """Whether the index's own keys alone cannot publish: freshness needs two signatures, and so do the bins."""
    thresholds = [trusted.root.roles[name].threshold for name in (TIMESTAMP, SNAPSHOT)]
    if role.startswith(f"{BIN_PREFIX}-"):
        bins = trusted.role(BINS, TARGETS)
        succinct = bins.delegations.succinct_roles if bins is not None and bins.delegations is not None else None
        thresholds.append(succinct.threshold if succinct is not None else 0)
    return min(thresholds) > 1
