"""Seals: what was published so far, signed once by a key that exists no longer. Pure.

A seal is a new role ``seal-N`` and its bins ``seal-N-<bits>-<hex>``: there is no older or newer version to serve.
Its bins are delegated by hash prefixes, never succinctly: stock clients treat succinct delegations as terminating, and
every file that is not sealed would vanish. A large seal delegates in two levels. See docs/adr/0007-seals.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from math import ceil, log2
from typing import Any, Final

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from assay.model.digests import Sha256
from assay.model.errors import CallerError
from assay.trust.layout import (
    PACKAGE_PATHS,
    SEAL_PREFIX,
    SPEC_VERSION,
    Lifetimes,
    TargetPath,
    search_position,
)

MAX_SEALS: Final = 6
"""More are merged, oldest first: a client visits every seal for a file that is in none (32 roles at most)."""

FILES_PER_BIN: Final = 400
MAX_BITS: Final = 14
_ONE_LEVEL_BITS: Final = 8
GROUP_BITS: Final = 7
"""Also how many bits the first of two levels has."""

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A target to seal; ``length`` in bytes, ``custom`` as in its bin."""

    path: TargetPath
    length: int
    sha256: Sha256
    custom: Mapping[str, Any] = field(default_factory=dict)


def seal_bits(files: int) -> int:
    """How many leading bits of a path's hash choose its bin in a seal of so many ``files``. Raises CallerError."""
    if not files:
        raise CallerError("there is nothing to seal", rule="seal-empty")
    return min(MAX_BITS, max(0, ceil(log2(files / FILES_PER_BIN))))


def seal_group(path: TargetPath) -> int:
    """Which of ``2**GROUP_BITS`` groups of neighbouring hashes has ``path``: a large seal is made group by group."""
    return _leading(path, GROUP_BITS)


def plan_seal(
    number: int,
    bits: int,
    groups: Iterable[Iterable[SealedFile]],
    key: Key,
    now: datetime,
    lifetimes: Lifetimes,
) -> Iterator[tuple[str, Targets]]:
    """The roles of seal ``number``: its bins, then the roles that delegate to them, ``seal-N`` itself last.

    ``groups``: the files by the leading ``min(bits, GROUP_BITS)`` bits of their hash, in order; only one of them is in
    memory at a time. All roles are version 1, signed by ``key`` alone. Raises CallerError for a path that comes twice.
    """
    expires = now + lifetimes.seal
    top = f"{SEAL_PREFIX}{number}"
    for group, files in enumerate(groups):
        by_bin = _group(files, bits)
        each = 2 ** (bits - min(bits, GROUP_BITS))
        for index in range(group * each, (group + 1) * each):
            yield bin_name(top, index, bits), Targets(1, SPEC_VERSION, expires, by_bin.pop(index, {}))
    if bits <= _ONE_LEVEL_BITS:
        yield top, _delegating(top, range(2**bits), bits, key, expires)
        return
    below = 2 ** (bits - GROUP_BITS)
    for index in range(2**GROUP_BITS):
        name = bin_name(top, index, GROUP_BITS)
        yield name, _delegating(top, range(index * below, (index + 1) * below), bits, key, expires)
    yield top, _delegating(top, range(2**GROUP_BITS), GROUP_BITS, key, expires)


def in_groups(files: Iterable[SealedFile], bits: int) -> list[list[SealedFile]]:
    """``files`` as ``plan_seal`` takes them, where all of them fit into memory."""
    groups: list[list[SealedFile]] = [[] for _ in range(2 ** min(bits, GROUP_BITS))]
    for file in files:
        groups[_leading(file.path, min(bits, GROUP_BITS))].append(file)
    return groups


def bin_name(top: str, index: int, bits: int) -> str:
    """The role of the bin of ``bits`` leading hash bits with value ``index``: ``seal-N-<bits>-<hex>``."""
    return f"{top}-{bits}-{index:0{max(1, ceil(bits / 4))}x}"


def hash_prefixes(index: int, bits: int) -> list[str]:
    """The hex prefixes of every hash whose leading ``bits`` bits have the value ``index``."""
    digits = max(1, ceil(bits / 4))
    spread = 4 * digits - bits
    return [f"{value:0{digits}x}" for value in range(index << spread, (index + 1) << spread)]


def with_seal(targets: Targets, number: int, key: Key, merged: Sequence[str], expires: datetime) -> Targets:
    """The next version of ``targets``: it delegates to seal ``number`` too, and not to the seals in ``merged``."""
    top = f"{SEAL_PREFIX}{number}"
    delegation = DelegatedRole(top, [key.keyid], 1, terminating=False, paths=PACKAGE_PATHS)
    return with_delegations(targets, {top: delegation}, {key.keyid: key}, set(merged), expires)


def with_delegations(
    targets: Targets,
    added: Mapping[str, DelegatedRole],
    keys: Mapping[str, Key],
    removed: set[str],
    expires: datetime,
) -> Targets:
    """The next version of ``targets`` with delegations ``added`` and ``removed``, in the layout's order of search."""
    old = targets.delegations
    roles = dict(old.roles or {}) if old else {}
    roles = {name: role for name, role in roles.items() if name not in removed} | dict(added)
    ordered = {name: roles[name] for name in sorted(roles, key=search_position)}
    known = {**(old.keys if old else {}), **keys}
    used = {keyid for role in ordered.values() for keyid in role.keyids}
    delegations = Delegations({keyid: key for keyid, key in known.items() if keyid in used}, ordered)
    return Targets(
        targets.version + 1,
        SPEC_VERSION,
        expires,
        dict(targets.targets),
        delegations,
        unrecognized_fields=dict(targets.unrecognized_fields),
    )


def seals_of(targets: Targets) -> list[str]:
    """The seals that ``targets`` delegates to, oldest first."""
    roles = targets.delegations.roles if targets.delegations else None
    return sorted((name for name in roles or {} if name.startswith(SEAL_PREFIX)), key=search_position)


def seals_to_merge(existing: Sequence[str]) -> list[str]:
    """The oldest of ``existing`` that a new seal takes in, so that at most ``MAX_SEALS`` are left with it."""
    return list(existing[: max(0, len(existing) + 1 - MAX_SEALS)])


def _leading(path: TargetPath, bits: int) -> int:
    """The value of the leading ``bits`` bits of the path's hash."""
    return int.from_bytes(sha256(path.encode()).digest()[:4], "big") >> (32 - bits)


def _group(files: Iterable[SealedFile], bits: int) -> dict[int, dict[str, TargetFile]]:
    by_bin: dict[int, dict[str, TargetFile]] = defaultdict(dict)
    for file in files:
        index = _leading(file.path, bits)
        if file.path in by_bin[index]:
            raise CallerError("a path comes twice", subject=file.path, rule="seal-duplicate")
        extra = {"custom": dict(file.custom)} if file.custom else {}
        by_bin[index][file.path] = TargetFile(file.length, {"sha256": file.sha256}, file.path, extra)
    return by_bin


def _delegating(top: str, indexes: Iterable[int], child_bits: int, key: Key, expires: datetime) -> Targets:
    roles = {}
    for index in indexes:
        name = bin_name(top, index, child_bits)
        roles[name] = DelegatedRole(
            name, [key.keyid], 1, terminating=False, path_hash_prefixes=hash_prefixes(index, child_bits)
        )
    return Targets(1, SPEC_VERSION, expires, {}, Delegations({key.keyid: key}, roles))
