"""Other witnesses of the same index: asked, before every signature, what they have seen.

With a threshold of one witness out of several, an index could show each of them another past: no two answers need to
have a witness in common. So a witness says what it is about to accept before it asks, and asks before it signs; of two
that were shown different things, one sees it. A peer that does not answer is passed over: that keeps the index alive
when one is down, and is alarmed. What it missed is compared when it is back.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from securesystemslib.signer import Key

from assay.fetch import Fetcher
from assay.model.digests import Sha256, parse_sha256
from assay.model.errors import AssayError, Unreachable, VerificationFailed, WitnessRefused
from assay.witness.config import PeerConfig
from assay.witness.keys import read_statement

VIEW_TYPE = "assay-witness-view"
MAX_STATEMENT_BYTES = 10_000
REST_S = 5.0
"""A peer that did not answer is left alone for so long."""


@dataclass(frozen=True, slots=True)
class View:
    """What clients of a snapshot are shown."""

    snapshot: int
    digest: Sha256


@dataclass(frozen=True, slots=True)
class Statement:
    """What a witness says it has seen; ``asked``: of the snapshot asked about; ``pending``: what it may accept next."""

    newest: View | None
    asked: View | None
    pending: View | None

    def to_dict(self, nonce: str) -> dict[str, Any]:
        """As it is signed."""
        views = {"newest": self.newest, "asked": self.asked, "pending": self.pending}
        told = {name: {"snapshot": v.snapshot, "digest": v.digest} if v else None for name, v in views.items()}
        return {"_type": VIEW_TYPE, "nonce": nonce, **told}


@dataclass(slots=True)
class Peer:
    """One other witness."""

    config: PeerConfig
    timeout_s: float
    down_since: float | None = None
    _rest_until: float = field(default=0.0)

    async def ask(self, fetcher: Fetcher, keys: Mapping[str, Key], snapshot: int) -> Statement | None:
        """What it has seen, in particular of ``snapshot``; None when it does not answer. Raises VerificationFailed."""
        if self.config.url is None or time.monotonic() < self._rest_until:
            return None
        nonce = secrets.token_hex(16)
        url = f"{self.config.url.rstrip('/')}/view?{urlencode({'snapshot': snapshot, 'nonce': nonce})}"
        try:
            async with asyncio.timeout(self.timeout_s):
                data = await fetcher.get(url, max_bytes=MAX_STATEMENT_BYTES)
        except (Unreachable, TimeoutError):
            data = None
        if data is None:
            self.down_since = self.down_since or time.monotonic()
            self._rest_until = time.monotonic() + REST_S
            return None
        self.down_since = None
        return _parse(read_statement(data, frozenset(self.config.keys), keys), nonce, self.config.name)


def require_agreement(peer: str, statement: Statement, ours: View, newest: View | None, known: Sha256 | None) -> None:
    """Raise WitnessRefused where ``peer`` was shown something else than this witness.

    ``ours``: what is about to be accepted; ``newest``: what was accepted last; ``known``: this witness's digest of the
    snapshot that the peer accepted last, where it has one.
    """
    for view in (statement.asked, statement.pending, statement.newest):
        if view is not None and view.snapshot == ours.snapshot and view.digest != ours.digest:
            raise _split(peer, ours, view)
    last = statement.newest
    if last is None:
        return
    if newest is not None and last.snapshot == newest.snapshot and last.digest != newest.digest:
        raise _split(peer, newest, last)
    if known is not None and known != last.digest:
        raise _split(peer, View(last.snapshot, known), last)


def _split(peer: str, ours: View, theirs: View) -> WitnessRefused:
    return WitnessRefused(
        f"witness {peer} was shown something else under the same snapshot: a split view",
        subject=f"snapshot {ours.snapshot}",
        rule="split-view",
        expected=f"view {ours.digest}",
        found=f"view {theirs.digest}",
        next_step="the index's keys are in wrong hands, or two signers run: compare the copies of both witnesses",
    )


def _parse(statement: Mapping[str, Any], nonce: str, peer: str) -> Statement:
    try:
        if statement["_type"] != VIEW_TYPE or statement["nonce"] != nonce:
            raise ValueError("an answer to another question")
        views = {name: _view(statement[name]) for name in ("newest", "asked", "pending")}
    except (ValueError, KeyError, TypeError, AssayError) as error:
        raise VerificationFailed(
            "not an answer to what was asked",
            subject=f"witness {peer}",
            rule="witness-statement",
            found=str(error)[:200],
        ) from error
    return Statement(**views)


def _view(document: Mapping[str, Any] | None) -> View | None:
    return None if document is None else View(int(document["snapshot"]), parse_sha256(document["digest"]))
