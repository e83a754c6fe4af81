"""Where tiles lie: the paths of C2SP tlog-tiles, one spelling each, and files that are whole or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.model.errors import VerificationFailed
from assay.trust.log.edge import read_edge
from assay.trust.log.tiles import (
    ENTRIES,
    Tile,
    edge_tiles,
    join_entries,
    parse_tile_path,
    shorten,
    split_entries,
    split_hashes,
    tiles_between,
)
from log.worlds import log_of

TILES = st.builds(Tile, st.integers(ENTRIES, 63), st.integers(0, 10**15), st.integers(1, 256))


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 0, 12), "tile/0/000.p/12"),
        (Tile(63, 1_234_067), "tile/63/x001/x234/067"),
        (Tile(ENTRIES, 1_000, 255), "tile/entries/x001/000.p/255"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert parse_tile_path(path) == tile


@given(TILES)
def test_a_path_is_read_back_as_its_tile(tile: Tile) -> None:
    assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/012",
        "tile/0/000.p/",
        "tile/00/000",
        "tile/64/000",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/x001",
        "tile/0/../checkpoint",
        "tile/data/000",
        "tile/0/000/",
        "tile/0/000\n",
        "checkpoint",
        "",
    ],
)
def test_any_other_spelling_is_no_tile(path: str) -> None:
    assert parse_tile_path(path) is None


def test_the_specification_s_example_of_70000_entries() -> None:
    tiles = list(tiles_between(0, 70_000))
    assert sum(tile.level == 0 and tile.is_full for tile in tiles) == 273
    assert {tile for tile in tiles if not tile.is_full} == {
        Tile(ENTRIES, 273, 112),
        Tile(0, 273, 112),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    }
    assert set(edge_tiles(70_000)) == {tile for tile in tiles if not tile.is_full}
    assert set(edge_tiles(256)) == {Tile(1, 0, 1)}


@given(st.integers(0, 1_500), st.integers(0, 1_500))
def test_growing_writes_just_what_the_larger_log_has(size: int, more: int) -> None:
    old, new = (set(tiles_between(0, end)) for end in (size, size + more))
    assert set(tiles_between(size, size + more)) == new - old


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    data = join_entries(entries)
    assert split_entries(Tile(ENTRIES, 0, len(entries)), data) == tuple(entries)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=30), st.data())
def test_a_bundle_with_bytes_missing_or_left_over_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    whole = join_entries(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for wrong in (whole[:cut], whole + b"\x00", whole + b"\x00\x00"):
        with pytest.raises(VerificationFailed) as refusal:
            split_entries(Tile(ENTRIES, 3, len(entries)), wrong)
        assert refusal.value.subject == Tile(ENTRIES, 3, len(entries)).path


def test_a_tile_of_another_length_is_refused() -> None:
    with pytest.raises(VerificationFailed, match="malformed file of the log"):
        split_hashes(Tile(0, 0, 2), b"\x00" * 63)


def test_an_entry_longer_than_two_bytes_can_say_is_not_written() -> None:
    with pytest.raises(ValueError, match="65536"):
        join_entries([b"\x00" * 65_536])


def test_a_partial_tile_can_be_cut_from_the_full_one() -> None:
    small, large = log_of(12), log_of(256)
    for level in (ENTRIES, 0):
        tile = Tile(level, 0, 12)
        assert shorten(tile, tile.full, large.files[tile.full.path]) == small.files[tile.path]


def test_entries_that_are_not_those_of_the_tree_stop_the_writer() -> None:
    log = log_of(12)
    bundle = Tile(ENTRIES, 0, 12)
    log.files[bundle.path] = log.files[bundle.path].replace(b"entry 5", b"entry 6")
    with pytest.raises(VerificationFailed) as refusal:
        read_edge(12, log.read(edge_tiles(12)))
    assert refusal.value.rule == "log-entries"
