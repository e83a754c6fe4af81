"""The bulletin of a re-root: what the operator publishes everywhere but through the index, when its root was lost.

It carries no authority by itself. A client replaces its trust only when its user brings the new root's fingerprint from
somewhere that whoever has the old keys does not control; the bulletin says which root that is and what it replaces.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import orjson

from assay.keys.ceremony.assembling import VerifiedBundle
from assay.keys.ceremony.words import fingerprint_words, render_words
from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import AssayError, CallerError
from assay.trust.layout import ROOT

BULLETIN_FORMAT: Final = "assay-re-root/1"
MAX_BULLETIN_BYTES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Bulletin:
    """``index`` had the root ``old``; from now on it has ``new`` (SHA-256 of the root files), because of ``reason``."""

    index: str
    reason: str
    old: Sha256
    new: Sha256
    new_version: int
    made_at: datetime


def bulletin_of(bundle: VerifiedBundle, now: datetime) -> Bulletin:
    """The bulletin of a complete re-root. Raises CallerError for an ordinary ceremony."""
    plan = bundle.plan
    if plan.replaces is None or plan.starts_from is None:
        raise CallerError("an ordinary ceremony needs no bulletin: clients follow by themselves", rule="re-root")
    old = plan.starts_from.root_sha256
    return Bulletin(plan.index, plan.replaces.reason, old, bundle.root_sha256, bundle.versions[ROOT], now)


def render_bulletin(bulletin: Bulletin) -> bytes:
    """The bulletin for programs, as JSON."""
    document = {
        "format": BULLETIN_FORMAT,
        "index": bulletin.index,
        "reason": bulletin.reason,
        "old_root_sha256": bulletin.old,
        "new_root_sha256": bulletin.new,
        "new_root_version": bulletin.new_version,
        "made_at": bulletin.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def parse_bulletin(data: bytes) -> Bulletin:
    """Read a bulletin. Raises CallerError for anything else."""
    try:
        if len(data) > MAX_BULLETIN_BYTES:
            raise ValueError("too large")
        document = orjson.loads(data)
        if document["format"] != BULLETIN_FORMAT:
            raise ValueError(f"not {BULLETIN_FORMAT}")
        return Bulletin(
            index=str(document["index"]),
            reason=str(document["reason"]),
            old=parse_sha256(document["old_root_sha256"]),
            new=parse_sha256(document["new_root_sha256"]),
            new_version=int(document["new_root_version"]),
            made_at=datetime.strptime(document["made_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
        )
    except (ValueError, KeyError, TypeError, AttributeError, AssayError) as error:
        raise CallerError("not a re-root bulletin", rule="re-root", found=f"{type(error).__name__}: {error}") from error


def render_announcement(bulletin: Bulletin) -> str:
    """The bulletin for people: to be put on the website, in mail and on paper."""
    return (
        f"NEW TRUST ROOT FOR {bulletin.index}\n\n"
        f"On {bulletin.made_at:%Y-%m-%d} the root of {bulletin.index} was replaced, because: {bulletin.reason}.\n"
        "The old root cannot vouch for the new one. No client follows by itself, and none should.\n\n"
        f"old root  sha256:{bulletin.old}\n"
        f"new root  sha256:{bulletin.new}  (version {bulletin.new_version})\n\n"
        "The new root's fingerprint in words:\n"
        f"{render_words(fingerprint_words(bulletin.new))}\n\n"
        "Compare the fingerprint in a second place that does not pass through the index: our website, a mail, a call.\n"
        f"Then, on each machine:\n\n    assay trust replace URL --fingerprint sha256:{bulletin.new}\n\n"
        "Until then installs from this index are refused. That is intended.\n"
    )
