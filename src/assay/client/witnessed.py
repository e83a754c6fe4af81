"""Which witnesses co-signed what a client trusts, read from the signatures themselves.

A witness's key is marked as ``<its name>-<role>`` in the metadata that offline holders signed; the index's own is not.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tuf.api.metadata import Snapshot, Targets, Timestamp

from assay.client.store import MetadataStore
from assay.keys.ceremony.enrolment import witness_of
from assay.trust.envelope import Envelope, parse_envelope
from assay.trust.layout import BIN_PREFIX, BINS, SNAPSHOT, TIMESTAMP
from assay.trust.verify import TrustedMetadata


@dataclass(frozen=True, slots=True)
class Witnessed:
    """Who co-signed. ``by``: witness -> the roles with its valid signature; ``needed``: how many each role needs."""

    by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needed: int = 0


NOBODY = Witnessed()


def witnessed(trusted: TrustedMetadata, store: MetadataStore, role: str) -> Witnessed:
    """The witnesses of ``role`` (which vouches for a file), and of the snapshot and timestamp above it."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in (TIMESTAMP, SNAPSHOT, *([role] if role.startswith(f"{BIN_PREFIX}-") else [])):
        data = store.read(name)
        if data is None:
            continue
        top = name in (TIMESTAMP, SNAPSHOT)
        envelope = _read(name, data)
        delegator = trusted.root if top else trusted.require(BINS)
        signed = delegator.get_verification_result(name, envelope.payload, envelope.signatures).signed
        for witness in (witness_of(key, name if top else BIN_PREFIX) for key in signed.values()):
            if witness is not None:
                found[witness].append(name)
    needed = trusted.root.roles[TIMESTAMP].threshold - 1
    return Witnessed({name: tuple(roles) for name, roles in sorted(found.items())}, needed)


def _read(role: str, data: bytes) -> Envelope[Timestamp] | Envelope[Snapshot] | Envelope[Targets]:
    if role == TIMESTAMP:
        return parse_envelope(data, Timestamp, role)
    return parse_envelope(data, Snapshot, role) if role == SNAPSHOT else parse_envelope(data, Targets, role)
