"""A snapshot read as what changed since the one before. Pure.

Of 16,384 listings a publication changes a few. Where the new file has the very form that our own writer gives it, and
lists the same roles, only the listings that differ are looked into; whatever else comes is left to ``parse_envelope``.
Invariant: what is returned is what ``parse_envelope`` returns, and no version in it went down.
"""

import re
from typing import Final

import orjson
from tuf.api.metadata import Snapshot

from assay.trust import canonical
from assay.trust.envelope import Envelope, read_signatures
from assay.trust.lean import LeanSnapshot, raw_listings

_HEAD: Final = re.compile(
    rb'\{"signatures":\[[^\[\]\\]*\],"signed":\{"_type":"snapshot","expires":"[^"\\]*","meta":\{\Z'
)
_TAIL: Final = re.compile(rb'\},"spec_version":"[^"\\]*","version":[1-9][0-9]*\}\}\Z')
_LISTING: Final = re.compile(rb'"([A-Za-z0-9._%-]+)":\{"version":([1-9][0-9]{0,15})\}\Z')
_META, _END = b'"meta":{', b'}},"spec_version":"'


def read_successor(data: bytes, before: Snapshot) -> Envelope[Snapshot] | None:
    """The snapshot file ``data``, which follows ``before``; None where it must be read as any other."""
    start, end = data.find(_META) + len(_META), data.rfind(_END) + 1
    known = _listings(before)
    if known is None or not len(_META) <= start < end:
        return None
    head, tail = data[:start], data[end:]
    listings = data[start:end].split(b",")
    if len(listings) != len(known) or not _HEAD.match(head) or not _TAIL.match(tail):
        return None
    raw = raw_listings(before)
    for old, new in zip(known, listings, strict=True):
        if old != new:
            was, now = _LISTING.match(old), _LISTING.match(new)
            if was is None or now is None or was[1] != now[1] or int(now[2]) < int(was[2]):
                return None
            raw[now[1].decode()] = {"version": int(now[2])}
    try:
        document = orjson.loads(head + tail)
        empty = LeanSnapshot.from_dict(dict(document["signed"]))
        signatures = read_signatures(document["signatures"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    signed = LeanSnapshot(empty.version, empty.spec_version, empty.expires, raw, is_plain=True)
    payload = canonical.encode({**document["signed"], "meta": raw}, "meta")
    return Envelope(signed, payload, signatures, data)


def _listings(before: Snapshot) -> list[bytes] | None:
    """Each listing of ``before`` as its file has it; None where they are not all plain."""
    if not isinstance(before, LeanSnapshot) or not before.is_plain:
        return None
    raw = raw_listings(before)
    listings = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)[1:-1].split(b",")
    return listings if len(listings) == len(raw) else None
