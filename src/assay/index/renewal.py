"""At every start and every few hours: offline roles that are due are signed again where their keys lie here; else
somebody is told."""

import logging
from datetime import datetime

from tuf.api.metadata import Root, Targets

from assay import durable
from assay.index.config import DataFolder
from assay.index.handover import read_published
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.keys.expiry import reminders
from assay.keys.renewal import renew_offline_roles
from assay.trust.claim_search import all_delegating
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, CLAIMED, ROOT, TARGETS, Lifetimes, metadata_filename

log = logging.getLogger(__name__)


def renew_due(data: DataFolder, passphrase: bytes | None, now: datetime, lifetimes: Lifetimes) -> list[str]:
    """Put renewed roles into the inbox; returns their names. Warns of a role that is due and has no key here."""
    if PublishedStore(data.published).read(TIMESTAMP_NAME) is None:
        return []
    state = read_published(data)
    root = parse_envelope(state.root, Root, ROOT).signed
    current: dict[str, Root | Targets] = {ROOT: root, TARGETS: state.targets(), BINS: state.bins()}
    current |= state.ask(all_delegating(state.trusted, CLAIMED))
    renewed = renew_offline_roles(data.keys, passphrase, current, now, lifetimes)
    if renewed:
        durable.write_files(
            {data.inbox / metadata_filename(role, version): file for role, (version, file) in renewed.items()}
        )
    ends = {role: signed.expires for role, signed in current.items() if role not in renewed}
    spans = {ROOT: lifetimes.root, TARGETS: lifetimes.targets, BINS: lifetimes.bins, CLAIMED: lifetimes.claimed}
    for reminder in reminders(ends, spans, now):
        log.warning("%s (docs/ceremony.md)", reminder)
    return list(renewed)
