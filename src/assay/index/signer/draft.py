"""One publication as bytes: planned from what was signed before, signed, and checked as a client would, in memory.

Nothing here writes. The same state, intent, proposals and offline roles give the same roles.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tuf.api.metadata import SuccinctRoles, Targets

from assay.formats.pages import ProjectPage, render_page_json
from assay.index.ledger.publications import Intent
from assay.index.log import LogDraft
from assay.index.published import TIMESTAMP_NAME, PublishedStore
from assay.index.signer.apply import Applied
from assay.index.signer.claims import ClaimsDraft
from assay.index.signer.online import OnlineKeys
from assay.index.signer.state import PublishedState, answer_from
from assay.model.digests import Sha256, sha256_of
from assay.model.errors import SignerRefused
from assay.model.names import ProjectName
from assay.trust.claim_search import all_delegating, find_claim
from assay.trust.claims import is_claiming
from assay.trust.envelope import sign_envelope
from assay.trust.layout import (
    BINS,
    CLAIMED_NEW,
    ROOT,
    SEAL_PREFIX,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
    hashed_path,
    metadata_path,
    page_target,
)
from assay.trust.log.identity import state_head
from assay.trust.offline import OfflineRoles
from assay.trust.plan import (
    Changes,
    NewTarget,
    group_by_bin,
    plan_bin,
    plan_bin_with,
    plan_snapshot,
    plan_timestamp,
    succinct_roles,
)
from assay.trust.update import Answer, Load, Request, drive, load_role, lookup, refresh
from assay.trust.verify import TrustedMetadata

IN_MEMORY: Final = 1_024
"""Bins that a publication holds in memory. Of more, each is written as soon as it is signed."""


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A role that a publication signs: what others need to know of it once its file is made."""

    version: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """One publication. ``withdrawn``: files that leave the online bins for good, with their hashes.

    ``files`` go under immutable names; then ``root`` (if any), ``timestamp``, and the page pointers of ``pages``.
    ``replaces``: the root is a new identity. ``spilled``: the bins are written already, and not yet durable.
    """

    files: Mapping[str, bytes]
    root: bytes | None
    replaces: bool
    timestamp: bytes
    pages: Mapping[str, str]
    bins: Mapping[str, RoleFacts]
    changes: Changes
    claims: ClaimsDraft
    withdrawn: Mapping[TargetPath, Sha256]
    log: LogDraft | None
    spilled: bool = False


def draft_publication(
    state: PublishedState,
    intent: Intent,
    applied: Applied,
    offline: OfflineRoles,
    keys: OnlineKeys,
    lifetimes: Lifetimes,
    claims: ClaimsDraft,
    log: LogDraft | None,
    pins: Mapping[str, bytes],
    spill: Callable[[Mapping[str, bytes]], None] | None = None,
) -> Draft:
    """Plan and sign everything that ``intent`` changes. Raises SignerRefused for what contradicts the past.

    ``spill`` takes the bins where there are more of them than ``IN_MEMORY``; None: all are held.
    """
    pages = {project: render_page_json(page) for project, page in _numbered(applied, log).items()}
    published: Sequence[NewTarget] = (*applied.targets, *claims.restored)
    if log is not None:
        published = log.numbered(published)
    leaving = _sealed_now(state, offline) | claims.leaving
    withdrawn = {path: applied.removed[path] for path in applied.removed.keys() - leaving if state.online_target(path)}
    changes = Changes((*published, *_page_targets(pages)), leaving | frozenset(withdrawn))
    succinct = succinct_roles(offline.signed[BINS]) if BINS in offline.signed else state.succinct()
    bins, files = dict[str, RoleFacts](), dict[str, bytes]()
    planned = _plan_bins(state, changes, succinct, intent, lifetimes)
    spilling = spill is not None and planned.count > IN_MEMORY
    for roles in (planned.bins, iter(claims.delegating.items())):
        for name, role in roles:
            bins[name] = RoleFacts(role.version, role.expires)
            file = {metadata_path(name, role.version): sign_envelope(role, [keys.bin])}
            if spilling and spill is not None:
                spill(file)
            else:
                files |= file
    files |= {metadata_path(role, offline.signed[role].version): data for role, data in offline.files.items()}
    files |= {metadata_path(role, v): data for role, signed in claims.files.items() for v, data in signed.items()}
    versions = state.first_versions() | offline.versions() | {name: role.version for name, role in bins.items()}
    versions |= {role: max(signed) for role, signed in claims.files.items()}
    snapshot = plan_snapshot(state.snapshot, versions, intent.time, lifetimes, pins)
    snapshot_file = sign_envelope(snapshot, [keys.snapshot])
    files[metadata_path(SNAPSHOT, snapshot.version)] = snapshot_file
    timestamp = plan_timestamp(state.timestamp, snapshot_file, snapshot.version, intent.time, lifetimes)
    if log is not None:
        state_head(timestamp, log.head)
        files |= log.files
    files |= {hashed_path(page_target(project), sha256_of(data)): data for project, data in pages.items()}
    files |= applied.files
    return Draft(
        files=files,
        root=offline.root,
        replaces=offline.replaces,
        timestamp=sign_envelope(timestamp, [keys.timestamp]),
        pages={str(project): sha256_of(data) for project, data in pages.items()},
        bins=bins,
        changes=changes,
        claims=claims,
        withdrawn=withdrawn,
        log=log,
        spilled=spilling,
    )


