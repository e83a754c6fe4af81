"""Claims in a publication: which role of a project's developers is taken, and what that changes elsewhere.

Invariants: nothing is published for a claimed project without its developers' signatures; a claim's role goes up by one
version, and drops or changes no hash; a project's files stand in its claim or in the online bins, never in neither.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from securesystemslib.signer import Key
from tuf.api.metadata import TargetFile, Targets

from assay.index.proposals import PublishFiles
from assay.index.signer.state import PublishedState
from assay.model.digests import parse_sha256
from assay.model.errors import NotAllowed, NotFresh, SignerRefused, VerificationFailed
from assay.model.names import ProjectName
from assay.trust.claim_search import FoundClaim, all_delegating, claiming_roles, find_claim
from assay.trust.claims import (
    Claim,
    claim_role,
    claims_in,
    custom_of,
    is_claiming,
    plan_delegations,
    require_claim_signed,
    revocations_in,
    with_changed,
)
from assay.trust.envelope import Envelope, parse_envelope
from assay.trust.layout import (
    CLAIMED,
    CLAIMED_NEW,
    SEAL_PREFIX,
    TARGETS,
    Lifetimes,
    RoleLimits,
    TargetPath,
    file_target,
)
from assay.trust.offline import OfflineRoles
from assay.trust.plan import NewTarget

MAX_ROLE_BYTES: Final = 2_000_000
MAX_SNAPSHOT_BYTES: Final = RoleLimits().snapshot * 9 // 10
BYTES_BESIDE_NAME: Final = len('"":{"version":1234},')


@dataclass(frozen=True, slots=True)
class ClaimUpdate:
    """A claim's role that is taken. ``first``: nobody claimed the project before. ``files``: this version's file and
    those of the versions that the same publication took before it.
    """

    claim: Claim
    envelope: Envelope[Targets]
    first: bool
    files: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class ClaimsDraft:
    """What a publication changes because of claims.

    ``delegating``: new versions of the online roles; ``tree``: all of them that are in use. ``files``: the developers'
    roles, by version. ``leaving``: paths that leave the bins because a first claim lists them; ``restored``: the files
    of revoked claims, which come back. ``listed``: files that a client must find; ``settled``: projects that
    ``claimed`` has from now on.
    """

    delegating: Mapping[str, Targets] = field(default_factory=dict)
    tree: frozenset[str] = frozenset()
    files: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)
    leaving: frozenset[TargetPath] = frozenset()
    restored: tuple[NewTarget, ...] = ()
    listed: tuple[NewTarget, ...] = ()
    settled: frozenset[ProjectName] = frozenset()


class PublishedClaims:
    """The claims of what was published last, and the judgement of what shall follow. One for each publication."""

    def __init__(self, state: PublishedState, offline: OfflineRoles) -> None:
        self._state = state
        self._offline = offline
        self._found: dict[ProjectName, FoundClaim | None] = {}
        self._after = _claimed_after(state, offline)
        self._revoked = revocations_in(offline.signed[CLAIMED]) if CLAIMED in offline.signed else {}

    def find(self, project: ProjectName) -> FoundClaim | None:
        """The published claim of ``project``."""
        if project not in self._found:
            published = self._state.timestamp is not None
            self._found[project] = self._state.ask(find_claim(self._state.trusted, project)) if published else None
        return self._found[project]

    def judge(
        self, proposal: PublishFiles, earlier: ClaimUpdate | None, waiting: Sequence[NewTarget], now: datetime
    ) -> ClaimUpdate | None:
        """What the claim of a project becomes; None where nobody claims it. Raises NotAllowed, VerificationFailed.

        ``earlier``: the role that this publication took before; ``waiting``: targets that it adds to the bins.
        """
        found = self.find(proposal.project)
        if proposal.claim is None:
            if found is not None or earlier is not None:
                raise claimed_project(proposal.project)
            return None
        self._require_open(proposal, found, earlier)
        before = earlier.envelope.signed if earlier else found.role if found else None
        authority = earlier.claim if earlier else found.claim if found else None
        if found is not None and found.is_settled:
            authority = found.claim  # until the next ceremony: a change of keys is signed by the old ones, too
        envelope = _parse(proposal, now)
        claim = require_claim_signed(envelope, proposal.project, authority)
        _require_version(envelope.signed, before, self._listed(claim.role))
        _require_kept(envelope.signed, before, self._may_go)
        self._require_vouched_for(envelope.signed, before, proposal, waiting)
        if before is None:
            self._require_whole(envelope.signed, proposal, waiting)
        files = {**(earlier.files if earlier else {}), envelope.signed.version: envelope.data}
        return ClaimUpdate(claim, envelope, before is None or (earlier is not None and earlier.first), files)

    def draft(
        self, updates: Mapping[ProjectName, ClaimUpdate], renewals: Iterable[str], now: datetime, lifetimes: Lifetimes
    ) -> ClaimsDraft:
        """What a publication with ``updates`` changes. ``renewals``: online roles that are signed again anyway."""
        targets = self._offline.signed.get(TARGETS) or self._state.targets()
        again = {role for role in renewals if is_claiming(role, CLAIMED_NEW)}
        is_first = self._state.timestamp is None
        if CLAIMED_NEW not in claiming_roles(targets) or not (updates or again or self._offline.signed or is_first):
            return ClaimsDraft()
        self._require_seals_agree()
        gone, settled = self._moved()
        published = self._nodes(CLAIMED_NEW)
        online = {project: claim for role in published.values() for project, claim in claims_in(role).items()}
        online |= {project: update.claim for project, update in updates.items() if not self._is_settled(project)}
        online = {project: claim for project, claim in online.items() if project not in settled | gone}
        keys, threshold = _delegated_to(targets, CLAIMED_NEW)
        tree = plan_delegations(CLAIMED_NEW, online, keys.values(), threshold)
        if is_first or _delegated_to(self._state.targets(), CLAIMED_NEW) != (keys, threshold):
            again = set(tree)
        listed = {role: self._listed(role) for role in tree}
        return ClaimsDraft(
            delegating=with_changed(tree, published, listed, again, now + lifetimes.claimed_new),
            tree=frozenset(tree),
            files={update.claim.role: update.files for update in updates.values()},
            leaving=frozenset(path for update in updates.values() if update.first for path in self._binned(update)),
            restored=tuple(target for project in sorted(gone) for target in self._unsealed(project)),
            listed=tuple(target for update in updates.values() for target in self._news(update)),
            settled=settled,
        )

    def _is_settled(self, project: ProjectName) -> bool:
        found = self.find(project)
        return found is not None and found.is_settled

    def _moved(self) -> tuple[frozenset[ProjectName], frozenset[ProjectName]]:
        """The projects that leave ``claimed``, and those that come to it."""
        if self._after is None:
            return frozenset(), frozenset()
        before = {project for role in self._nodes(CLAIMED).values() for project in claims_in(role)}
        gone = before - self._after
        for project, version in self._revoked.items():
            found = self.find(project)
            if found is not None and project not in self._after and found.role.version <= version:
                gone.add(project)
        return frozenset(gone), self._after - before

    # --- judging ----------------------------------------------------------------------------------------------

    def _require_open(self, proposal: PublishFiles, found: FoundClaim | None, earlier: ClaimUpdate | None) -> None:
        project = proposal.project
        if proposal.origin != "upload" or CLAIMED_NEW not in claiming_roles(self._state.targets()):
            raise NotAllowed("this project cannot be claimed here", subject=project, rule="claim-impossible")
        if found is None and self._snapshot_bytes() > MAX_SNAPSHOT_BYTES:
            raise NotAllowed(
                "this index takes no more claims: its snapshot lists every one, and clients read no larger one",
                subject=project,
                rule="claims-full",
                expected=f"a snapshot of at most {MAX_SNAPSHOT_BYTES} bytes",
                found=f"about {self._snapshot_bytes()} bytes",
            )
        moves = self._after is not None and (project in self._after) != self._is_settled(project)
        rekeyed = earlier is not None and found is not None and earlier.claim != found.claim
        if moves or rekeyed or project in self._revoked:
            raise NotAllowed(
                "this claim is just being changed, settled or revoked; run the command again", rule="claim-moves"
            )

    def _require_vouched_for(
        self, role: Targets, before: Targets | None, proposal: PublishFiles, waiting: Sequence[NewTarget]
    ) -> None:
        """Every path was published before or comes with this proposal, and every file of the proposal is listed."""
        known = {target.path: (target.sha256, target.length) for target in waiting}
        known |= {file_target(file.distribution): (file.entry.sha256, file.entry.size) for file in proposal.files}
        for file in proposal.files:
            if file_target(file.distribution) not in role.targets:
                raise VerificationFailed(
                    "the developers' role does not list this file",
                    subject=file.entry.filename,
                    rule="claim-file-missing",
                )
        for name, target in role.targets.items():
            if before is not None and name in before.targets and name not in known:
                continue
            path = TargetPath(name)
            if path not in known:
                published = self._state.target(path) if name.startswith(f"packages/{proposal.project}/") else None
                if published is None:
                    raise VerificationFailed(
                        "the developers' role lists a file that was not uploaded",
                        subject=name,
                        rule="claim-unknown-file",
                    )
                known[path] = (published.sha256, published.length)
            if (target.hashes.get("sha256"), target.length) != known[path]:
                raise VerificationFailed(
                    "the developers signed other bytes than were uploaded",
                    subject=name,
                    rule="second-hash",
                    expected=f"sha256 {known[path][0]}",
                    found=f"sha256 {target.hashes.get('sha256')}",
                )

    def _require_whole(self, role: Targets, proposal: PublishFiles, waiting: Sequence[NewTarget]) -> None:
        """A first claim lists every unsealed file that the project has, or they would vanish."""
        page = self._state.page(proposal.project)
        paths = [TargetPath(entry.url.removeprefix("../../")) for entry in page.files] if page else []
        for path in [*paths, *(target.path for target in waiting)]:
            if path not in role.targets and (path not in paths or self._state.online_target(path) is not None):
                raise VerificationFailed(
                    "a first claim signs every file of the project that is not sealed yet",
                    subject=path,
                    rule="claim-incomplete",
                    next_step="run assay claim init again: a file may have been uploaded meanwhile",
                )

    def _may_go(self, path: TargetPath) -> bool:
        """Whether a developers' role may drop ``path``: a seal has it, or it was removed."""
        project, filename = ProjectName(path.split("/")[1]), path.rpartition("/")[2]
        page = self._state.page(project)
        removed = page is not None and any(file.filename == filename for file in page.removed)
        return removed or self._is_sealed(path)

    def _is_sealed(self, path: TargetPath) -> bool:
        return is_sealed(self._state, path)

    def _require_seals_agree(self) -> None:
        """A new seal has the hashes that the developers signed."""
        for role, signed in self._offline.signed.items():
            for name, sealed in signed.targets.items() if role.startswith(SEAL_PREFIX) else ():
                found = self.find(ProjectName(name.split("/")[1]))
                claimed = found.role.targets.get(name) if found else None
                if claimed is not None and (claimed.hashes, claimed.length) != (sealed.hashes, sealed.length):
                    raise SignerRefused(
                        "the seal has another hash than the developers signed", subject=name, rule="second-hash"
                    )

    # --- reading ----------------------------------------------------------------------------------------------

    def _listed(self, role: str) -> int:
        meta = self._state.snapshot.meta.get(f"{role}.json") if self._state.snapshot else None
        return meta.version if meta else 0

    def _snapshot_bytes(self) -> int:
        """About how large the published snapshot is."""
        listed = self._state.snapshot.meta if self._state.snapshot else {}
        return sum(map(len, listed)) + BYTES_BESIDE_NAME * len(listed)

    def _nodes(self, top: str) -> dict[str, Targets]:
        return {} if self._state.timestamp is None else self._state.ask(all_delegating(self._state.trusted, top))

    def _binned(self, update: ClaimUpdate) -> list[TargetPath]:
        paths = [TargetPath(name) for name in update.envelope.signed.targets]
        return [path for path in paths if self._state.online_target(path) is not None]

    def _unsealed(self, project: ProjectName) -> list[NewTarget]:
        found = self.find(project)
        files = found.role.targets.items() if found else ()
        return [_new_target(name, file) for name, file in files if not self._is_sealed(TargetPath(name))]

    def _news(self, update: ClaimUpdate) -> list[NewTarget]:
        found = self.find(update.claim.project)
        old = found.role.targets if found else {}
        return [_new_target(name, file) for name, file in update.envelope.signed.targets.items() if name not in old]


