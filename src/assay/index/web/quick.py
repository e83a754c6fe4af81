"""The hot reads, answered without a task: newest pages, roles, and small files whose bytes are at hand.

Invariants: what is answered here is byte for byte what the ordinary way would answer, from the same caches and after
the same look at the published file (``PublishedCache.peek``); whatever is not plain (a condition, a range, a body,
another method, a cold cache) is left to the ordinary way, which also warms the caches. Nothing here waits.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from assay.index.web.asgi import Headers
from assay.index.web.descriptors import OpenFiles
from assay.index.web.files import PackageFiles
from assay.index.web.metadata import TufMetadata
from assay.index.web.pages import ProjectPages
from assay.index.web.representations import Encoded, choose

MAX_QUICK_FILE_BYTES: Final = 262_144
MAX_QUICK_TARGET_BYTES: Final = 512
"""Paths are remembered by name, also those of files that are not there: a name must be short."""
_LEFT_TO_THE_ORDINARY_WAY: Final = frozenset(
    (
        b"available-dictionary",
        b"content-length",
        b"expect",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"transfer-encoding",
        b"upgrade",
    )
)


class QuickAnswer(NamedTuple):
    """A 200: its header lines with the empty one behind them, and its body."""

    head: bytes
    body: bytes | bytearray


Find = Callable[[bytes, Headers], QuickAnswer | None]
"""``QuickAnswers.find``."""


class QuickAnswers:
    """Answers to plain GET requests of anybody, or None."""

    def __init__(self, pages: ProjectPages, metadata: TufMetadata, files: PackageFiles) -> None:
        self._pages = pages
        self._metadata = metadata
        self._files = files
        self._open = OpenFiles()

    def find(self, target: bytes, headers: Headers) -> QuickAnswer | None:
        """The answer to GET of ``target`` (as it stands in the request line) with ``headers``; None: not from here."""
        if len(target) > MAX_QUICK_TARGET_BYTES:
            return None
        accept = accept_encoding = None
        for name, value in headers:
            if name in _LEFT_TO_THE_ORDINARY_WAY:
                return None
            if name == b"accept":
                if accept is not None:
                    return None
                accept = value
            elif name == b"accept-encoding":
                if accept_encoding is not None:
                    return None
                accept_encoding = value
        if target.startswith(b"/packages/"):
            return self._file(target)
        if target.startswith(b"/simple/") and target.endswith(b"/"):
            encoded = self._pages.peek(target[8:-1].decode("latin-1"), _text(accept))
        elif target.startswith(b"/tuf/") and b"zstd" not in (accept_encoding or b""):
            encoded = self._metadata.peek(target[5:].decode("latin-1"), _text(accept_encoding))
        else:
            return None
        return _whole(encoded, accept_encoding) if encoded is not None else None

    def close(self) -> None:
        """Close what is open."""
        self._open.close()

    def _file(self, target: bytes) -> QuickAnswer | None:
        known = self._files.peek(target.decode("latin-1").split("/")[2:])
        if known is None:
            return None
        if known.is_proxied:
            return QuickAnswer(known.head, b"")
        if known.size > MAX_QUICK_FILE_BYTES:
            return None
        body = self._open.read(known.path, known.size)
        return QuickAnswer(known.head, body) if body is not None else None


def _whole(encoded: Encoded, accept_encoding: bytes | None) -> QuickAnswer:
    chosen, _ = choose(encoded, _text(accept_encoding))
    return QuickAnswer(chosen.head, chosen.body["body"])


def _text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None
