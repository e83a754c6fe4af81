"""The Merkle tree of RFC 6962 section 2: hashes, and the two checks that a reader makes.

Invariant: a check returns only when the proof leads to exactly the root it was given, with nothing left over.
"""

import hashlib
from collections.abc import Sequence
from typing import NewType

from assay.model.errors import VerificationFailed

Hash = NewType("Hash", bytes)
"""A SHA-256 digest: 32 bytes."""

HASH_BYTES = 32
MAX_SIZE = 1 << 62
"""No log is larger; whoever says so lies, or the numbers overflow somewhere."""


def leaf_hash(entry: bytes) -> Hash:
    """The hash of an entry: SHA-256(0x00 || entry). RFC 6962 section 2.1."""
    return Hash(hashlib.sha256(b"\x00" + entry).digest())


def node_hash(left: Hash, right: Hash) -> Hash:
    """The hash over two subtrees: SHA-256(0x01 || left || right). RFC 6962 section 2.1."""
    return Hash(hashlib.sha256(b"\x01" + left + right).digest())


EMPTY_ROOT = Hash(hashlib.sha256().digest())
"""The root of a tree without entries."""


def fold(hashes: Sequence[Hash]) -> Hash:
    """The root over complete subtrees that stand side by side, largest first: hashed together from the right."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def complete_root(hashes: Sequence[Hash]) -> Hash:
    """The root over 2**n subtrees of equal height, n >= 0."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def verify_inclusion(leaf: Hash, index: int, size: int, proof: Sequence[Hash], root: Hash) -> None:
    """Raise VerificationFailed unless ``leaf`` is entry ``index`` of the tree of ``size`` with ``root``.

    RFC 9162 section 2.1.3.2; the proof's hashes run from the leaf's sibling up.
    """
    found = _root_through(leaf, index, size, proof) if 0 <= index < size <= MAX_SIZE else None
    if found != root:
        raise VerificationFailed(
            "the log does not prove that it contains this entry",
            subject=f"log entry {index}",
            rule="log-inclusion",
            expected=f"root {root.hex()} of {size} entries",
            found=f"root {found.hex()}" if found is not None else "a proof of another length",
        )


def _root_through(leaf: Hash, index: int, size: int, proof: Sequence[Hash]) -> Hash | None:
    position, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return None
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        position, last = position >> 1, last >> 1
    return current if last == 0 else None


def verify_consistency(old_size: int, old_root: Hash, size: int, root: Hash, proof: Sequence[Hash]) -> None:
    """Raise VerificationFailed unless the tree of ``old_size`` is the beginning of the tree of ``size``.

    RFC 9162 section 2.1.4.2. For equal sizes, and from the empty tree, the proof is empty.
    """
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise VerificationFailed(
            "a log never gets shorter", rule="log-consistency", expected=f"at least {old_size}", found=str(size)
        )
    if old_size in (0, size):
        found = (EMPTY_ROOT, root) if old_size == 0 else (root, root)
        consistent = not proof and found == (old_root, root)
    else:
        consistent = _roots_through(old_size, old_root, size, proof) == (old_root, root)
    if not consistent:
        raise VerificationFailed(
            "the log was rewritten: what it shows now does not begin with what it showed before",
            rule="log-consistency",
            expected=f"a proof from {old_size} entries (root {old_root.hex()}) to {size} (root {root.hex()})",
            found="a proof that leads elsewhere",
            next_step="keep both checkpoints: together they prove what happened; ask the index's operator",
        )


def _roots_through(old_size: int, old_root: Hash, size: int, proof: Sequence[Hash]) -> tuple[Hash, Hash] | None:
    steps = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not steps:
        return None
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        position, last = position >> 1, last >> 1
    return (old, new) if last == 0 else None
