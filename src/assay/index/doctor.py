"""``assay doctor``: does everything that the index says agree? Reads, compares, changes nothing (threats B9, B10, B13).

The signed metadata is the measure: pages, ledger and blobs are held against it, never the other way round.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import Root

from assay.formats.pages import ProjectPage
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder
from assay.index.findings import Finding
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import files_of, last_time, read_head
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.rebuild import as_of
from assay.index.signer.state import PublishedState
from assay.index.upkeep.condition import examine_folder
from assay.keys.expiry import reminders
from assay.model.digests import Sha256
from assay.model.distributions import parse_distribution
from assay.model.errors import AssayError
from assay.model.names import ProjectName
from assay.trust.claim_search import all_delegating
from assay.trust.claims import settled_by
from assay.trust.envelope import parse_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    CLAIMED,
    ROOT,
    TARGETS,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
    file_target,
    page_target,
)
from assay.trust.witness_memory import quorum_advice

HELD_ROLES = 256
"""So many roles stay in memory: a whole index's do not fit."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was looked at, and what was found."""

    projects: int
    files: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Nothing is wrong."""
        return all(finding.severity != "wrong" for finding in self.findings)


def examine(data: DataFolder, now: datetime, lifetimes: Lifetimes, *, hash_blobs: bool) -> Examination:
    """Examine the whole data folder; ``hash_blobs``: read every blob, too. Raises nothing for what it finds."""
    findings = list(examine_folder(data, now))
    published = PublishedStore(data.published)
    if published.read(TIMESTAMP_NAME) is None:
        text = "nothing is published here"
        findings.append(Finding("wrong", "metadata", text, "assay serve, or assay restore BACKUP --data NEW"))
        return Examination(0, 0, tuple(findings))
    ledger = None
    try:
        ledger = Ledger.open(data.ledger_file) if data.ledger_file.exists() else None
    except AssayError as error:
        findings.append(Finding("wrong", "ledger", str(error), error.next_step))
    try:
        state = PublishedState.read(published, _as_of(published, ledger, now))
    except AssayError as error:
        text = f"what is published does not verify: {error}"
        findings.append(Finding("wrong", "metadata", text, "assay restore --published a mirror's copy, or BACKUP"))
        return Examination(0, 0, tuple(findings))
    if ledger is None:
        return Examination(0, 0, (*findings, *_ending(state, now, lifetimes)))
    try:
        projects, files = 0, 0
        findings += [*_shown(published, ledger), *_ending(state, now, lifetimes)]
        with ledger.read() as connection:
            names = accounts.project_names(connection)
        for project in names:
            projects += 1
            page = _page(state, project, findings)
            if page is not None:
                files += len(page.files)
                findings += _compare(state, data, ledger, page, hash_blobs)
            state.trusted.trim(HELD_ROLES, BIN_PREFIX)
        return Examination(projects, files, tuple(findings))
    finally:
        ledger.close()


def _as_of(published: PublishedStore, ledger: Ledger | None, now: datetime) -> datetime:
    """When what is published was made: by the ledger, else as late as it may be read."""
    if ledger is not None:
        with ledger.read() as connection:
            return last_time(connection)
    return as_of(published.read(TIMESTAMP_NAME) or b"", now)


def _shown(published: PublishedStore, ledger: Ledger) -> Iterator[Finding]:
    with ledger.read() as connection:
        head = read_head(connection)
    if head.timestamp != published.read(TIMESTAMP_NAME):
        yield Finding(
            "wrong", "timestamp.json", "is not the one of the head", "start the signer: it applies the head again"
        )


def _ending(state: PublishedState, now: datetime, lifetimes: Lifetimes) -> Iterator[Finding]:
    if state.timestamp is not None and state.timestamp.expires <= now:
        text = f"expired at {state.timestamp.expires:%Y-%m-%d %H:%M} UTC"
        yield Finding("wrong", "timestamp", text, "assay serve, or assay refresh")
    root = parse_envelope(state.root, Root, ROOT).signed
    stamp = root.roles[TIMESTAMP]
    for advice in quorum_advice(len(stamp.keyids) - 1, stamp.threshold - 1):
        yield Finding("note", "witnesses", advice, "docs/witness.md")
    settled = state.ask(all_delegating(state.trusted, CLAIMED))
    ends = {ROOT: root.expires, TARGETS: state.targets().expires, BINS: state.bins().expires}
    ends |= {CLAIMED: min(role.expires for role in settled.values())} if settled else {}
    spans = {ROOT: lifetimes.root, TARGETS: lifetimes.targets, BINS: lifetimes.bins, CLAIMED: lifetimes.claimed}
    for reminder in reminders(ends, spans, now):
        step = "assay claim plan, or seal plan" if reminder.role == CLAIMED else "docs/ceremony.md"
        yield Finding("wrong" if reminder.days_left < 0 else "note", reminder.role, str(reminder), step)
    if settled and set(settled_by(state.targets())) != set(root.roles[TARGETS].keyids):
        text = "settled claims are still signed by former holders of targets: their keys count until it is renewed"
        yield Finding("wrong", CLAIMED, text, "assay claim plan, or seal plan")


def _page(state: PublishedState, project: ProjectName, findings: list[Finding]) -> ProjectPage | None:
    try:
        return state.page(project)
    except AssayError as error:
        findings.append(Finding("wrong", page_target(project), str(error), error.next_step))
        return None


def _compare(
    state: PublishedState, data: DataFolder, ledger: Ledger, page: ProjectPage, hash_blobs: bool
) -> Iterator[Finding]:
    """Each file of a signed page against its target, the ledger's row and the blob."""
    blobs = BlobStore(data.blobs)
    with ledger.read() as connection:
        rows = {row.filename: row for row in files_of(connection, page.project)}
    for file in page.files:
        path: TargetPath = file_target(parse_distribution(file.filename, page.project))
        target = state.target(path)
        if target is None or target.sha256 != file.sha256:
            found = target.sha256 if target else "nothing (taken down?)"
            yield Finding(
                "note" if target is None else "wrong", path, f"the page says {file.sha256}, the target {found}"
            )
        row = rows.get(file.filename)
        if row is None or (row.sha256, row.size) != (file.sha256, file.size):
            found = f"sha256 {row.sha256}" if row else "no row"
            text = f"the ledger was changed: signed is sha256 {file.sha256}, the ledger has {found}"
            yield Finding("wrong", path, text, "restore the ledger; what clients get is what was signed")
        blob = blobs.path(file.sha256)
        if not blob.exists():
            if file.upstream_url is None:
                yield Finding("wrong", path, "its bytes are gone from the blob store", "restore the blob from a backup")
        elif blob.stat().st_size != file.size or (hash_blobs and _sha256(blobs, file.sha256) != file.sha256):
            yield Finding(
                "wrong", path, "its bytes in the blob store are not those that were signed", "restore the blob"
            )


def _sha256(blobs: BlobStore, sha256: Sha256) -> str:
    with blobs.path(sha256).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
