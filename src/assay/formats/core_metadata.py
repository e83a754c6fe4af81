"""Core metadata (METADATA, PKG-INFO): strict bytes to a frozen record of facts.

Two layers must both agree. First the shape, as every reader would see it: UTF-8, one header per line, known field
names, no control characters, so that e-mail parsers with different ideas of a line cannot find different
dependencies. Then the values, as packaging.metadata validates them for the declared version. Source: the core metadata
specification 2.6 and PEP 566, 639, 643, 685, 753, 794.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from packaging.metadata import InvalidMetadata, Metadata, RawMetadata, parse_email
from packaging.utils import canonicalize_name

from assay.model.errors import InvalidDistribution

MAX_SUMMARY_CHARS: Final = 512
MAX_URL_LABEL_CHARS: Final = 32
MAX_URL_CHARS: Final = 2_048
MAX_VALUES: Final = 10_000
"""How many lines one repeated field may have."""
MAX_PARSED_CHARS: Final = 8_192
"""Longest value that has a grammar; names, versions and specifiers have less."""
MAX_SHORT_CHARS: Final = 1_024
MAX_NESTING: Final = 32
MAX_PARSED_TOTAL_CHARS: Final = 262_144
MAX_HEAD_CHARS: Final = 1_000_000
MAX_LINES: Final = 200_000
"""Of what packaging parses, of everything before the description, of all: a reader's time grows with them."""

_HEADER = re.compile(r"([A-Za-z][A-Za-z-]*):")
_CONTROL = re.compile("[\x00-\x08\x0b\r\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff]|\x0c(?![ \t\r\n]|\\Z)")
"""A form feed is legal where white space follows: licence texts have page breaks."""
_PARSED = frozenset({"requires_dist", "license_expression", "provides_extra", "license_files", "import_names"})
_SHORT = frozenset({"name", "version", "metadata_version", "requires_python", "description_content_type"})
_CONTENT_TYPE = re.compile(
    r"""text/(?:plain|x-rst|markdown)(?:\s*;\s*(?:charset|variant)\s*=\s*(?:[\w-]+|"[\w-]+"))*\Z""", re.IGNORECASE
)
_HUGE_NUMBER = re.compile("[0-9]{200}")
_FOLDABLE = frozenset({"license", "description", "keywords"})
_BEFORE_2_4 = frozenset({"1.0", "1.1", "1.2", "2.1", "2.2", "2.3"})


@dataclass(frozen=True, slots=True)
class CoreMetadata:
    """The facts of one METADATA or PKG-INFO. Texts are as written in the file, stripped; absent is None or empty.

    ``version`` is canonical (PEP 440), ``provides_extra`` and ``dynamic`` are normalised; ``requires_dist`` and
    ``requires_python`` are verbatim and valid. ``project_urls``: (label, URL) in the file's order.
    """

    metadata_version: str
    name: str
    version: str
    summary: str | None = None
    description: str | None = None
    description_content_type: str | None = None
    keywords: tuple[str, ...] = ()
    home_page: str | None = None
    download_url: str | None = None
    author: str | None = None
    author_email: str | None = None
    maintainer: str | None = None
    maintainer_email: str | None = None
    license: str | None = None
    license_expression: str | None = None
    license_files: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    supported_platforms: tuple[str, ...] = ()
    requires_python: str | None = None
    requires_dist: tuple[str, ...] = ()
    requires_external: tuple[str, ...] = ()
    provides_extra: tuple[str, ...] = ()
    provides_dist: tuple[str, ...] = ()
    obsoletes_dist: tuple[str, ...] = ()
    project_urls: tuple[tuple[str, str], ...] = ()
    dynamic: tuple[str, ...] = ()
    import_names: tuple[str, ...] = ()
    import_namespaces: tuple[str, ...] = ()


