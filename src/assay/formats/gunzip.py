"""One gzip member, streamed (RFC 1952): exactly one, with its CRC and length checked, and nothing behind it."""

import zlib
from typing import BinaryIO, Final

from assay.formats.limits import InspectionLimits
from assay.model.errors import InvalidDistribution, TooLarge

CHUNK_BYTES: Final = 128 * 1024


class GunzipReader:
    """Reads what ``stream`` (seekable) expands to, holding at most two chunks. Stops a bomb while it expands."""

    def __init__(self, stream: BinaryIO, limits: InspectionLimits) -> None:
        self._archive_bytes = stream.seek(0, 2)
        stream.seek(0)
        self._stream = stream
        self._limits = limits
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._expanded = b""
        self._at = 0
        self._total = 0

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the end. Raises InvalidDistribution, TooLarge."""
        parts: list[bytes] = []
        while size:
            if self._at == len(self._expanded) and not self._fill():
                break
            part = self._expanded[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _fill(self) -> bool:
        """Expand the next chunk. False at the end of the member, which is then known to end the stream."""
        self._expanded, self._at = b"", 0
        while not self._expanded and not self._inflater.eof:
            pending = self._inflater.unconsumed_tail or self._stream.read(CHUNK_BYTES)
            try:
                self._expanded = self._inflater.decompress(pending, CHUNK_BYTES)
            except zlib.error as error:
                raise _refused("gzip", f"not a sound gzip stream ({error})") from error
            if not pending and not self._expanded and not self._inflater.eof:
                raise _refused("gzip-truncated", "the gzip stream ends too early")
        if self._inflater.eof and (self._inflater.unused_data or self._stream.read(1)):
            raise _refused("gzip-trailing", "data behind the gzip member (a second member, or padding)")
        self._total += len(self._expanded)
        self._check_bounds()
        return bool(self._expanded)

    def _check_bounds(self) -> None:
        if self._total > self._limits.max_expanded_bytes:
            raise TooLarge(
                "expands too far",
                rule="archive-expanded-size",
                expected=f"at most {self._limits.max_expanded_bytes} bytes",
            )
        if self._total > self._limits.ratio_free_bytes and self._total > self._archive_bytes * self._limits.max_ratio:
            raise TooLarge(
                "expands too far for its size",
                rule="archive-ratio",
                expected=f"at most {self._limits.max_ratio} times {self._archive_bytes} bytes",
            )


def _refused(rule: str, what: str) -> InvalidDistribution:
    return InvalidDistribution(what, rule=rule, next_step="build the sdist with a current build backend")
