"""The upload form off the wire (RFC 7578): a machine that takes bytes and holds no more than it may. No I/O.

Invariants: text fields are held in memory and are bounded one by one, together and in number; the bytes of ``content``
pass through and are counted; any other part that claims to be a file is refused unless it is ``gpg_signature``; a part
has one ``Content-Disposition`` with one name, and nothing in it that readers take differently; the form counts only
when its closing boundary has been seen, and nothing comes after it.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from assay.formats.upload_form import FormLimits
from assay.model.errors import InvalidUpload, TooLarge

CONTENT, SIGNATURE = "content", "gpg_signature"
MAX_CONTENT_TYPE_CHARS: Final = 300
MAX_PART_HEADERS: Final = 8
MAX_PART_HEADER_BYTES: Final = 2_048
_PARAMETER: Final = re.compile(rb"""[ \t]*;[ \t]*([a-z*-]+)=(?:"([^"\\\x00-\x1f]*)"|([^\s;"\\]+))[ \t]*""")
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")


@dataclass(slots=True)
class _Part:
    """The part that is being read. ``headers`` are its lines so far, names in lower case."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    name: str = ""
    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class ReceivedForm:
    """What a whole form held. ``filename``: of ``content``; ``signature``: filename and bytes of ``gpg_signature``."""

    fields: tuple[tuple[str, str], ...]
    filename: str | None
    signature: tuple[str, bytes] | None


def parse_boundary(content_type: str | None) -> bytes:
    """The boundary of a ``multipart/form-data`` body. Raises InvalidUpload."""
    kind, options = parse_options_header((content_type or "")[:MAX_CONTENT_TYPE_CHARS])
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not _BOUNDARY.match(boundary):
        raise InvalidUpload(
            "the body of an upload is a form",
            rule="upload-form",
            subject="Content-Type",
            expected="multipart/form-data with a boundary",
            found=repr((content_type or "")[:100]),
        )
    return boundary


class FormReader:
    """Feed it the body; take the file's bytes from ``take_content`` after each ``feed``; then ``finish``."""

    def __init__(self, boundary: bytes, limits: FormLimits, max_file_bytes: int) -> None:
        self._limits = limits
        self._max_file_bytes = max_file_bytes
        self._too_large: TooLarge = too_large_file(max_file_bytes)
        self._is_limited = False
        self._project: str | None = None
        self._fields: list[tuple[str, str]] = []
        self._text_bytes = 0
        self._content = bytearray()
        self._content_bytes = 0
        self._filename: str | None = None
        self._signature: tuple[str, bytes] | None = None
        self._parts = 0
        self._part = _Part()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._ended = False
        self._closing = b"\r\n--" + boundary + b"--"
        self._tail = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": self._header_name_comes,
                "on_header_value": self._header_value_comes,
                "on_header_end": self._header_ends,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data_comes,
                "on_part_end": self._part_ends,
                "on_end": self._form_ends,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )

    def feed(self, data: bytes) -> None:
        """Read on. Raises InvalidUpload for what is no form, TooLarge as soon as a limit is passed."""
        self._require_no_epilogue(data)
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed(f"the form is malformed: {error}") from error

    def _require_no_epilogue(self, data: bytes) -> None:
        """No part holds the closing boundary; what follows it is a second form to some readers, nothing to others."""
        window = self._tail + data
        end = window.find(self._closing)
        behind = data if self._ended else window[end + len(self._closing) :] if end >= 0 else b""
        if behind.strip(b" \t\r\n"):
            raise _malformed("something follows the form's closing boundary")
        self._tail = window[-len(self._closing) + 1 :]

    @property
    def pending_bytes(self) -> int:
        """How many bytes ``take_content`` would give."""
        return len(self._content)

    def take_content(self) -> bytearray:
        """The bytes of the file that have come since the last call."""
        taken, self._content = self._content, bytearray()
        return taken

    @property
    def unlimited_project(self) -> str | None:
        """The project that the form names, once the file has begun and until ``limit_file``."""
        return self._project if self._filename is not None and not self._is_limited else None

    def limit_file(self, project: str, max_bytes: int) -> None:
        """Allow the file no more than ``max_bytes``, the room in ``project``. Raises TooLarge where it has more."""
        self._is_limited = True
        if max_bytes < self._max_file_bytes:
            self._max_file_bytes, self._too_large = max_bytes, too_large_project(project[:100], max_bytes)
        self._require_file_fits()

    def _require_file_fits(self) -> None:
        if self._content_bytes > self._max_file_bytes:
            raise self._too_large

    def finish(self) -> ReceivedForm:
        """The form, after the last byte of the body. Raises InvalidUpload where the closing boundary is missing."""
        if not self._ended:
            raise _malformed("the form ends before its closing boundary")
        return ReceivedForm(tuple(self._fields), self._filename, self._signature)

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > self._limits.max_fields:
            raise TooLarge("the form has too many fields", rule="upload-fields", expected=f"{self._limits.max_fields}")
        self._part = _Part()

    def _header_name_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_ends(self) -> None:
        self._part.headers.append((bytes(self._header_name).lower(), bytes(self._header_value)))
        self._header_name.clear()
        self._header_value.clear()

    def _headers_end(self) -> None:
        name, filename = _parse_disposition(self._part.headers)
        self._part.name = name
        if name == CONTENT:
            if self._filename is not None:
                raise _refused(name, "this field is given twice")
            if filename is None:
                raise _refused(name, "this field must be a file with a filename")
            self._filename = filename
        elif name == SIGNATURE:
            if self._signature is not None:
                raise _refused(name, "this field is given twice")
            self._signature = (filename or "", b"")
        elif filename is not None:
            raise _refused(name, "no file is expected in this field", expected=f"files in {CONTENT}, {SIGNATURE} only")

    def _data_comes(self, data: bytes, start: int, end: int) -> None:
        length = end - start
        if self._part.name == CONTENT:
            self._content_bytes += length
            self._require_file_fits()
            self._content += data[start:end]
            return
        limit = self._limits.max_field_bytes
        if self._part.name == SIGNATURE:
            limit = self._limits.max_signature_bytes
        self._text_bytes += length
        if len(self._part.data) + length > limit:
            raise TooLarge(
                "this field is too long",
                rule="upload-fields",
                subject=self._part.name[:100],
                expected=f"at most {limit} bytes",
            )
        if self._text_bytes > self._limits.max_text_bytes:
            expected = f"at most {self._limits.max_text_bytes} bytes"
            raise TooLarge("the form's fields are too long together", rule="upload-fields", expected=expected)
        self._part.data += data[start:end]

    def _part_ends(self) -> None:
        name, data = self._part.name, bytes(self._part.data)
        if name == SIGNATURE and self._signature is not None:
            self._signature = (self._signature[0], data)
        elif name != CONTENT:
            try:
                self._fields.append((name, data.decode("utf-8")))
                self._project = self._fields[-1][1] if name == "name" else self._project
            except UnicodeDecodeError as error:
                raise _refused(name, "this field is not UTF-8") from error

    def _form_ends(self) -> None:
        self._ended = True