def claimed_project(project: ProjectName) -> NotAllowed:
    """The refusal of a file that no developer signed."""
    return NotAllowed(
        "this project is claimed: upload with `assay publish`, which signs with its developers' key",
        subject=project,
        rule="claimed-project",
    )


def is_sealed(state: PublishedState, path: TargetPath) -> bool:
    """Whether a published seal has ``path``."""
    try:
        found = state.target(path)
    except NotFresh:
        return False  # only a claim's own role can have expired, and seals are searched before it
    return found is not None and found.role.startswith(SEAL_PREFIX)


def published_claims(state: PublishedState) -> Iterator[FoundClaim]:
    """Every claim in force, by project."""
    projects: set[ProjectName] = set()
    for top in claiming_roles(state.targets()):
        for role in state.ask(all_delegating(state.trusted, top)).values():
            projects |= set(claims_in(role))
    for project in sorted(projects):
        if (found := state.ask(find_claim(state.trusted, project))) is not None:
            yield found


def _claimed_after(state: PublishedState, offline: OfflineRoles) -> frozenset[ProjectName] | None:
    """The projects that ``claimed`` has once ``offline`` is published; None where it does not change."""
    if not any(is_claiming(role, CLAIMED) for role in offline.signed):
        return None
    found: set[ProjectName] = set()
    published = state.ask(all_delegating(state.trusted, CLAIMED))
    pending = [CLAIMED]
    while pending:
        name = pending.pop()
        role = offline.signed.get(name) or published.get(name)
        if role is None:
            raise VerificationFailed("nobody signed this role", subject=name, rule="delegation-without-role")
        found |= set(claims_in(role))
        roles = role.delegations.roles if role.delegations else None
        pending += [child for child in roles or {} if is_claiming(child, CLAIMED)]
    return frozenset(found)


