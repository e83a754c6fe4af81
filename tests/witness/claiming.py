"""The honest index of ``world`` with everything that its holders and its projects' developers may do, too."""

from dataclasses import dataclass, field

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Delegations, TargetFile, Targets

from assay.model.names import ProjectName
from assay.trust.claims import (
    Claim,
    plan_claim_role,
    plan_delegations,
    with_changed,
    with_claims_delegation,
)
from assay.trust.envelope import sign_envelope
from assay.trust.layout import (
    BIN_PREFIX,
    BINS,
    CLAIMED,
    CLAIMED_NEW,
    ONLINE_ROLES,
    ROOT,
    SNAPSHOT,
    SPEC_VERSION,
    TAKEDOWN,
    TARGETS,
    TIMESTAMP,
    TargetPath,
)
from assay.trust.plan import plan_bins, plan_root
from assay.trust.seal import with_delegations
from assay.trust.takedown import empty_takedown, taken_down, with_takedown
from witness.world import LIFETIMES, OFFLINE, Index


@dataclass
class ClaimingIndex(Index):
    """Claims by project, each with its developer: those of ``claimed-new``, and the settled ones."""

    new: dict[ProjectName, CryptoSigner] = field(default_factory=dict)
    settled: dict[ProjectName, CryptoSigner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._delegate(CLAIMED_NEW)
        self.put(
            CLAIMED_NEW,
            Targets(1, SPEC_VERSION, self.now + LIFETIMES.claimed_new, {}, Delegations({}, {})),
            self.own[BIN_PREFIX],
        )

    def claimed(self, project: str) -> bool:
        """Whether its developer signs for ``project``."""
        return ProjectName(project) in self.new | self.settled

    def claim(self, project: str) -> None:
        """The developer takes the project over: its files leave the bins."""
        name = ProjectName(project)
        mine = [path for path in self.online() if path.startswith(f"packages/{project}/")]
        files = {TargetPath(path): self.roles[self.bin_of(path)].targets[path] for path in mine}
        self.new[name] = CryptoSigner.generate_ed25519()
        self._sign_claim(name, self.new[name], files)
        self._tree(CLAIMED_NEW)
        self.change(removed=frozenset(TargetPath(path) for path in mine))

    def release(self, project: str, path: TargetPath, content: bytes) -> None:
        """The developer publishes a file."""
        name = ProjectName(project)
        old = {TargetPath(known): file for known, file in self.roles[f"claim-{name}"].targets.items()}
        file = TargetFile.from_data(path, content, ["sha256"])
        self._sign_claim(name, (self.new | self.settled)[name], {**old, path: file})

    def settle(self) -> None:
        """The holders take all new claims over."""
        self.settled |= self.new
        self.new.clear()
        self._tree(CLAIMED)
        self._tree(CLAIMED_NEW)
        self._delegate(CLAIMED)

    def take_down(self, path: TargetPath) -> None:
        """The holders make ``path`` uninstallable."""
        expires = self.now + LIFETIMES.targets
        if path in taken_down(self.roles[TARGETS]):
            return
        targets = with_takedown(self.roles[TARGETS], [path], [OFFLINE[TARGETS].public_key], 1, expires)
        self.put(TARGETS, targets, OFFLINE[TARGETS])
        self.put(TAKEDOWN, empty_takedown(self._next(TAKEDOWN), expires), OFFLINE[TARGETS])

    def rotate(self) -> None:
        """A ceremony gives the index new online keys; everything online is signed anew."""
        self.own |= {role: CryptoSigner.generate_ed25519() for role in ONLINE_ROLES}
        keys: dict[str, list[Key]] = {role: [OFFLINE[role].public_key] for role in (ROOT, TARGETS)}
        keys |= {role: self.online_keys(role) for role in (SNAPSHOT, TIMESTAMP)}
        thresholds = {SNAPSHOT: self.threshold, TIMESTAMP: self.threshold}
        root = plan_root(keys, thresholds, 2 + len(self.later_roots), self.now + LIFETIMES.root)
        self.later_roots.append(sign_envelope(root, [OFFLINE[ROOT]]))
        expires = self.now + LIFETIMES.bins
        bins = plan_bins(self.online_keys(BIN_PREFIX), self.threshold, self.bits, self._next(BINS), expires)
        self.put(BINS, bins, OFFLINE[BINS])
        self._delegate(CLAIMED_NEW)
        self._tree(CLAIMED_NEW, again=True)
        for name in self.bins():
            self.renew(name)

    # --- how --------------------------------------------------------------------------------------------------

    def _next(self, role: str) -> int:
        return self.roles[role].version + 1 if role in self.roles else 1

    def _sign_claim(self, name: ProjectName, developer: CryptoSigner, files: dict[TargetPath, TargetFile]) -> None:
        claim = Claim(name, (developer.public_key,), 1)
        role = plan_claim_role(claim, self._next(claim.role), files, self.now + LIFETIMES.claim)
        self.put(claim.role, role, developer)
        self.pins.pop(claim.role, None)
        if name in self.new:
            self.pins[claim.role] = self.files[claim.role]

    def _delegate(self, top: str) -> None:
        keys = [OFFLINE[TARGETS].public_key] if top == CLAIMED else self.online_keys(BIN_PREFIX)
        delegation, known = with_claims_delegation(keys, 1 if top == CLAIMED else self.threshold, top)
        expires = self.now + LIFETIMES.targets
        targets = with_delegations(self.roles[TARGETS], {top: delegation}, known, set(), expires)
        self.put(TARGETS, targets, OFFLINE[TARGETS])

    def _tree(self, top: str, *, again: bool = False) -> None:
        developers = self.settled if top == CLAIMED else self.new
        claims = {name: Claim(name, (one.public_key,), 1) for name, one in developers.items()}
        keys = [OFFLINE[TARGETS].public_key] if top == CLAIMED else self.online_keys(BIN_PREFIX)
        tree = plan_delegations(top, claims, keys, 1 if top == CLAIMED else self.threshold)
        listed = {role: body.version for role, body in self.roles.items()}
        expires = self.now + (LIFETIMES.claimed if top == CLAIMED else LIFETIMES.claimed_new)
        signer = OFFLINE[TARGETS] if top == CLAIMED else self.own[BIN_PREFIX]
        for role, body in with_changed(tree, self.roles, listed, tree if again else (), expires).items():
            self.put(role, body, signer)