def too_large_file(max_file_bytes: int) -> TooLarge:
    """The refusal of a file over the limit."""
    return TooLarge(
        "the file is too large", rule="upload-size", subject=CONTENT, expected=f"at most {max_file_bytes} bytes"
    )


def too_large_project(project: str, room_bytes: int) -> TooLarge:
    """The refusal of a file that does not fit into its project."""
    return TooLarge(
        "the project has no room for this file",
        subject=project,
        rule="project-size",
        expected=f"at most {max(room_bytes, 0)} bytes more",
        next_step="remove old versions, or ask the index's operator to raise max_project_bytes",
    )


def _parse_disposition(headers: list[tuple[bytes, bytes]]) -> tuple[str, str | None]:
    """The part's name and, for a file, its filename."""
    found = [value for name, value in headers if name == b"content-disposition"]
    if len(found) != 1:
        raise _malformed("a part of the form has not exactly one Content-Disposition")
    options = _parse_parameters(found[0])
    if not options.get(b"name"):
        raise _malformed("a part of the form has no name")
    encodings = [value.strip().lower() for name, value in headers if name == b"content-transfer-encoding"]
    if any(encoding not in (b"binary", b"7bit", b"8bit") for encoding in encodings):
        raise _malformed("a part of the form has a Content-Transfer-Encoding")
    filename = options.get(b"filename")
    try:
        return options[b"name"].decode("utf-8"), filename.decode("utf-8") if filename is not None else None
    except UnicodeDecodeError as error:
        raise _malformed("a part's name or filename is not UTF-8") from error


def _parse_parameters(disposition: bytes) -> dict[bytes, bytes]:
    """The parameters of ``form-data``: each once, without escapes, in no extended notation (RFC 7578 section 4.2)."""
    kind, _, _ = disposition.partition(b";")
    at, found = len(kind), dict[bytes, bytes]()
    while match := _PARAMETER.match(disposition, at):
        name, quoted, token = match.groups()
        if name in found or name.endswith(b"*"):
            raise _malformed("a part's Content-Disposition says something twice")
        found[name] = quoted if quoted is not None else token
        at = match.end()
    if kind.strip().lower() != b"form-data" or at != len(disposition):
        raise _malformed("a part of the form has a malformed Content-Disposition")
    return found


def _malformed(what: str) -> InvalidUpload:
    return InvalidUpload(what, rule="upload-form")


def _refused(name: str, what: str, expected: str | None = None) -> InvalidUpload:
    return InvalidUpload(what, subject=name[:100], rule="upload-field", expected=expected)