def parse_core_metadata(data: bytes) -> CoreMetadata:
    """Read METADATA or PKG-INFO strictly. Raises InvalidDistribution whose subject is the field.

    Off-spec: ``License-File`` below metadata 2.4 is ignored, because setuptools wrote it years before PEP 639.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused_field(None, "metadata-encoding", "the metadata is not UTF-8", found=str(error)) from error
    _check_shape(text)
    raw, unparsed = parse_email(text)
    for field in sorted(unparsed):
        raise refused_field(field, "metadata-field", "unknown field, or one that may stand only once")
    if raw.get("metadata_version") in _BEFORE_2_4:
        raw.pop("license_files", None)
    _check_parsable(raw)
    try:
        valid = Metadata.from_raw(raw)
    except ExceptionGroup as group:
        first = group.exceptions[0]
        named = first.field if isinstance(first, InvalidMetadata) else None
        raise refused_field(named, "metadata-value", str(first)) from group
    _check_values(raw)
    return _facts(raw, str(valid.version))


def _check_shape(text: str) -> None:
    """Every line up to the first empty one is a header, or continues one that may have several lines."""
    name = ""
    head, _, _body = text.replace("\r\n", "\n").partition("\n\n")
    if "\0" in text:
        raise refused_field(None, "metadata-control", "the metadata contains a NUL")
    if (lines := text.count("\n")) > MAX_LINES:
        raise refused_field(None, "metadata-size", "too many lines", f"at most {MAX_LINES}", f"{lines}")
    if len(head) > MAX_HEAD_CHARS:
        expected, found = f"at most {MAX_HEAD_CHARS} characters", f"{len(head)} characters"
        raise refused_field(None, "metadata-size", "the fields are too long together", expected, found)
    for line in head.removesuffix("\n").split("\n"):
        header = _HEADER.match(line)
        name = header.group(1) if header else name
        if bad := _CONTROL.search(line):
            raise refused_field(
                name or None, "metadata-control", "a control character in a header", found=ascii(bad.group())
            )
        continues = line.startswith((" ", "\t")) and name.lower() in _FOLDABLE
        if header is None and not continues:
            raise refused_field(name or None, "metadata-header", "not a header of its own line", found=ascii(line[:80]))


def _check_parsable(raw: RawMetadata) -> None:
    """Keep packaging's parsers within what they can take, before they run: they recurse, and refuse huge numbers."""
    if not _CONTENT_TYPE.match(raw.get("description_content_type", "text/plain").strip()):
        raise refused_field(
            "description-content-type", "metadata-value", "not text/plain, text/x-rst or text/markdown in UTF-8"
        )
    parsed = sum(len(str(text)) for key in _PARSED for text in _listed(raw.get(key, [])))
    if parsed > MAX_PARSED_TOTAL_CHARS:
        expected, found = f"at most {MAX_PARSED_TOTAL_CHARS} characters", f"{parsed} characters"
        what = "dependencies, extras and licences are too long together"
        raise refused_field("requires-dist", "metadata-size", what, expected, found)
    for key, value in raw.items():
        field, values = key.replace("_", "-"), _listed(value)
        if len(values) > MAX_VALUES:
            raise refused_field(field, "metadata-size", "too many values", expected=f"at most {MAX_VALUES}")
        if key not in _PARSED and key not in _SHORT:
            continue
        most = MAX_SHORT_CHARS if key in _SHORT else MAX_PARSED_CHARS
        for text in map(str, values):
            if len(text) > most or text.count("(") > MAX_NESTING or _HUGE_NUMBER.search(text):
                raise refused_field(
                    field,
                    "metadata-size",
                    "the value is too long or too deep",
                    expected=f"at most {most} characters, {MAX_NESTING} parentheses, no number of 200 digits",
                    found=f"{len(text)} characters",
                )


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _check_values(raw: RawMetadata) -> None:
    """What packaging.metadata leaves open, and indexes refuse."""
    if len(raw.get("summary", "")) > MAX_SUMMARY_CHARS:
        raise refused_field(
            "summary", "metadata-summary", "too long", expected=f"at most {MAX_SUMMARY_CHARS} characters"
        )
    if raw.get("license") and raw.get("license_expression"):
        raise refused_field("license-expression", "metadata-license", "stands beside License (PEP 639)")
    extras = [canonicalize_name(extra) for extra in raw.get("provides_extra", [])]
    if len(set(extras)) != len(extras):
        raise refused_field("provides-extra", "metadata-extra", "two extras have one normalised name (PEP 685)")
    for label, url in raw.get("project_urls", {}).items():
        if not 1 <= len(label) <= MAX_URL_LABEL_CHARS:
            raise refused_field(
                "project-url",
                "metadata-url",
                "label is empty or too long",
                f"1 to {MAX_URL_LABEL_CHARS} characters",
                label,
            )
        _check_url("project-url", url)
    for field, page in (("home-page", raw.get("home_page")), ("download-url", raw.get("download_url"))):
        if page and page != "UNKNOWN":
            _check_url(field, page)


def _check_url(field: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        legal = parts.scheme.lower() in {"http", "https"} and bool(parts.hostname) and len(url) <= MAX_URL_CHARS
    except ValueError:
        legal = False
    if not legal or any(char.isspace() for char in url):
        raise refused_field(
            field, "metadata-url", "not a web address", f"http(s), at most {MAX_URL_CHARS} characters", ascii(url[:200])
        )


def _facts(raw: RawMetadata, version: str) -> CoreMetadata:
    def text(value: str | None) -> str | None:
        return (value.strip() or None) if value is not None else None

    def texts(values: list[str] | None) -> tuple[str, ...]:
        return tuple(value.strip() for value in values or [])

    return CoreMetadata(
        metadata_version=raw["metadata_version"],
        name=raw["name"],
        version=version,
        summary=text(raw.get("summary")),
        description=raw.get("description") or None,
        description_content_type=text(raw.get("description_content_type")),
        keywords=tuple(word for word in raw.get("keywords", []) if word),
        home_page=text(raw.get("home_page")),
        download_url=text(raw.get("download_url")),
        author=text(raw.get("author")),
        author_email=text(raw.get("author_email")),
        maintainer=text(raw.get("maintainer")),
        maintainer_email=text(raw.get("maintainer_email")),
        license=text(raw.get("license")),
        license_expression=text(raw.get("license_expression")),
        license_files=texts(raw.get("license_files")),
        classifiers=texts(raw.get("classifiers")),
        platforms=texts(raw.get("platforms")),
        supported_platforms=texts(raw.get("supported_platforms")),
        requires_python=text(raw.get("requires_python")),
        requires_dist=texts(raw.get("requires_dist")),
        requires_external=texts(raw.get("requires_external")),
        provides_extra=tuple(canonicalize_name(extra) for extra in raw.get("provides_extra", [])),
        provides_dist=texts(raw.get("provides_dist")),
        obsoletes_dist=texts(raw.get("obsoletes_dist")),
        project_urls=tuple(raw.get("project_urls", {}).items()),
        dynamic=tuple(field.lower() for field in raw.get("dynamic", [])),
        import_names=texts(raw.get("import_names")),
        import_namespaces=texts(raw.get("import_namespaces")),
    )


def refused_field(
    field: str | None, rule: str, what: str, expected: str | None = None, found: str | None = None
) -> InvalidDistribution:
    """The refusal of one field of the metadata; without a field, of the whole."""
    return InvalidDistribution(
        what,
        rule=rule,
        subject=f"metadata field {field}" if field else "metadata",
        expected=expected,
        found=found,
        next_step="correct the field in pyproject.toml and build again",
    )
