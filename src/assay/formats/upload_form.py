"""The fields of an upload (the legacy upload API, ``:action=file_upload``), parsed into one frozen value.

Invariants: an ``UploadForm`` names exactly one distribution, and its name, version and filetype are those of the
filename; every digest is lower-case hex of the right length and at least one is there; no text holds a NUL. What the
metadata fields claim is not checked here: the file inside is the truth, and admission compares the two.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from packaging.version import InvalidVersion, Version

from assay.model.digests import Sha256
from assay.model.distributions import Distribution, DistributionKind, parse_distribution
from assay.model.errors import InvalidName, InvalidUpload
from assay.model.names import parse_project_name


@dataclass(frozen=True, slots=True)
class FormLimits:
    """Caps on everything in a form but the file itself, in bytes. ``max_text_bytes``: of all text fields together."""

    max_fields: int = 4_096
    max_field_bytes: int = 2_000_000
    max_text_bytes: int = 4_000_000
    max_signature_bytes: int = 16_384


@dataclass(frozen=True, slots=True)
class FileDigests:
    """The digests of bytes that were received, lower-case hex."""

    sha256: Sha256
    blake2b_256: str
    md5: str


@dataclass(frozen=True, slots=True)
class DeclaredDigests:
    """The digests that the form claims; at least one is not None."""

    sha256: str | None = None
    blake2b_256: str | None = None
    md5: str | None = None

    def require_match(self, received: FileDigests) -> None:
        """Raise InvalidUpload, naming the field, unless every declared digest is that of the received bytes."""
        for name, declared, found in (
            ("sha256_digest", self.sha256, received.sha256),
            ("blake2_256_digest", self.blake2b_256, received.blake2b_256),
            ("md5_digest", self.md5, received.md5),
        ):
            if declared is not None and not hmac.compare_digest(declared, found):
                raise _refusal(
                    name,
                    "the file that arrived has another digest",
                    rule="upload-digest",
                    expected=declared,
                    found=found,
                    next_step="upload again; if it persists, something on the way changes the file",
                )


@dataclass(frozen=True, slots=True)
class DeclaredMetadata:
    """The core metadata that the form claims, under the names of ``packaging.metadata.RawMetadata``.

    Absent and empty fields are left out. ``keywords`` and ``project_urls`` (each "label, url") are as they were sent.
    """

    single: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UploadForm:
    """One upload without its bytes. ``attestations``: a JSON array as sent (PEP 740). ``signature``: the ``.asc``.

    ``claim``: the developers' role that lists the file, as text, for a project that is claimed (PEP 480).
    """

    distribution: Distribution
    metadata: DeclaredMetadata
    digests: DeclaredDigests
    pyversion: str | None = None
    comment: str | None = None
    attestations: str | None = None
    signature: bytes | None = None
    claim: str | None = None


_SINGLE: Final = (
    *("metadata_version", "name", "version", "summary", "description", "description_content_type", "keywords"),
    *("home_page", "author", "author_email", "maintainer", "maintainer_email", "license", "license_expression"),
    *("download_url", "requires_python"),
)
_REPEATED: Final = MappingProxyType(
    {
        "classifiers": "classifiers",
        "dynamic": "dynamic",
        "import_name": "import_names",
        "import_names": "import_names",
        "import_namespace": "import_namespaces",
        "import_namespaces": "import_namespaces",
        "license_file": "license_files",
        "license_files": "license_files",
        "obsoletes": "obsoletes",
        "obsoletes_dist": "obsoletes_dist",
        "platform": "platforms",
        "platforms": "platforms",
        "project_urls": "project_urls",
        "provides": "provides",
        "provides_dist": "provides_dist",
        "provides_extra": "provides_extra",
        "requires": "requires",
        "requires_dist": "requires_dist",
        "requires_external": "requires_external",
        "supported_platform": "supported_platforms",
        "supported_platforms": "supported_platforms",
    }
)
_DIGEST_CHARS: Final = {"md5_digest": 32, "sha256_digest": 64, "blake2_256_digest": 64}
_CONTROL: Final = (":action", "protocol_version", "filetype", "pyversion", "comment", "attestations", "assay_claim")
_ONCE: Final = frozenset((*_SINGLE, *_DIGEST_CHARS, *_CONTROL))
_HEX: Final = re.compile(r"[0-9a-f]+\Z")
_KINDS: Final = {kind.value: kind for kind in DistributionKind}
_NOT_GIVEN: Final = frozenset(("", "UNKNOWN"))
"""What some build tools write for a field they do not have."""


def parse_upload_form(
    fields: Iterable[tuple[str, str]], filename: str | None, *, signature: tuple[str, bytes] | None = None
) -> UploadForm:
    """Read the text ``fields`` in the order of the form, the ``filename`` of the part ``content`` (None: no such part),
    and the part ``gpg_signature`` as its filename and bytes.

    Unknown fields are ignored. Raises InvalidUpload whose ``subject`` is the field that is missing or wrong.
    """
    single, repeated = _collect(fields)
    _require_action(single)
    if filename is None:
        raise _refusal("content", "this field is missing: the form has no file")
    distribution = _parse_filename(filename)
    _require_agreement(single, distribution)
    pyversion = single.get("pyversion")
    if distribution.kind is DistributionKind.SDIST and pyversion not in (None, "source"):
        raise _refusal("pyversion", "not that of a source distribution", expected="source", found=repr(pyversion[:80]))
    return UploadForm(
        distribution=distribution,
        metadata=DeclaredMetadata(
            MappingProxyType({name: single[name] for name in _SINGLE if name in single}), MappingProxyType(repeated)
        ),
        digests=_parse_digests(single),
        pyversion=pyversion,
        comment=single.get("comment"),
        attestations=single.get("attestations"),
        signature=_parse_signature(signature, distribution.filename),
        claim=single.get("assay_claim"),
    )


def _collect(fields: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The known fields: those that may stand once, and those that may be repeated, under their metadata names."""
    seen: set[str] = set()
    single: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in fields:
        if name not in _ONCE and name not in _REPEATED:
            continue
        if "\0" in value:
            raise _refusal(name, "holds a NUL character")
        if name in _ONCE and name in seen:
            raise _refusal(name, "this field is given twice")
        seen.add(name)
        if value.strip() in _NOT_GIVEN:
            continue
        if name in _ONCE:
            single[name] = value
        else:
            lists.setdefault(_REPEATED[name], []).append(value)
    return single, {name: tuple(values) for name, values in lists.items()}


