"""One publication of more than memory holds: new projects with all their files, signed bin after bin.

It takes the way of every publication (plans, signatures, the check as a client, head, pointers), with the disk in the
place of memory. Until the head moves nothing counts: an interrupted one leaves files that nobody lists, and is begun
anew. Only projects that were never published can come this way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from assay.formats.pages import ProjectPage, render_page_json
from assay.index.log.entries import file_entry
from assay.index.log.stream import LogStream
from assay.index.proposals import ProposedFile
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.signer.online import OnlineKeys
from assay.index.signer.pointers import pointer_list
from assay.index.signer.spool import TargetSpool
from assay.index.signer.state import PublishedState, answer_from
from assay.model.digests import sha256_of
from assay.model.errors import SignerRefused
from assay.model.names import ProjectName
from assay.trust.envelope import sign_envelope
from assay.trust.layout import (
    BINS,
    SNAPSHOT,
    TARGETS,
    Lifetimes,
    file_target,
    hashed_path,
    metadata_path,
    page_target,
)
from assay.trust.lean import raw_targets
from assay.trust.log.checkpoint import LogHead
from assay.trust.log.identity import LOG_INDEX, state_head
from assay.trust.plan import Changes, NewTarget, plan_bin, plan_snapshot, plan_timestamp, raw_target
from assay.trust.update import drive, load_role, lookup, refresh
from assay.trust.verify import TrustedMetadata


@dataclass(slots=True)
class BulkPublication:
    """Publication ``number``, as of ``time``, on top of ``state``. ``log`` None: the index keeps none."""

    state: PublishedState
    published: PublishedStore
    keys: OnlineKeys
    lifetimes: Lifetimes
    spool: TargetSpool
    log: LogStream | None
    number: int
    time: datetime
    versions: dict[str, int] = field(default_factory=dict)
    expires: dict[str, datetime] = field(default_factory=dict)

    def add(self, project: ProjectName, files: Sequence[ProposedFile]) -> None:
        """Publish a new project of the upstream's with ``files``."""
        page = ProjectPage(project, "upstream", ()).with_files(tuple(file.entry for file in files))
        for file in files:
            custom = dict(file.custom)
            if self.log is not None:
                custom[LOG_INDEX] = self.log.add(file_entry(self.time, file))
            self.spool.add(NewTarget(file_target(file.distribution), file.entry.size, file.entry.sha256, custom))
        data = render_page_json(page)
        path, digest = page_target(project), sha256_of(data)
        self.spool.add(NewTarget(path, len(data), digest))
        self.published.put({hashed_path(path, digest): data})
        with self.published.path(pointer_list(self.number)).open("a", encoding="ascii") as listed:
            listed.write(f"{project} {digest}\n")

    def sign_bins(self) -> None:
        """Plan and sign every bin that changes, and lay it under its immutable name."""
        for name, targets in self.spool.bins():
            role = plan_bin(self.state.bin(name, keep=False), Changes(tuple(targets)), self.time, self.lifetimes)
            self.published.put({metadata_path(name, role.version): sign_envelope(role, [self.keys.bin])})
            self.versions[name], self.expires[name] = role.version, role.expires

    def seal_off(self, log_head: LogHead | None) -> bytes:
        """Write the snapshot of everything; returns the timestamp's file."""
        snapshot = plan_snapshot(self.state.snapshot, self.versions, self.time, self.lifetimes)
        file = sign_envelope(snapshot, [self.keys.snapshot])
        self.published.put({metadata_path(SNAPSHOT, snapshot.version): file})
        timestamp = plan_timestamp(self.state.timestamp, file, snapshot.version, self.time, self.lifetimes)
        if log_head is not None:
            state_head(timestamp, log_head)
        return sign_envelope(timestamp, [self.keys.timestamp])

    def check(self, timestamp: bytes) -> TrustedMetadata:
        """Read every bin back as a client does that has the last publication. Raises SignerRefused on a difference.

        The search from ``targets`` on is gone through once for each bin: it is the same for all its paths.
        """
        trusted = TrustedMetadata(self.state.root, now=self.time, after=self.state.trusted)
        staged = {TIMESTAMP_NAME: timestamp}
        drive(refresh(trusted), lambda request: answer_from(self.published, staged, request))
        drive(load_role(trusted, BINS, TARGETS), lambda request: answer_from(self.published, staged, request))
        for name, targets in self.spool.bins():
            found = drive(lookup(trusted, targets[0].path), lambda request: answer_from(self.published, {}, request))
            says = raw_targets(trusted.require(name)) if found is not None else {}
            for wanted in targets:
                if says.get(wanted.path) != raw_target(wanted):
                    raise SignerRefused(
                        "the signed metadata does not say what was planned",
                        subject=wanted.path,
                        rule="self-check",
                        expected=wanted.sha256,
                    )
            trusted.forget(name)
        return trusted
