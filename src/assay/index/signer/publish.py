"""One publication, in one direction: intent, plan, sign, check, stage, head, apply.

Recovery is the same path. An intent without a head is planned again (same inputs, same bytes); a head that was not
applied is applied again. Nothing here looks whether it runs for the first time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from tuf.api.metadata import Targets

from assay.formats.pages import render_page_json
from assay.index.ledger import Ledger
from assay.index.ledger import publications as ledger_rows
from assay.index.ledger.publications import Head, Intent
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.signer.apply import Applied, apply_proposals
from assay.index.signer.checks import FileChecks
from assay.index.signer.online import OnlineKeys
from assay.index.signer.state import PublishedState, answer_from, ceremony_role
from assay.model.digests import sha256_of
from assay.model.errors import SignerRefused
from assay.model.names import ProjectName
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, SNAPSHOT, TARGETS, TIMESTAMP, Lifetimes, hashed_path, metadata_path, page_target
from assay.trust.plan import (
    Changes,
    NewTarget,
    group_by_bin,
    plan_bin,
    plan_snapshot,
    plan_timestamp,
    renew_at,
)
from assay.trust.update import Answer, Load, Request, drive, lookup, refresh
from assay.trust.verify import TrustedMetadata


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as bytes: ``files`` under immutable names, the ``timestamp``, and the page pointers to move."""

    files: Mapping[str, bytes]
    timestamp: bytes
    pages: Mapping[str, str]
    bins: Mapping[str, Targets]


