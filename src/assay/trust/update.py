"""The client workflow of TUF 1.0.34 section 5 as generators: they say what they need, a driver does the I/O.

A driver answers ``Load`` with the locally kept bytes or None, ``Fetch`` with the file's bytes or None when the index
has no such file, and ``Keep`` by storing the bytes durably (its answer is ignored). A driver that cannot fetch raises;
the generator is then dropped, and whatever was kept stays valid.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from assay.model.errors import RepositoryError, Unreachable, VerificationFailed
from assay.trust.layout import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TargetPath
from assay.trust.verify import TrustedMetadata, VerifiedTarget

MAX_ROOT_ROTATIONS = 256
MAX_VISITED_ROLES = 32


@dataclass(frozen=True, slots=True)
class Load:
    """Give the locally kept file of ``role``."""

    role: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download ``role``'s file, of at most ``max_bytes``; ``version`` None stands for the unversioned name."""

    role: str
    version: int | None
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Store ``data`` as ``role``'s file, durably; ``version`` is that of a root."""

    role: str
    data: bytes
    version: int | None = None


Request = Load | Fetch | Keep
Answer = bytes | None
R = TypeVar("R")
Steps = Generator[Request, Answer, R]


def drive(steps: Steps[R], answer: Callable[[Request], Answer]) -> R:
    """Run ``steps`` to their end, answering each request with ``answer``."""
    reply: Answer = None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result
        reply = answer(request)


def refresh(trusted: TrustedMetadata) -> Steps[None]:
    """Bring ``trusted`` from its root to a fresh root, timestamp, snapshot and targets."""
    yield from _refresh_root(trusted)
    yield from _refresh_timestamp(trusted)
    yield from _refresh_snapshot(trusted)
    yield from load_role(trusted, TARGETS, ROOT)


def _refresh_root(trusted: TrustedMetadata) -> Steps[None]:
    for _ in range(MAX_ROOT_ROTATIONS):
        version = trusted.root.version + 1
        data = yield Fetch(ROOT, version, trusted.limits.root)
        if data is None:
            return
        trusted.update_root(data)
        yield Keep(ROOT, data, version)
    raise VerificationFailed(
        f"more than {MAX_ROOT_ROTATIONS} root rotations in one refresh", subject=ROOT, rule="too-many-roots"
    )


def _refresh_timestamp(trusted: TrustedMetadata) -> Steps[None]:
    local = yield Load(TIMESTAMP)
    if local is not None:
        _try(lambda: trusted.update_timestamp(local))
    data = yield Fetch(TIMESTAMP, None, trusted.limits.timestamp)
    if data is None:
        raise Unreachable("the index has no timestamp.json", subject=TIMESTAMP, rule="metadata-missing")
    is_new = trusted.update_timestamp(data)
    trusted.require_fresh_timestamp()
    if is_new:
        yield Keep(TIMESTAMP, data)


def _refresh_snapshot(trusted: TrustedMetadata) -> Steps[None]:
    local = yield Load(SNAPSHOT)
    if local is not None:
        _try(lambda: trusted.update_snapshot(local, already_trusted=True))
    if not trusted.snapshot_is_current():
        meta = trusted.timestamp.snapshot_meta if trusted.timestamp else None
        version = meta.version if meta else None
        limit = (meta.length if meta else None) or trusted.limits.snapshot
        data = yield Fetch(SNAPSHOT, version, min(limit, trusted.limits.snapshot))
        trusted.update_snapshot(_present(data, SNAPSHOT, version))
        trusted.role_meta(TARGETS)
        yield Keep(SNAPSHOT, data or b"")


def load_role(trusted: TrustedMetadata, role: str, delegator: str) -> Steps[None]:
    """Load ``role`` as the snapshot lists it, from the local copy where that is the listed version."""
    if trusted.role(role, delegator) is not None:
        return
    meta = trusted.role_meta(role)
    local = yield Load(role)
    if local is not None and _try(lambda: trusted.update_targets(local, role, delegator)):
        return
    limit = meta.length or trusted.limits.targets
    data = yield Fetch(role, meta.version, min(limit, trusted.limits.targets))
    trusted.update_targets(_present(data, role, meta.version), role, delegator)
    yield Keep(role, data or b"")


def lookup(trusted: TrustedMetadata, path: TargetPath, *, under: str = "") -> Steps[VerifiedTarget | None]:
    """Search the delegations for ``path``, pre-order, first match wins (5.6.7). None: nobody vouches for it.

    ``under``: search only those of the top-level delegations whose names begin so.
    """
    pending: list[tuple[str, str]] = [(TARGETS, ROOT)]
    visited: set[str] = set()
    while pending:
        role, delegator = pending.pop()
        if role in visited:
            trusted.role(role, delegator)
            continue
        if len(visited) >= MAX_VISITED_ROLES:
            raise VerificationFailed(
                f"more than {MAX_VISITED_ROLES} roles on the way to this target",
                subject=path,
                rule="too-many-roles",
            )
        visited.add(role)
        yield from load_role(trusted, role, delegator)
        found = trusted.target(role, path)
        if found is not None:
            return found
        children: list[tuple[str, str]] = []
        for child, terminating in trusted.delegations(role, path):
            if role == TARGETS and not child.startswith(under):
                continue
            children.append((child, role))
            if terminating:
                pending.clear()
                break
        pending.extend(reversed(children))
    return None


def _present(data: Answer, role: str, version: int | None) -> bytes:
    if data is None:
        raise Unreachable(
            f"the index lists version {version} of this role but does not serve it",
            subject=role,
            rule="metadata-missing",
        )
    return data


def _try(load: Callable[[], object]) -> bool:
    """True when a locally kept file still verifies. A file that does not is fetched again: not an error."""
    try:
        load()
    except RepositoryError:
        return False
    return True