@dataclass(frozen=True, slots=True)
class _PlannedBins:
    """``count`` bins with their names, made one after the other."""

    count: int
    bins: Iterator[tuple[str, Targets]]


def _plan_bins(
    state: PublishedState, changes: Changes, succinct: SuccinctRoles, intent: Intent, lifetimes: Lifetimes
) -> _PlannedBins:
    """Every bin that ``intent`` touches or renews; all of them where they get other keys or become more or fewer."""
    touched = group_by_bin(changes, succinct)
    if state.timestamp is not None and state.succinct().bit_length != succinct.bit_length:
        divided = state.bins_split(succinct)
        bins: Iterator[tuple[str, Targets]] = (
            (name, plan_bin_with(targets, listed, touched.get(name, Changes()), intent.time, lifetimes))
            for name, listed, targets in divided
        )
        return _PlannedBins(succinct.number_of_bins, bins)
    renewed = succinct.get_roles() if _signs_anew(state, succinct) else intent.renewals
    names = sorted(name for name in {*touched, *renewed} if not is_claiming(name, CLAIMED_NEW))
    keep = len(names) <= IN_MEMORY
    return _PlannedBins(
        len(names),
        (
            (name, plan_bin(state.bin(name, keep=keep), touched.get(name, Changes()), intent.time, lifetimes))
            for name in names
        ),
    )


def check_draft(
    state: PublishedState,
    published: PublishedStore,
    draft: Draft,
    intent: Intent,
    assumed: frozenset[str] = frozenset(),
) -> TrustedMetadata:
    """Look every changed target up as a client would that has the last publication. Raises on any difference.

    ``assumed``: keys of witnesses, which are asked only for what was found right.
    """
    trusted, answer = _refreshed(state, published, draft, intent, assumed)
    for wanted in (*draft.changes.new, *draft.claims.listed):
        found = drive(lookup(trusted, wanted.path), answer)
        if found is None or (found.sha256, found.length) != (wanted.sha256, wanted.length):
            raise _self_check_failed(wanted.path, wanted.sha256, found.sha256 if found else "nothing")
    if draft.spilled:
        _check_spilled(trusted, draft, answer)
    for path in draft.changes.removed:
        found = drive(lookup(trusted, path), answer)
        if (found is None) != (path in draft.withdrawn):
            expected = "nothing" if path in draft.withdrawn else "what was sealed or claimed"
            raise _self_check_failed(path, expected, found.sha256 if found else "nothing")
    for project in draft.claims.settled:
        if (claim := drive(find_claim(trusted, project), answer)) is None or not claim.is_settled:
            raise _self_check_failed(project, "a claim that the offline holders signed", "none")
    return trusted