def _require_action(single: Mapping[str, str]) -> None:
    action = _require(single, ":action")
    if action != "file_upload":
        raise _refusal(":action", "not supported here", expected="file_upload", found=repr(action[:80]))
    protocol = single.get("protocol_version", "1")
    if protocol != "1":
        raise _refusal("protocol_version", "not known", expected="1", found=repr(protocol[:80]))
    _require(single, "metadata_version")


def _parse_filename(filename: str) -> Distribution:
    try:
        return parse_distribution(filename)
    except InvalidName as error:
        raise _refusal("content", error.what, rule="upload-filename", found=repr(filename[:255])) from error


def _require_agreement(single: Mapping[str, str], distribution: Distribution) -> None:
    """Name, version and filetype of the form are those of the filename."""
    name = _require(single, "name")
    try:
        project = parse_project_name(name)
    except InvalidName as error:
        raise _refusal("name", error.what, found=repr(name[:100]), expected=error.expected) from error
    if project != distribution.project:
        raise _refusal("name", "the filename names another project", expected=distribution.project, found=project)
    text = _require(single, "version")
    try:
        version = str(Version(text))
    except InvalidVersion as error:
        raise _refusal("version", "not a version (PEP 440)", found=repr(text[:80])) from error
    if version != distribution.version:
        raise _refusal("version", "the filename has another version", expected=distribution.version, found=version)
    kind = _require(single, "filetype")
    if _KINDS.get(kind) is not distribution.kind:
        raise _refusal("filetype", "not that of the file", expected=distribution.kind.value, found=repr(kind[:80]))


def _parse_digests(single: Mapping[str, str]) -> DeclaredDigests:
    found: dict[str, str] = {}
    for name, length in _DIGEST_CHARS.items():
        if name in single:
            found[name] = single[name].strip().lower()
            if len(found[name]) != length or not _HEX.match(found[name]):
                raise _refusal(name, "not a digest", expected=f"{length} hex digits", found=repr(single[name][:80]))
    if not found:
        raise _refusal(
            "sha256_digest", "the form has no digest of the file", expected=f"one of {', '.join(_DIGEST_CHARS)}"
        )
    return DeclaredDigests(found.get("sha256_digest"), found.get("blake2_256_digest"), found.get("md5_digest"))


def _parse_signature(part: tuple[str, bytes] | None, filename: str) -> bytes | None:
    if part is None:
        return None
    name, data = part
    if name != f"{filename}.asc":
        raise _refusal("gpg_signature", "not named after the file", expected=f"{filename}.asc", found=repr(name[:255]))
    if not data.lstrip().startswith(b"-----BEGIN PGP SIGNATURE-----"):
        raise _refusal("gpg_signature", "not an ASCII-armoured OpenPGP signature")
    return data


def _require(single: Mapping[str, str], name: str) -> str:
    if name not in single:
        raise _refusal(name, "this field is missing")
    return single[name]


def _refusal(
    name: str,
    what: str,
    *,
    rule: str = "upload-field",
    expected: str | None = None,
    found: str | None = None,
    next_step: str | None = None,
) -> InvalidUpload:
    return InvalidUpload(what, subject=name, rule=rule, expected=expected, found=found, next_step=next_step)
