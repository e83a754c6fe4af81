"""The witness rule: may this publication follow what I have co-signed before? Pure, and the heart of ring two.

Judged from the witness's own memory alone, never from what the index says now. What it keeps true, for every
publication that carries its signature:

- no version goes down, no role has two contents under one version, no listed role vanishes;
- no path changes its bytes, in whichever role it stands, also after it was removed (project pages may change);
- a bin holds only its own paths, and delegates nothing: it cannot be shown in the place of another;
- a path leaves the online bins only where clients then find the same bytes in an offline role, or by a takedown, or
  by a removal that the candidate declares and the witness records;
- what the index alone could sign is pinned by its hash in the snapshot; everything else is signed by offline keys,
  reached from the root chain that the witness follows itself, or co-signed;
- nothing is dated further into the future than its lifetime allows.

A refusal names its rule. Source: design "Witnessed"; docs/adr/0050-witnesses.md.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from tuf.api.metadata import Root, Snapshot

from assay.model.digests import Sha256, sha256_of
from assay.model.errors import AssayError, WitnessRefused
from assay.trust.candidate import Candidate, Lacking, cosigned
from assay.trust.envelope import Envelope
from assay.trust.layout import (
    BIN_PREFIX,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
)
from assay.trust.log.identity import named_log
from assay.trust.verify import TrustedMetadata, require_role_signed
from assay.trust.witness_case import Case
from assay.trust.witness_claims import require_claims_kept
from assay.trust.witness_laws import (
    read_role,
    require_cosignable,
    require_lifetime,
    require_log_continues,
    require_next_stamp,
    require_successor,
    second_content,
)
from assay.trust.witness_memory import Approval, Identity, Kind, Memory, RuleLimits, Seen


def judge(
    memory: Memory, candidate: Candidate, identity: Identity, now: datetime, limits: RuleLimits | None = None
) -> Approval | Lacking:
    """May ``candidate`` be co-signed at ``now`` (UTC)?

    ``Lacking`` when it builds on what this witness has not seen. Raises WitnessRefused naming the rule, and
    VerificationFailed or NotFresh where a file is malformed or not signed by whom it must be.
    """
    limits = limits or RuleLimits()
    roots = _follow_roots(memory, candidate, now, limits)
    if isinstance(roots, Lacking):
        return roots
    root, new_roots = roots
    snapshot = read_role(candidate.snapshot, Snapshot, SNAPSHOT, limits)
    require_cosignable(root, SNAPSHOT, snapshot, identity, SNAPSHOT)
    if candidate.cosignatures:
        complete = cosigned(candidate.snapshot, candidate.cosignatures)
        require_role_signed(root, SNAPSHOT, read_role(complete, Snapshot, SNAPSHOT, limits))
    case = Case(memory, candidate, identity, now, limits, root, snapshot)
    lacking = case.unseen()
    log = memory.stamp.log if memory.stamp else None
    if lacking or (log is not None and candidate.log_from != log.size):
        return Lacking(lacking, log.size if log else 0)
    for role in candidate.roles:
        case.judge_role(role)
    case.retire()
    require_claims_kept(case)
    case.judge_departures()
    case.judge_listing()
    seen = Seen(snapshot.signed.version, sha256_of(snapshot.payload), Kind.BIN)
    require_successor(SNAPSHOT, memory.snapshot, seen)
    require_lifetime(SNAPSHOT, snapshot.signed.expires, limits.timestamp, now, limits)
    require_lifetime(TIMESTAMP, candidate.stamp.expires, limits.timestamp, now, limits)
    require_next_stamp(memory.stamp, candidate.stamp)
    require_log_continues(log, candidate.stamp.log, candidate.log_proof)
    return Approval(
        roots=new_roots,
        root=root,
        accepted=case.new,
        files=case.files,
        delegators=case.delegators,
        snapshot=snapshot,
        seen_snapshot=seen,
        stamp=candidate.stamp,
        log=named_log(case.targets(TARGETS)),
        removed=candidate.removed,
        payloads={**case.payloads, SNAPSHOT: snapshot.payload},
        contents=case.contents,
        thresholds={
            BIN_PREFIX: case.succinct.threshold,
            SNAPSHOT: root.roles[SNAPSHOT].threshold,
            TIMESTAMP: root.roles[TIMESTAMP].threshold,
        },
        view=view_of({**memory.roles, **case.new}, seen, case.is_reachable),
        repeats=not new_roots and not case.changed() and seen == memory.snapshot and candidate.stamp == memory.stamp,
    )


def is_from_index(memory: Memory, candidate: Candidate, identity: Identity) -> bool:
    """Whether the index that is followed signed ``candidate``: what strangers send is refused without a record."""
    limits = RuleLimits()
    try:
        root = read_role(memory.root or b"", Root, ROOT, limits).signed
        require_cosignable(
            root, SNAPSHOT, read_role(candidate.snapshot, Snapshot, SNAPSHOT, limits), identity, SNAPSHOT
        )
    except AssayError:
        return False
    return True


def view_of(roles: Mapping[str, Seen], snapshot: Seen, reachable: Callable[[str], bool]) -> Sha256:
    """One digest of every role that clients of ``snapshot`` can reach: two witnesses that agree have the same."""
    lines = [f"{role} {seen.version} {seen.payload}\n" for role, seen in roles.items() if reachable(role)]
    return sha256_of("".join([*sorted(lines), f"{SNAPSHOT} {snapshot.version} {snapshot.payload}\n"]).encode())


# --- the root chain -------------------------------------------------------------------------------------------


def _follow_roots(
    memory: Memory, candidate: Candidate, now: datetime, limits: RuleLimits
) -> Lacking | tuple[Root, tuple[Envelope[Root], ...]]:
    """From the remembered root along the candidate's. The first one is the one that the operator pinned."""
    offered = [read_role(data, Root, ROOT, limits) for data in candidate.roots]
    data = memory.root
    new: list[Envelope[Root]] = []
    if data is None:
        if not offered or offered[0].signed.version != 1:
            return Lacking({ROOT: 1})
        data = offered[0].data
        if sha256_of(data) != memory.fingerprint:
            raise WitnessRefused(
                "another root than the one this witness was told to follow",
                subject=ROOT,
                rule="root-fingerprint",
                expected=f"sha256 {memory.fingerprint}",
                found=f"sha256 {sha256_of(data)}",
                next_step="compare the fingerprint with the ceremony's transcript",
            )
        new.append(offered[0])
    trusted = TrustedMetadata(data, now=now, limits=limits.roles)
    remembered = read_role(data, Root, ROOT, limits)
    for envelope in offered:
        version = envelope.signed.version
        if version > trusted.root.version:
            trusted.update_root(envelope.data)
            new.append(envelope)
        elif version == remembered.signed.version and envelope.payload != remembered.payload:
            raise second_content(
                ROOT, version, f"sha256 {sha256_of(remembered.payload)}", f"sha256 {sha256_of(envelope.payload)}"
            )
    if candidate.root_version > trusted.root.version:
        return Lacking({ROOT: trusted.root.version + 1})
    return trusted.root, tuple(new)
