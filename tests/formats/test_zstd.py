"""Content coding with and without a dictionary: what goes in comes out, and nothing makes more than it may."""

from contextlib import suppress

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.formats.zstd import (
    DCZ_MAGIC,
    NotZstd,
    TooLong,
    available_dictionary,
    compress,
    compress_with,
    decompress,
)


@settings(deadline=None)
@given(st.binary(max_size=2_000), st.binary(max_size=2_000))
def test_what_goes_in_comes_out(dictionary: bytes, data: bytes) -> None:
    assert decompress(compress(data), len(data)) == data
    assert decompress(compress_with(dictionary, data), len(data), dictionary) == data


@settings(deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_whatever_comes_is_read_or_refused(data: bytes, has_dictionary: bool) -> None:
    for body in (data, DCZ_MAGIC + data):
        with suppress(NotZstd, TooLong):
            assert len(decompress(body, 1_000, b"known" if has_dictionary else None)) <= 1_000


def test_a_bomb_is_refused() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(100_000_000))
    with pytest.raises(TooLong):
        decompress(bomb, 1_000_000)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_what_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(NotZstd):
        decompress(compress(bytes(range(256)) * 9)[:-cut], 10_000)


def test_another_dictionary_is_refused() -> None:
    with pytest.raises(NotZstd, match="another dictionary"):
        decompress(compress_with(b"one", b"data"), 100, b"two")


def test_a_small_change_of_something_large_costs_little() -> None:
    old = b",".join(b'"bin-%04x.json":{"version":%d}' % (number, number % 977 + 1) for number in range(16_384))
    new = old.replace(b'"bin-0042.json":{"version":67}', b'"bin-0042.json":{"version":68}')
    assert len(compress_with(old, new)) < 200


def test_the_header_is_that_of_the_rfc() -> None:
    """RFC 9842 section 2.2 names the hash as a structured byte sequence."""
    assert available_dictionary(b"") == ":47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
