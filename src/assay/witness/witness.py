"""The witness: judges a candidate by its own memory, asks its peers, remembers, and only then signs.

Invariants: one candidate at a time; no signature leaves the house before what it is over is durably remembered; the
same candidate again gets signatures over the same payloads, another one under the same versions is refused; a witness
that finds its own signature on something it does not remember never signs again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key
from tuf.api.metadata import Root, Targets

from assay.fetch import Fetcher
from assay.model.errors import AssayError, NotFresh, Unreachable, VerificationFailed, WitnessRefused
from assay.trust.candidate import Answer, Candidate, Lacking
from assay.trust.envelope import Envelope, T, parse_envelope
from assay.trust.layout import ROOT, TIMESTAMP
from assay.trust.witness_memory import Approval, Identity, RuleLimits
from assay.trust.witness_rule import is_from_index, judge
from assay.witness.alarms import Alarms
from assay.witness.catchup import candidate_of_peer
from assay.witness.keys import WitnessKeys
from assay.witness.peers import Peer, Statement, View, require_agreement
from assay.witness.store import WitnessStore

log = logging.getLogger(__name__)

MAX_CATCH_UPS = 3


class Witness:
    """One witness of one index. ``clock`` gives UTC; ``answer_s``: seconds that the newest answer took."""

    def __init__(
        self,
        store: WitnessStore,
        keys: WitnessKeys,
        peers: Sequence[Peer],
        limits: RuleLimits,
        alarms: Alarms,
        fetcher: Fetcher,
        clock: Callable[[], datetime],
    ) -> None:
        self.store = store
        self.keys = keys
        self.peers = peers
        self.alarms = alarms
        self.fetcher = fetcher
        self.clock = clock
        self.identity = Identity(keys.public.keyids(), frozenset(key for peer in peers for key in peer.config.keys))
        self._limits = limits
        self._pending: View | None = None
        self.answer_s: float | None = None
        self._turn = asyncio.Lock()

    # --- what the index asks --------------------------------------------------------------------------------

    async def cosign(self, candidate: Candidate) -> Answer:
        """Signatures for ``candidate``, or what is lacking to judge it.

        Raises WitnessRefused, VerificationFailed or NotFresh naming the rule; what the index signed and this witness
        refused is recorded, and alarms.
        """
        async with self._turn:
            started = time.perf_counter()
            try:
                return await self._cosign(candidate)
            except (VerificationFailed, NotFresh) as error:
                if is_from_index(self.store, candidate, self.identity):
                    await self.refuse(error)
                raise
            finally:
                self.answer_s = time.perf_counter() - started

    async def _cosign(self, candidate: Candidate) -> Answer:
        self._require_whole_memory()
        self._require_no_forgotten_roles(candidate)
        for _ in range(MAX_CATCH_UPS):
            approval = await self._judge(candidate)
            if isinstance(approval, Lacking):
                return approval
            if approval.repeats:
                return self.keys.cosign(approval, candidate, self.clock()).answer
            self._pending = View(approval.seen_snapshot.version, approval.view)
            try:
                if await self._agrees_with_peers(approval, self._pending):
                    return await self._sign(approval, candidate)
            finally:
                self._pending = None
        raise WitnessRefused("this witness cannot catch up with its peers", rule="behind-peers")

    async def _sign(self, approval: Approval, candidate: Candidate) -> Answer:
        """Remember first; only what is remembered leaves the house signed."""
        signed = await asyncio.to_thread(self.keys.cosign, approval, candidate, self.clock())
        await asyncio.to_thread(self.store.remember, approval, signed.files, signed.snapshot, self.clock())
        self._tell_of_roots(approval)
        return signed.answer

    async def _judge(self, candidate: Candidate) -> Approval | Lacking:
        return await asyncio.to_thread(judge, self.store, candidate, self.identity, self.clock(), self._limits)

    async def refuse(self, error: AssayError) -> None:
        """Record that something was refused, and cry out."""
        await asyncio.to_thread(self.store.record_refusal, error, self.clock())
        self.alarms.ring(error)

    def _tell_of_roots(self, approval: Approval) -> None:
        for root in approval.roots:
            if root.signed.version > 1:
                self.tell_of_root(root.signed)

    def tell_of_root(self, root: Root) -> None:
        """A new root counts, asked for or only shown: whoever holds root's keys needs no witness (threat A17)."""
        enrolled = self.identity.own[TIMESTAMP] in root.roles[TIMESTAMP].keyids
        self.alarms.ring(
            VerificationFailed(
                "the index has a new root: compare with the ceremony's transcript",
                subject=f"root version {root.version}",
                rule="new-root",
                found=f"timestamp needs {root.roles[TIMESTAMP].threshold} signatures, this witness "
                + ("is asked" if enrolled else "IS NOT ASKED ANY MORE"),
            )
        )

    # --- what this witness forgot ---------------------------------------------------------------------------

    def _require_whole_memory(self) -> None:
        halted = self.store.halted
        if halted is not None:
            raise WitnessRefused(
                "this witness found its own signature on something it does not remember, and signs no more",
                rule="amnesia",
                found=halted,
                next_step="its database was restored from a backup: make a new witness and enrol it in a ceremony",
            )

    def _require_no_forgotten_roles(self, candidate: Candidate) -> None:
        own = [keyid.encode() for keyid in self.identity.own.values()]
        for role, data in candidate.roles.items():
            if not any(keyid in data for keyid in own):
                continue
            seen = self.store.roles.get(role)
            envelope = parse_envelope(data, Targets, role)
            if (seen is None or seen.version < envelope.signed.version) and self.has_signed(envelope):
                raise self.halt(role, envelope.signed.version, seen.version if seen else 0)

    def has_signed(self, envelope: Envelope[T]) -> bool:
        """Whether one of this witness's own keys signed it."""
        for key in self.keys.public.keys.values():
            signature = envelope.signatures.get(key.keyid)
            if signature is None:
                continue
            try:
                key.verify_signature(signature, envelope.payload)
            except UnverifiedSignatureError:
                continue
            return True
        return False

    def halt(self, role: str, version: int, remembered: int) -> WitnessRefused:
        """Never sign again: ``role`` bears this witness's signature at a ``version`` it does not remember."""
        error = WitnessRefused(
            "this witness's own signature stands on what it does not remember: it was restored from a backup",
            subject=role,
            rule="amnesia",
            expected=f"nothing after version {remembered}",
            found=f"version {version}",
        )
        self.store.halt(error)
        return error

    # --- peers ----------------------------------------------------------------------------------------------

    def view_of_newest(self) -> View | None:
        """What was accepted last."""
        snapshot = self.store.snapshot
        digest = self.store.view(snapshot.version) if snapshot else None
        return View(snapshot.version, digest) if snapshot and digest else None

    def statement(self, snapshot: int) -> Statement:
        """What a peer is told that asks about ``snapshot``."""
        digest = self.store.view(snapshot)
        return Statement(self.view_of_newest(), View(snapshot, digest) if digest else None, self._pending)

    async def _agrees_with_peers(self, approval: Approval, ours: View) -> bool:
        """Compare with every peer that answers. False: something was learned from one, so judge again."""
        keys = approval.root.keys
        statements = await asyncio.gather(*(self._ask(peer, keys, ours.snapshot) for peer in self.peers))
        newest = self.view_of_newest()
        for peer, statement in zip(self.peers, statements, strict=True):
            if statement is None:
                continue
            theirs = statement.newest
            known = self.store.view(theirs.snapshot) if theirs else None
            require_agreement(peer.config.name, statement, ours, newest, known)
            ahead = theirs is not None and theirs.snapshot > (newest.snapshot if newest else 0)
            if theirs is not None and ahead and statement.asked is None:
                await self._catch_up(peer, theirs)
                return False
        return True

    async def _ask(self, peer: Peer, keys: Mapping[str, Key], snapshot: int) -> Statement | None:
        was_up = peer.down_since is None
        statement = await peer.ask(self.fetcher, keys, snapshot)
        if statement is None and was_up and peer.down_since is not None:
            self.alarms.ring(
                Unreachable(
                    "the other witness does not answer: until it does, a split view is found only afterwards",
                    subject=peer.config.name,
                    rule="peer-unreachable",
                )
            )
        return statement

    async def _catch_up(self, peer: Peer, view: View) -> None:
        """Accept what ``peer`` accepted while this witness was away. Raises WitnessRefused when it breaks the rule."""
        candidate = await candidate_of_peer(self.fetcher, peer.config.url or "", self.store)
        approval = await self._judge(candidate)
        if isinstance(approval, Lacking) or (
            approval.seen_snapshot.version == view.snapshot and approval.view != view.digest
        ):
            raise WitnessRefused(
                "what the other witness shows is not what it said it accepted",
                subject=peer.config.name,
                rule="split-view",
                expected=f"view {view.digest} of snapshot {view.snapshot}",
            )
        log.info("caught up with %s: snapshot %d", peer.config.name, approval.seen_snapshot.version)
        roles = {role: data for role, data in candidate.roles.items() if role in approval.accepted}
        await asyncio.to_thread(self.store.remember, approval, roles, candidate.snapshot, self.clock())
        self._tell_of_roots(approval)

    # --- what others may know -------------------------------------------------------------------------------

    def root(self) -> Root | None:
        """The newest root that was accepted."""
        return parse_envelope(self.store.root, Root, ROOT).signed if self.store.root else None
