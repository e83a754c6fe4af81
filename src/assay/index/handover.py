"""Between the index and offline holders: what was published, to start from, and the inbox, to come back to."""

from datetime import datetime

from assay import durable
from assay.index.config import DataFolder
from assay.index.ledger import Ledger
from assay.index.ledger.publications import last_time
from assay.index.published import PublishedStore
from assay.index.signer.state import PublishedState
from assay.keys.offline_draft import OfflineDraft
from assay.model.errors import CallerError, SignerRefused
from assay.trust.layout import TARGETS
from assay.trust.offline import verify_offline_roles


def hand_over(draft: OfflineDraft, data: DataFolder, now: datetime) -> int:
    """Put a completely signed draft into the index's inbox; returns the number of roles. Raises VerificationFailed."""
    state = read_published(data)
    files = draft.files()
    roles = {path.name.split(".", 1)[1].removesuffix(".json"): body for path, body in files.items()}
    verified = verify_offline_roles(roles, state.root, state.targets(), state.bins(), state.snapshot, now)
    if verified.left_out or not verified.files:
        raise CallerError(
            "this draft does not fit the index as it is now",
            rule="draft-stale",
            found=", ".join(sorted(verified.left_out)[:3]) or "nothing new",
            next_step="plan it again",
        )
    durable.write_files({data.inbox / path.name: body for path, body in files.items() if TARGETS not in path.name})
    durable.write_files({data.inbox / path.name: body for path, body in files.items() if TARGETS in path.name})
    return len(files)


def read_published(data: DataFolder) -> PublishedState:
    """What the index has published, verified. Raises SignerRefused before the first publication."""
    ledger = Ledger.open(data.ledger_file)
    try:
        with ledger.read() as connection:
            state = PublishedState.read(PublishedStore(data.published), last_time(connection))
    finally:
        ledger.close()
    if state.timestamp is None:
        raise SignerRefused("the index has published nothing yet", rule="not-published")
    return state
