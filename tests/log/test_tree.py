"""Laws of the tree: whatever its size, what it contains and what it was can be proved, and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.model.errors import VerificationFailed
from assay.trust.log.edge import append, read_edge
from assay.trust.log.tiles import edge_tiles
from assay.trust.log.tree import EMPTY_ROOT, Hash, leaf_hash, node_hash, verify_consistency, verify_inclusion
from log.worlds import MemoryLog, entry, log_of

BIG = log_of(70_000)
"""Three levels of tiles; smaller logs are its beginnings."""

SIZES = st.one_of(
    st.integers(1, 600),
    st.sampled_from([255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000]),
    st.integers(1, 70_000),
)


def naive_root(leaves: list[Hash]) -> Hash:
    """RFC 6962 section 2.1, as it stands there."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


@given(st.integers(0, 700))
@settings(max_examples=60, deadline=None)
def test_the_root_is_that_of_rfc_6962(size: int) -> None:
    expected = naive_root([leaf_hash(entry(number)) for number in range(size)])
    assert log_of(size).head.root == expected
    assert BIG.root(size) == expected


@given(st.data(), SIZES)
@settings(deadline=None)
def test_every_entry_of_a_log_of_any_size_is_proved(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, leaf, root = BIG.prove_inclusion(index, size), leaf_hash(entry(index)), BIG.root(size)
    verify_inclusion(leaf, index, size, proof, root)


@given(SIZES, SIZES)
@settings(deadline=None)
def test_a_log_proves_that_it_only_grew(one: int, other: int) -> None:
    old, new = min(one, other), max(one, other)
    verify_consistency(old, BIG.root(old), new, BIG.root(new), BIG.prove_consistency(old, new))


@given(st.data(), SIZES)
@settings(deadline=None)
def test_a_flipped_byte_anywhere_breaks_an_inclusion_proof(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = BIG.prove_inclusion(index, size), BIG.root(size)
    parts = [leaf_hash(entry(index)), root, *proof]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flipped(parts[which], data.draw(st.integers(0, 255)))
    with pytest.raises(VerificationFailed) as refusal:
        verify_inclusion(parts[0], index, size, parts[2:], parts[1])
    assert refusal.value.rule == "log-inclusion"


@given(st.data(), SIZES, SIZES)
@settings(deadline=None)
def test_a_flipped_byte_anywhere_breaks_a_consistency_proof(data: st.DataObject, one: int, other: int) -> None:
    old, new = min(one, other), max(one, other) + 1
    parts = [BIG.root(old), BIG.root(min(new, 70_000)), *BIG.prove_consistency(old, min(new, 70_000))]
    which = data.draw(st.integers(0, len(parts) - 1))
    parts[which] = flipped(parts[which], data.draw(st.integers(0, 255)))
    with pytest.raises(VerificationFailed):
        verify_consistency(old, parts[0], min(new, 70_000), parts[1], parts[2:])


@given(st.data(), st.integers(2, 400))
@settings(deadline=None)
def test_a_proof_speaks_of_one_entry_and_one_size(data: st.DataObject, size: int) -> None:
    index, other = data.draw(st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True))
    proof, root = BIG.prove_inclusion(index, size), BIG.root(size)
    claims = [
        (entry(other), index, size, proof),
        (entry(index), other, size, proof),
        (entry(index), size, size, proof),
        (entry(index), index, size, (*proof, root)),
        (entry(index), index, size, proof[:-1]),
    ]
    for data_claimed, index_claimed, size_claimed, proof_shown in claims:
        with pytest.raises(VerificationFailed):
            verify_inclusion(leaf_hash(data_claimed), index_claimed, size_claimed, proof_shown, root)


def test_a_log_that_got_shorter_or_changed_in_place_is_refused() -> None:
    with pytest.raises(VerificationFailed, match="never gets shorter"):
        verify_consistency(9, BIG.root(9), 8, BIG.root(8), ())
    with pytest.raises(VerificationFailed, match="rewritten"):
        verify_consistency(9, BIG.root(9), 9, BIG.root(8), ())
    with pytest.raises(VerificationFailed, match="rewritten"):
        verify_consistency(0, BIG.root(8), 9, BIG.root(9), ())
    verify_consistency(0, EMPTY_ROOT, 9, BIG.root(9), ())


@given(st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=50, deadline=None)
def test_however_a_log_grows_its_files_are_those_of_one_append(steps: list[int]) -> None:
    grown = MemoryLog()
    for step in steps:
        grown.append(*(entry(grown.edge.size + number) for number in range(step)))
    at_once = log_of(sum(steps))
    assert grown.head == at_once.head
    assert grown.edge == at_once.edge
    assert set(at_once.files.items()) <= set(grown.files.items())


@given(st.integers(0, 700), st.integers(0, 300))
@settings(max_examples=50, deadline=None)
def test_a_writer_that_starts_again_from_the_files_goes_on_the_same(size: int, more: int) -> None:
    log = log_of(size)
    edge = read_edge(size, log.read(edge_tiles(size)))
    assert edge == log.edge
    new = [entry(size + number) for number in range(more)]
    assert append(edge, new) == append(log.edge, new)


def flipped(value: Hash, bit: int) -> Hash:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << (bit % 8)
    return Hash(bytes(changed))
