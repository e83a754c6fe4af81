"""One publication, in one direction: intent, draft, check, stage, head, apply.

Recovery is the same path. An intent without a head is drafted again (same inputs, same bytes); a head that was not
applied is applied again. Nothing here looks whether it runs for the first time.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api.metadata import Root, Targets

from assay.index.ledger import Ledger
from assay.index.ledger import publications as ledger_rows
from assay.index.ledger.publications import Head, Intent
from assay.index.log import LogWriter, log_after, no_log_key
from assay.index.proposals import PublishFiles
from assay.index.provenance.changes import SignerChange
from assay.index.published import PublishedStore
from assay.index.signer.apply import Applied, apply_proposals
from assay.index.signer.bulk import BulkPublication
from assay.index.signer.checks import FileChecks
from assay.index.signer.claims import PublishedClaims
from assay.index.signer.cosign import Cosigning, cosignatures_needed, pinned_claims, witness_keyids
from assay.index.signer.draft import Draft, check_draft, check_signatures, draft_publication
from assay.index.signer.fence import fenced
from assay.index.signer.head import show_head
from assay.index.signer.inbox import Inbox
from assay.index.signer.online import OnlineKeys
from assay.index.signer.pointers import pointer_list
from assay.index.signer.renewals import Renewals
from assay.index.signer.signing import SigningChecks
from assay.index.signer.spool import TargetSpool
from assay.index.signer.state import PublishedState
from assay.index.signer.witnesses import WitnessesSilent, WitnessPanel
from assay.model.errors import AssayError, SignerRefused, WitnessRefused
from assay.trust.claim_search import all_delegating
from assay.trust.claims import is_claiming
from assay.trust.envelope import parse_envelope
from assay.trust.layout import (
    BINS,
    CLAIMED_NEW,
    ROOT,
    TARGETS,
    Lifetimes,
    file_target,
)
from assay.trust.lean import raw_listings
from assay.trust.log.identity import named_log
from assay.trust.offline import OfflineRoles, verify_offline_roles
from assay.trust.plan import renew_at
from assay.trust.verify import TrustedMetadata

logger = logging.getLogger(__name__)

WITNESS_PAUSE = timedelta(seconds=2)
"""How long nothing is tried after witnesses refused or were silent."""

NO_OFFLINE_ROLES = OfflineRoles(None, {}, {}, frozenset())

KeyOpener = Callable[[Root, Targets], OnlineKeys]


class Publisher:
    """Turns committed intents into publications. One instance per signer process; fenced by its epoch.

    ``open_keys`` gives the signers of the online roles as a root and a bins role name them. ``log`` None: for an index
    whose ``targets`` names no log; where it names one, nothing is signed without it.
    """

    def __init__(
        self,
        ledger: Ledger,
        published: PublishedStore,
        inbox: Inbox,
        checks: FileChecks,
        open_keys: KeyOpener,
        lifetimes: Lifetimes,
        log: LogWriter | None = None,
        panel: WitnessPanel | None = None,
    ) -> None:
        self._ledger = ledger
        self._published = published
        self._inbox = inbox
        self._checks = checks
        self._open_keys = open_keys
        self._log = log or LogWriter(published, no_log_key)
        self._lifetimes = lifetimes
        self._panel = panel or WitnessPanel(())
        self._paused_until: datetime | None = None
        with ledger.write() as connection:
            self._epoch = ledger_rows.take_epoch(connection)
            head = ledger_rows.read_head(connection)
            at = ledger_rows.last_time(connection)
            taken = ledger_rows.offline_of(connection, head.publication)
        self._number = head.publication
        self._apply(head)
        inbox.clear(taken)
        self._state = PublishedState.read(published, at)
        self._keys = open_keys(self._state.trusted.root, self._state.bins())
        self._log.resume(self._state.timestamp)
        self._renewals = self._read_renewals()

    @property
    def number(self) -> int:
        """The newest publication that counts."""
        return self._number

    @property
    def keys(self) -> OnlineKeys:
        """The signers that the published roles name."""
        return self._keys

    # --- when -------------------------------------------------------------------------------------------------

    def due_at(self, now: datetime) -> datetime:
        """When online roles must be signed again even if nothing is proposed; ``now`` when it is overdue."""
        timestamp = self._state.timestamp
        if timestamp is None:
            return now
        due = renew_at(timestamp.expires, self._lifetimes.timestamp)
        first = self._renewals.next_due()
        return max(min(due, first or due), now, self._paused_until or now)

    def run_once(self, now: datetime) -> bool:
        """Finish an interrupted publication, or make one if anything waits or is due. False: nothing to do.

        ``now`` is UTC. Raises Fenced when another signer took over, SignerRefused when what was published does not
        verify or the clock went back.
        """
        if self._paused_until is not None and now < self._paused_until:
            return False
        intent = self._interrupted()
        if intent is None:
            intent = self._intend(now.replace(microsecond=0))
        if intent is None:
            return False
        try:
            self._publish(intent)
        except WitnessRefused as error:
            self._take_back(intent, error)
        except WitnessesSilent as error:
            logger.error("%s", error)  # noqa: TRY400
        else:
            return True
        self._paused_until = now + WITNESS_PAUSE
        return False

    def refresh(self, now: datetime) -> None:
        """Sign timestamp and snapshot again, though nothing waits and nothing is due. Raises as ``run_once`` does."""
        now = now.replace(microsecond=0)
        self._require_clock(now)
        with self._ledger.write() as connection:
            intent = ledger_rows.commit_intent(connection, self._epoch, now, (), {})
        self._publish(intent)

    def publish_in_bulk(self, now: datetime, scratch: Path, add_all: Callable[[BulkPublication], None]) -> int:
        """Publish what ``add_all`` adds, in one publication of any size; returns its number.

        ``scratch``: a folder for as long as it takes. Nothing else may publish meanwhile. Raises SignerRefused.
        """
        now = now.replace(microsecond=0)
        while self.run_once(now):
            pass
        self._require_clock(now)
        if self._witnesses_after(NO_OFFLINE_ROLES):
            raise SignerRefused("witnesses judge every publication whole; this one is too large", rule="bulk-witnessed")
        identity = named_log(self._state.targets())
        bulk = BulkPublication(
            self._state,
            self._published,
            self._keys,
            self._lifetimes,
            TargetSpool(scratch, self._state.succinct()),
            self._log.stream() if identity is not None else None,
            self._number + 1,
            now,
        )
        self._published.put({pointer_list(bulk.number): b""})
        add_all(bulk)
        bulk.sign_bins()
        log = None
        if identity is not None and bulk.log is not None:
            log = self._log.streamed(identity, bulk.log, bulk.number)
            self._published.put(log.files)
        timestamp = bulk.seal_off(log.head if log is not None else None)
        trusted = bulk.check(timestamp)
        self._published.sync()
        with self._ledger.write() as connection:
            intent = ledger_rows.commit_intent(connection, self._epoch, now, (), {})
            if intent.rows or intent.events:
                raise SignerRefused("something else was recorded meanwhile", rule="bulk-alone")
            head = ledger_rows.move_head(connection, intent, self._epoch, timestamp=timestamp, root=None, pages={})
        self._apply(head)
        bulk.spool.remove()
        if log is not None:
            self._log.grown(log)
        self._number = head.publication
        self._state = PublishedState(self._published, self._state.root, trusted)
        for name, expires in bulk.expires.items():
            self._renewals.set(name, expires)
        return self._number

    def _interrupted(self) -> Intent | None:
        with self._ledger.read() as connection:
            if not ledger_rows.has_open_intent(connection):
                return None
        with self._ledger.write() as connection:
            return ledger_rows.open_intent(connection)

    def _take_back(self, intent: Intent, error: WitnessRefused) -> None:
        """Every witness refused, so nobody relies on ``intent``; the proposal that it is about goes for good."""
        logger.error("every witness refused a publication: %s [%s]", error, error.rule)
        if intent.offline:
            self._inbox.refuse(self._inbox.read(intent.offline), str(error))
        with self._ledger.write() as connection:
            for row in intent.rows:
                files = row.proposal.files if isinstance(row.proposal, PublishFiles) else ()
                if error.subject in {file_target(file.distribution) for file in files}:
                    ledger_rows.refuse(connection, row.seq, str(error))
            ledger_rows.drop_intent(connection, intent, self._epoch)

    def _intend(self, now: datetime) -> Intent | None:
        """Promise a publication of whatever waits or is due, if anything does."""
        offline = self._offered(now)
        if not offline and self.due_at(now) > now:
            with self._ledger.read() as connection:
                if not ledger_rows.has_pending(connection):
                    return None
        self._require_clock(now)
        with self._ledger.write() as connection:
            return ledger_rows.commit_intent(connection, self._epoch, now, self._renewals.due(now), offline)

    def _offered(self, now: datetime) -> dict[str, int]:
        """The versions of the roles in the inbox that can be published: a draft with them passes the check."""
        waiting = self._inbox.waiting()
        if not waiting or self._state.timestamp is None:
            return {}
        files = {role: data for role, (_, data) in waiting.items()}
        try:
            offline = self._verified(files, now)
            versions = {role: waiting[role][0] for role in (*offline.files, *([ROOT] if offline.root else []))}
            if not versions:
                return {}
            rehearsal = Intent(self._number + 1, now, (), versions, ())
            draft = self._draft(rehearsal, Applied(), offline, PublishedClaims(self._state, offline))
            check_draft(self._state, self._published, draft, rehearsal, self._witnesses_after(offline))
        except AssayError as error:
            self._inbox.refuse(files, str(error))
            return {}
        return versions

    def _require_clock(self, now: datetime) -> None:
        if now + timedelta(minutes=1) < self._state.trusted.now:
            raise SignerRefused(
                "the clock is behind the last publication",
                rule="clock",
                expected=f"{self._state.trusted.now:%Y-%m-%d %H:%M:%S} UTC or later",
                found=f"{now:%Y-%m-%d %H:%M:%S} UTC",
                next_step="set the clock of this machine",
            )

    # --- how --------------------------------------------------------------------------------------------------

    def _publish(self, intent: Intent) -> None:
        offline = self._verified(self._inbox.read(intent.offline), intent.time)
        claims = PublishedClaims(self._state, offline)
        require = self._inbox.approvals.require
        signing = SigningChecks(self._checks.blobs, self._published.read, require, self._checks.upstream_root)
        applied = apply_proposals(
            intent.rows,
            self._state.page,
            self._checks.check,
            claims.judge,
            signing,
            intent.time,
            self._checks.close_after,
        )
        self._record_refusals(applied)
        draft = self._draft(intent, applied, offline, claims)
        draft, trusted = self._completed(draft, offline, intent)
        with fenced(self._ledger, self._epoch, self._published.root):
            self._published.write(draft.files)
            if draft.spilled:
                self._published.sync()
        with self._ledger.write() as connection:
            head = ledger_rows.move_head(
                connection, intent, self._epoch, timestamp=draft.timestamp, root=draft.root, pages=draft.pages
            )
        self._apply(head)
        if draft.log is not None:
            self._log.grown(draft.log)
        self._inbox.clear(intent.offline)
        for row in intent.rows:
            if isinstance(row.proposal, SignerChange):
                self._inbox.approvals.take_back(row.proposal)
        self._number = head.publication
        self._state = PublishedState(self._published, draft.root or self._state.root, trusted)
        self._keys = self._keys_for(offline)
        self._set_renewals(draft)

    def _set_renewals(self, draft: Draft) -> None:
        for name, role in draft.bins.items():
            self._renewals.set(name, role.expires)
        bins, tree = self._state.succinct(), draft.claims.tree
        if not tree and len(draft.bins) < bins.number_of_bins:
            return
        for name in self._renewals.roles():
            claims = is_claiming(name, CLAIMED_NEW)
            if (tree and name not in tree) if claims else not bins.is_delegated_role(name):
                self._renewals.retire(name)

    def _verified(self, files: dict[str, bytes], now: datetime) -> OfflineRoles:
        """``files`` of offline roles, checked against what is published."""
        state = self._state
        if not files:
            return NO_OFFLINE_ROLES
        new_identity = self._inbox.new_identity()
        return verify_offline_roles(
            files, state.root, state.targets(), state.bins(), state.snapshot, now, new_identity=new_identity
        )

    def _draft(self, intent: Intent, applied: Applied, offline: OfflineRoles, claims: PublishedClaims) -> Draft:
        identity = log_after(self._state.targets(), offline.signed.get(TARGETS))
        changed = claims.draft(applied.claims, intent.renewals, intent.time, self._lifetimes)
        log = None
        if identity is not None:
            log = self._log.draft(identity, intent, applied.refused, offline, changed.restored)
        keys = self._keys_for(offline)
        pins = pinned_claims(changed, claims)
        spill = None if self._witnesses_after(offline) else self._published.put
        life = self._lifetimes
        return draft_publication(self._state, intent, applied, offline, keys, life, changed, log, pins, spill)

    def _completed(self, draft: Draft, offline: OfflineRoles, intent: Intent) -> tuple[Draft, TrustedMetadata]:
        """``draft`` with its witnesses' signatures, where roles need them; found right before anybody is asked."""
        witnesses = self._witnesses_after(offline)
        trusted = check_draft(self._state, self._published, draft, intent, witnesses)
        if not witnesses:
            return draft, trusted
        keys = self._keys_for(offline)
        root, bins = self._after(offline)
        draft = Cosigning(self._panel, self._published, self._state, draft, offline, keys, root, bins).completed()
        return draft, check_signatures(self._state, self._published, draft, intent)

    def _witnesses_after(self, offline: OfflineRoles) -> frozenset[str]:
        """The keys beside the index's that online roles need once ``offline`` is published; empty where they do not."""
        root, bins = self._after(offline)
        return witness_keyids(root, bins, self._keys_for(offline)) if cosignatures_needed(root, bins) else frozenset()

    def _after(self, offline: OfflineRoles) -> tuple[Root, Targets]:
        """Root and bins once ``offline`` is published."""
        root = parse_envelope(offline.root, Root, ROOT).signed if offline.root else self._state.trusted.root
        return root, offline.signed.get(BINS) or self._state.bins()

    def _keys_for(self, offline: OfflineRoles) -> OnlineKeys:
        """The keys that the roles name after ``offline`` is published."""
        if offline.root is None and BINS not in offline.signed:
            return self._keys
        return self._open_keys(*self._after(offline))

    def _record_refusals(self, applied: Applied) -> None:
        if not applied.refused:
            return
        with self._ledger.write() as connection:
            for seq, error in applied.refused.items():
                ledger_rows.refuse(connection, seq, str(error))

    def _apply(self, head: Head) -> None:
        with fenced(self._ledger, self._epoch, self._published.root):
            show_head(self._published, self._log, head)

    def _read_renewals(self) -> Renewals:
        renewals = Renewals(self._lifetimes)
        if self._state.snapshot is not None:
            listed = raw_listings(self._state.snapshot)
            names = self._state.succinct().get_roles()
            renewals.read(self._published, ((name, listed[f"{name}.json"]["version"]) for name in names))
            for name, role in self._state.ask(all_delegating(self._state.trusted, CLAIMED_NEW)).items():
                renewals.set(name, role.expires)
        return renewals