class Publisher:
    """Turns committed intents into publications. One instance per signer process; fenced by its epoch."""

    def __init__(
        self,
        ledger: Ledger,
        published: PublishedStore,
        checks: FileChecks,
        keys: OnlineKeys,
        lifetimes: Lifetimes,
    ) -> None:
        self._ledger = ledger
        self._published = published
        self._checks = checks
        self._keys = keys
        self._lifetimes = lifetimes
        with ledger.write() as connection:
            self._epoch = ledger_rows.take_epoch(connection)
            head = ledger_rows.read_head(connection)
            at = ledger_rows.last_time(connection)
        self._number = head.publication
        self._apply(head)
        self._state = PublishedState.read(published, at)
        self._bin_expiry = self._read_bin_expiry()

    @property
    def number(self) -> int:
        """The newest publication that counts."""
        return self._number

    # --- when -------------------------------------------------------------------------------------------------

    def due_at(self, now: datetime) -> datetime:
        """When online roles must be signed again even if nothing is proposed; ``now`` when it is overdue."""
        timestamp = self._state.timestamp
        if timestamp is None:
            return now
        due = [renew_at(timestamp.expires, self._lifetimes.timestamp)]
        due += [renew_at(expires, self._lifetimes.bin) for expires in self._bin_expiry.values()]
        return max(min(due), now)

    def run_once(self, now: datetime) -> bool:
        """Finish an interrupted publication, or make one if anything waits or is due. False: nothing to do.

        ``now`` is UTC. Raises Fenced when another signer took over, SignerRefused when what was published does not
        verify or the clock went back.
        """
        with self._ledger.write() as connection:
            intent = ledger_rows.open_intent(connection)
            if intent is None:
                if not ledger_rows.has_pending(connection) and self.due_at(now) > now:
                    return False
                self._require_clock(now)
                intent = ledger_rows.commit_intent(
                    connection, self._epoch, now.replace(microsecond=0), self._due_bins(now)
                )
        self._publish(intent)
        return True

    def _require_clock(self, now: datetime) -> None:
        if now + timedelta(minutes=1) < self._state.trusted.now:
            raise SignerRefused(
                "the clock is behind the last publication",
                rule="clock",
                expected=f"{self._state.trusted.now:%Y-%m-%d %H:%M:%S} UTC or later",
                found=f"{now:%Y-%m-%d %H:%M:%S} UTC",
                next_step="set the clock of this machine",
            )

    def _due_bins(self, now: datetime) -> list[str]:
        if self._state.timestamp is None:
            return list(self._state.succinct().get_roles())
        due = self._lifetimes.bin
        return sorted(name for name, expires in self._bin_expiry.items() if renew_at(expires, due) <= now)

    # --- how --------------------------------------------------------------------------------------------------

    def _publish(self, intent: Intent) -> None:
        applied = apply_proposals(intent.rows, self._state.page, self._checks.check)
        self._record_refusals(applied)
        pages = {project: render_page_json(page) for project, page in applied.pages.items()}
        changes = Changes((*applied.targets, *page_targets(pages)))
        publication = self._sign(intent, changes, pages)
        trusted = self._check(publication, changes, intent.time)
        self._published.write(publication.files)
        with self._ledger.write() as connection:
            ledger_rows.move_head(connection, intent, self._epoch, publication.timestamp, publication.pages)
            head = ledger_rows.read_head(connection)
        self._apply(head)
        self._number = head.publication
        self._state = PublishedState(self._published, self._state.root, trusted)
        self._bin_expiry |= {name: role.expires for name, role in publication.bins.items()}

    def _record_refusals(self, applied: Applied) -> None:
        if not applied.refused:
            return
        with self._ledger.write() as connection:
            for seq, error in applied.refused.items():
                ledger_rows.refuse(connection, seq, str(error))

    def _sign(self, intent: Intent, changes: Changes, pages: Mapping[ProjectName, bytes]) -> Publication:
        touched = group_by_bin(changes, self._state.succinct())
        bins = {
            name: plan_bin(self._state.bin(name), touched.get(name, Changes()), intent.time, self._lifetimes)
            for name in sorted({*touched, *intent.renewals})
        }
        files = {
            metadata_path(name, role.version): sign_envelope(role, [self._keys.bin]) for name, role in bins.items()
        }
        versions = self._offline_versions() | {name: role.version for name, role in bins.items()}
        snapshot = plan_snapshot(self._state.snapshot, versions, intent.time, self._lifetimes)
        snapshot_file = sign_envelope(snapshot, [self._keys.snapshot])
        files[metadata_path(SNAPSHOT, snapshot.version)] = snapshot_file
        timestamp = plan_timestamp(self._state.timestamp, snapshot_file, snapshot.version, intent.time, self._lifetimes)
        pointers: dict[str, str] = {}
        for project, data in pages.items():
            sha256 = sha256_of(data)
            files[hashed_path(page_target(project), sha256)] = data
            pointers[project] = sha256
        return Publication(files, sign_envelope(timestamp, [self._keys.timestamp]), pointers, bins)

    def _check(self, publication: Publication, changes: Changes, now: datetime) -> TrustedMetadata:
        """Look every changed target up as a client would that has the last publication. Raises on any difference."""
        staged = {**publication.files, TIMESTAMP_NAME: publication.timestamp}

        def answer(request: Request) -> Answer:
            if isinstance(request, Load) and request.role in (TIMESTAMP, SNAPSHOT):
                return self._published_copy(request.role)
            return answer_from(self._published, staged, request)

        trusted = TrustedMetadata(self._state.root, now=now)
        drive(refresh(trusted), answer)
        for wanted in changes.new:
            found = drive(lookup(trusted, wanted.path), answer)
            if found is None or (found.sha256, found.length) != (wanted.sha256, wanted.length):
                raise SignerRefused(
                    "the signed metadata does not say what was planned",
                    subject=wanted.path,
                    rule="self-check",
                    expected=wanted.sha256,
                    found=found.sha256 if found else "nothing",
                )
        return trusted

    def _published_copy(self, role: str) -> bytes | None:
        if self._state.snapshot is None:
            return None
        return self._published.read(metadata_path(role, self._state.snapshot.version if role == SNAPSHOT else None))

    def _apply(self, head: Head) -> None:
        """Move the pointers of ``head``, ``timestamp.json`` last. Doing it again changes nothing."""
        if head.timestamp is None:
            return
        for project, sha256 in head.pages.items():
            path = page_target(ProjectName(project))
            self._published.point(path, hashed_path(path, sha256))
        self._published.write({TIMESTAMP_NAME: head.timestamp})

    # --- what was ---------------------------------------------------------------------------------------------

    def _read_bin_expiry(self) -> dict[str, datetime]:
        if self._state.timestamp is None:
            return {}
        bins = {name: self._state.bin(name) for name in self._state.succinct().get_roles()}
        return {name: role.expires for name, role in bins.items() if role is not None}

    def _offline_versions(self) -> dict[str, int]:
        if self._state.snapshot is not None:
            return {}
        return {role: ceremony_role(self._published, role).version for role in (TARGETS, BINS)}


def page_targets(pages: Mapping[ProjectName, bytes]) -> list[NewTarget]:
    """The targets of rendered pages, in a fixed order."""
    return [NewTarget(page_target(name), len(data), sha256_of(data)) for name, data in sorted(pages.items())]