def _delegated_to(targets: Targets, role: str) -> tuple[dict[str, Key], int]:
    delegations = targets.delegations
    if delegations is None or not delegations.roles or role not in delegations.roles:
        return {}, 1
    delegated = delegations.roles[role]
    return {keyid: delegations.keys[keyid] for keyid in delegated.keyids}, delegated.threshold


def _parse(proposal: PublishFiles, now: datetime) -> Envelope[Targets]:
    role = claim_role(proposal.project)
    data = (proposal.claim or "").encode()
    if len(data) > MAX_ROLE_BYTES:
        raise VerificationFailed("larger than a claim's role may be", subject=role, rule="metadata-too-large")
    envelope = parse_envelope(data, Targets, role)
    if envelope.signed.is_expired(now) or envelope.signed.expires > now + 2 * Lifetimes().claim:
        raise VerificationFailed(
            "signed for a time that has passed, or for too long",
            subject=role,
            rule="expired",
            found=f"{envelope.signed.expires:%Y-%m-%d}",
        )
    return envelope


def _require_version(new: Targets, before: Targets | None, listed: int) -> None:
    expected = max(before.version if before else 0, listed) + 1
    if new.version != expected:
        raise NotAllowed(
            "the developers' role is not the next version: somebody else published meanwhile",
            rule="claim-version",
            expected=str(expected),
            found=str(new.version),
            next_step="run the command again",
        )


def _require_kept(new: Targets, before: Targets | None, may_go: Callable[[TargetPath], bool]) -> None:
    """No hash changes, and nothing is dropped but what a seal has, or what was removed."""
    for name, old in before.targets.items() if before else ():
        kept = new.targets.get(name)
        if kept is None and may_go(TargetPath(name)):
            continue
        if kept is None or (kept.hashes, kept.length) != (old.hashes, old.length):
            raise SignerRefused(
                "the developers' role drops or changes a file that is published",
                subject=name,
                rule="second-hash",
                expected=f"sha256 {old.hashes.get('sha256')}",
                found=f"sha256 {kept.hashes.get('sha256')}" if kept else "nothing",
            )


def _new_target(name: str, file: TargetFile) -> NewTarget:
    return NewTarget(TargetPath(name), file.length, parse_sha256(file.hashes["sha256"]), custom_of(file))
