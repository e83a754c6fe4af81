"""What an inspection may cost: memory stays at a few chunks, whatever the members' size."""

import gzip
import io
import tracemalloc

import pytest

from assay.formats.inspect import inspect_distribution
from assay.formats.wheel import read_wheel_metadata
from formats.archives.tar_builder import SDIST_NAME, member, tar
from formats.archives.zip_builder import WHEEL_NAME, Entry, wheel

CONTENT = bytes(24 * 1024 * 1024)
PEAK_BYTES = 4 * 1024 * 1024


def _archive(kind: str) -> tuple[str, bytes]:
    match kind:
        case "deflated":
            return WHEEL_NAME, wheel(Entry("big.bin", CONTENT))
        case "stored":
            return WHEEL_NAME, wheel(Entry("big.bin", CONTENT, method=0))
        case "sdist":
            return SDIST_NAME, gzip.compress(tar(member("demo-1.0/big.bin", CONTENT)), 1, mtime=0)
        case _:
            return SDIST_NAME, gzip.compress(tar(member("demo-1.0/big.bin", CONTENT)), 0, mtime=0)


@pytest.mark.parametrize("kind", ["deflated", "stored", "sdist", "stored-in-gzip"])
def test_a_large_member_is_never_held_in_memory(kind: str) -> None:
    filename, data = _archive(kind)
    stream = io.BytesIO(data)
    tracemalloc.start()
    try:
        inspect_distribution(stream, filename)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PEAK_BYTES


def test_metadata_alone_reads_no_other_content() -> None:
    filename, data = _archive("stored")

    class Counting(io.BytesIO):
        total = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.total += len(found)
            return found

    stream = Counting(data)
    read_wheel_metadata(stream, filename)
    assert stream.total < 4_096
