"""Finding claims in the trusted metadata of an index: one project's, or all of them. No I/O: a driver answers.

A claim's own role is read without regard to its expiry and is not kept as trusted: whoever must renew or judge an
expired one has to read it. What installers get goes through ``trust.update.lookup``, which refuses expired roles.
"""

from dataclasses import dataclass

from tuf.api.metadata import Targets

from assay.model.errors import VerificationFailed
from assay.model.names import ProjectName
from assay.trust.claims import MAX_DEPTH, Claim, claim_in, claim_role, shard_for, shards_in
from assay.trust.envelope import parse_envelope
from assay.trust.layout import CLAIMED, CLAIMED_NEW, TARGETS
from assay.trust.update import Fetch, Steps, load_role
from assay.trust.verify import TrustedMetadata, require_role_signed


@dataclass(frozen=True, slots=True)
class FoundClaim:
    """A claim in force. ``top``: ``claimed`` or ``claimed-new``; ``role``: what the developers signed; ``data``: its
    file.
    """

    claim: Claim
    top: str
    role: Targets
    data: bytes

    @property
    def is_settled(self) -> bool:
        """Whether the offline holders signed it: no online key can take it away."""
        return self.top == CLAIMED


def claiming_roles(targets: Targets) -> list[str]:
    """``claimed`` and ``claimed-new``, as far as ``targets`` delegates to them, in the order of search."""
    roles = targets.delegations.roles if targets.delegations else None
    return [top for top in (CLAIMED, CLAIMED_NEW) if top in (roles or {})]


def find_claim(trusted: TrustedMetadata, project: ProjectName) -> Steps[FoundClaim | None]:
    """The claim of ``project`` that counts for clients; None when its files stand in the bins."""
    for top in claiming_roles(trusted.require(TARGETS)):
        role, delegator = top, TARGETS
        for _ in range(MAX_DEPTH + 2):
            yield from load_role(trusted, role, delegator)
            signed = trusted.require(role)
            claim = claim_in(signed, project)
            if claim is not None:
                found, data = yield from _read(trusted, claim, signed)
                return FoundClaim(claim, top, found, data)
            below = shard_for(signed, top, project)
            if below is None:
                break
            role, delegator = below, role
    return None


def all_delegating(trusted: TrustedMetadata, top: str) -> Steps[dict[str, Targets]]:
    """``top`` and every role that its claims are spread over; empty when ``targets`` does not delegate to it."""
    found: dict[str, Targets] = {}
    if top not in claiming_roles(trusted.require(TARGETS)):
        return found
    pending = [(top, TARGETS)]
    while pending:
        role, delegator = pending.pop()
        yield from load_role(trusted, role, delegator)
        found[role] = trusted.require(role)
        pending += [(child, role) for child in shards_in(found[role], top) if child not in found]
    return found


def _read(trusted: TrustedMetadata, claim: Claim, delegator: Targets) -> Steps[tuple[Targets, bytes]]:
    name = claim_role(claim.project)
    version = trusted.role_meta(name).version
    data = yield Fetch(name, version, trusted.limits.targets)
    if data is None or len(data) > trusted.limits.targets:
        raise VerificationFailed("the index lists this role but does not serve it", subject=name, rule="role-missing")
    envelope = parse_envelope(data, Targets, name)
    require_role_signed(delegator, name, envelope)
    if envelope.signed.version != version:
        raise VerificationFailed(
            "not the version that the snapshot lists",
            subject=name,
            rule="metadata-version",
            expected=str(version),
            found=str(envelope.signed.version),
        )
    return envelope.signed, data
