"""The root that clients of an index begin with: its first one, or that of the newest identity after a re-root."""

from tuf.api.metadata import Root

from assay.index.published import PublishedStore
from assay.model.errors import VerificationFailed
from assay.trust.envelope import parse_envelope
from assay.trust.layout import ROOT, metadata_path
from assay.trust.verify import require_role_signed


def identity_root(published: PublishedStore) -> bytes | None:
    """The oldest root from which every later one follows by signatures; None before the first ceremony."""
    start = last = published.read(metadata_path(ROOT, 1))
    version = 1
    while last is not None and (following := published.read(metadata_path(ROOT, version + 1))) is not None:
        try:
            require_role_signed(parse_envelope(last, Root, ROOT).signed, ROOT, parse_envelope(following, Root, ROOT))
        except VerificationFailed:
            start = following
        last, version = following, version + 1
    return start