def check_signatures(state: PublishedState, published: PublishedStore, draft: Draft, intent: Intent) -> TrustedMetadata:
    """Every role that ``draft`` changes has the signatures that clients demand; its content was checked before."""
    trusted, answer = _refreshed(state, published, draft, intent, frozenset())
    if any(is_claiming(role, CLAIMED_NEW) for role in draft.bins):
        drive(all_delegating(trusted, CLAIMED_NEW), answer)
    drive(load_role(trusted, BINS, TARGETS), answer)
    for role in draft.bins:
        if not is_claiming(role, CLAIMED_NEW):
            drive(load_role(trusted, role, BINS), answer)
    return trusted


def _check_spilled(trusted: TrustedMetadata, draft: Draft, answer: Callable[[Request], Answer]) -> None:
    """Load every bin that was written ahead, as a client would, and let it go again."""
    drive(load_role(trusted, BINS, TARGETS), answer)
    for role in draft.bins:
        if not is_claiming(role, CLAIMED_NEW):
            drive(load_role(trusted, role, BINS), answer)
            trusted.forget(role)


def _refreshed(
    state: PublishedState, published: PublishedStore, draft: Draft, intent: Intent, assumed: frozenset[str]
) -> tuple[TrustedMetadata, Callable[[Request], Answer]]:
    """What a client trusts that has the last publication and sees ``draft``, and where it gets further roles."""
    staged = {**draft.files, TIMESTAMP_NAME: draft.timestamp}
    anchor = draft.root if draft.root is not None and draft.replaces else state.root
    after = state.trusted if draft.root is None else None
    trusted = TrustedMetadata(anchor, now=intent.time, assumed=assumed, after=after)
    if draft.root is not None and not draft.replaces:
        staged[metadata_path(ROOT, trusted.root.version + 1)] = draft.root

    def answer(request: Request) -> Answer:
        if isinstance(request, Load) and request.role in (TIMESTAMP, SNAPSHOT) and after is None:
            return state.published_copy(request.role)
        return answer_from(published, staged, request)

    drive(refresh(trusted), answer)
    return trusted, answer


def _self_check_failed(path: str, expected: str, found: str) -> SignerRefused:
    return SignerRefused(
        "the signed metadata does not say what was planned",
        subject=path,
        rule="self-check",
        expected=expected,
        found=found,
    )


def _numbered(applied: Applied, log: LogDraft | None) -> Mapping[ProjectName, ProjectPage]:
    """The new pages; those of claimed projects name the log entries that developers' signatures cannot."""
    if log is None:
        return applied.pages
    return {name: log.numbered_page(p) if name in applied.claims else p for name, p in applied.pages.items()}


def _page_targets(pages: Mapping[ProjectName, bytes]) -> list[NewTarget]:
    return [NewTarget(page_target(name), len(data), sha256_of(data)) for name, data in sorted(pages.items())]


def _signs_anew(state: PublishedState, succinct: SuccinctRoles) -> bool:
    """Whether the bins get other keys or another threshold, so that every one must be signed again."""
    if state.timestamp is None:
        return True
    before = state.succinct()
    return (set(before.keyids), before.threshold) != (set(succinct.keyids), succinct.threshold)


def _sealed_now(state: PublishedState, offline: OfflineRoles) -> frozenset[TargetPath]:
    """The paths that leave the online bins because a new seal lists them with the same hash."""
    leaving = set()
    for role, signed in offline.signed.items():
        if not role.startswith(SEAL_PREFIX):
            continue
        for name, sealed in signed.targets.items():
            online = state.online_target(TargetPath(name))
            if online is None:
                continue
            if (online.hashes, online.length) != (sealed.hashes, sealed.length):
                raise SignerRefused(
                    "the seal has another hash than what is published", subject=name, rule="second-hash"
                )
            leaving.add(TargetPath(name))
    return frozenset(leaving)
