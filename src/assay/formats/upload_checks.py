"""The form of an upload against the file it came with: the file is the truth, the form may only repeat it.

Clients send different subsets of the metadata; what they leave out costs nothing: the index never reads it from
the form. ``metadata_version`` is the form's own (flit's is always 2.3). All else must mean the same as in the
file: values are compared as the specifications read them (versions, requirements, specifiers, extras), lists without
order or repetition, texts without regard to white space.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from assay.formats.core_metadata import CoreMetadata, refused_field
from assay.formats.inspect import InspectedDistribution
from assay.model.distributions import DistributionKind
from assay.model.errors import InvalidUpload


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """What an operator may allow on a private index: local versions (PEP 440), URLs as dependencies (PEP 508)."""

    allow_local_versions: bool = False
    allow_direct_references: bool = False


Reading = Callable[[str], Hashable]

_NOT_GIVEN: Final = frozenset({"", "UNKNOWN"})
"""What some build tools write for a field they do not have."""
_FOLD: Final = re.compile(r"\n(?: {8}| {7}\|)")
_LICENSE_FILES_SINCE: Final = (2, 4)
_STATIC_SINCE: Final = (2, 2)
"""From this version of the metadata on, an sdist's fields are those of every wheel built from it, but for Dynamic."""
_DEPENDENCIES: Final = frozenset({"requires-dist", "requires-python", "provides-extra"})


def _text(value: str) -> str:
    return " ".join(value.split())


def _description(value: str) -> str:
    return _FOLD.sub("\n", value.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _requirement(value: str) -> str:
    try:
        requirement = Requirement(value)
    except InvalidRequirement:
        return _text(value)
    requirement.name = canonicalize_name(requirement.name)
    requirement.extras = {canonicalize_name(extra) for extra in requirement.extras}
    return str(requirement)


def _specifiers(value: str) -> Hashable:
    try:
        return SpecifierSet(value)
    except InvalidSpecifier:
        return _text(value)


def _version(value: str) -> Hashable:
    try:
        return Version(value)
    except InvalidVersion:
        return value


def _lowered(value: str) -> str:
    return _text(value).lower()


def _labelled_url(value: str) -> tuple[str, str]:
    label, _, url = value.partition(",")
    return label.strip(), url.strip()


def _one(value: str | None) -> list[str]:
    return [] if value is None else [value]


def _all(values: Iterable[str]) -> list[str]:
    return list(values)


_FIELDS: Final[Mapping[str, tuple[Callable[[CoreMetadata], list[str]], Reading]]] = {
    "name": (lambda facts: [facts.name], canonicalize_name),
    "version": (lambda facts: [facts.version], _version),
    "summary": (lambda facts: _one(facts.summary), _text),
    "description": (lambda facts: _one(facts.description), _description),
    "description_content_type": (lambda facts: _one(facts.description_content_type), _lowered),
    "home_page": (lambda facts: _one(facts.home_page), _text),
    "download_url": (lambda facts: _one(facts.download_url), _text),
    "author": (lambda facts: _one(facts.author), _text),
    "author_email": (lambda facts: _one(facts.author_email), _text),
    "maintainer": (lambda facts: _one(facts.maintainer), _text),
    "maintainer_email": (lambda facts: _one(facts.maintainer_email), _text),
    "license": (lambda facts: _one(facts.license), _text),
    "license_expression": (lambda facts: _one(facts.license_expression), _lowered),
    "requires_python": (lambda facts: _one(facts.requires_python), _specifiers),
    "classifiers": (lambda facts: _all(facts.classifiers), _text),
    "platform": (lambda facts: _all(facts.platforms), _text),
    "supported_platform": (lambda facts: _all(facts.supported_platforms), _text),
    "requires_dist": (lambda facts: _all(facts.requires_dist), _requirement),
    "requires_external": (lambda facts: _all(facts.requires_external), _text),
    "provides_dist": (lambda facts: _all(facts.provides_dist), _text),
    "obsoletes_dist": (lambda facts: _all(facts.obsoletes_dist), _text),
    "provides_extra": (lambda facts: _all(facts.provides_extra), canonicalize_name),
    "dynamic": (lambda facts: _all(facts.dynamic), _lowered),
    "license_file": (lambda facts: _all(facts.license_files), _text),
    "project_urls": (lambda facts: [f"{label}, {url}" for label, url in facts.project_urls], _labelled_url),
    "import_name": (lambda facts: _all(facts.import_names), _text),
    "import_namespace": (lambda facts: _all(facts.import_namespaces), _text),
}
_ALIASES: Final = {
    "platforms": "platform",
    "supported_platforms": "supported_platform",
    "license_files": "license_file",
    "import_names": "import_name",
    "import_namespaces": "import_namespace",
}


def check_form_matches(form: Mapping[str, Sequence[str]], inspected: InspectedDistribution) -> None:
    """Raise InvalidUpload, its ``subject`` the field, if ``form`` says anything else than the inspected file.

    ``form``: the text fields as the upload API names them, each with its values in order. Absent and empty fields, and
    fields that are not metadata, are fine. ``keywords`` are compared as a set of words.
    """
    facts = inspected.metadata
    for field, values in form.items():
        given = [value for value in values if value.strip() not in _NOT_GIVEN]
        name = _ALIASES.get(field, field)
        if not given or (name == "license_file" and _version_pair(facts) < _LICENSE_FILES_SINCE):
            continue
        if name == "filetype":
            _require_same(field, given, [inspected.distribution.kind.value], _text)
        elif name == "keywords":
            _require_same(field, sorted(_words(given)), sorted(_words(facts.keywords)), _text)
        elif name in _FIELDS:
            read_facts, reading = _FIELDS[name]
            _require_same(field, given, [value for value in read_facts(facts) if value not in _NOT_GIVEN], reading)


def check_policy(inspected: InspectedDistribution, policy: UploadPolicy) -> None:
    """Raise InvalidDistribution, its ``subject`` the metadata field, for what ``policy`` does not allow."""
    if Version(inspected.distribution.version).local and not policy.allow_local_versions:
        raise refused_field("version", "policy-local-version", "a local version", found=inspected.distribution.version)
    for text in () if policy.allow_direct_references else inspected.metadata.requires_dist:
        if Requirement(text).url is not None:
            raise refused_field(
                "requires-dist", "policy-direct-reference", "a dependency by URL", found=ascii(text[:200])
            )


def dependencies_of(inspected: InspectedDistribution) -> tuple[str, ...] | None:
    """What a file depends on, normalised and sorted; its Requires-Python counts. None: it will say when it is built.

    Files of a release may differ (platform wheels do), but whoever records or shows a release must say so.
    """
    facts = inspected.metadata
    if inspected.distribution.kind is DistributionKind.SDIST and (
        _version_pair(facts) < _STATIC_SINCE or _DEPENDENCIES & {field.lower() for field in facts.dynamic}
    ):
        return None
    python = f"Python {_specifiers(facts.requires_python or '')}".rstrip()
    return tuple(sorted({*map(_requirement, facts.requires_dist), python}))


def _version_pair(facts: CoreMetadata) -> tuple[int, ...]:
    return tuple(int(part) for part in facts.metadata_version.split("."))


def _words(values: Iterable[str]) -> set[str]:
    return {word for value in values for word in re.split(r"[\s,;]+", value) if word}


def _require_same(field: str, given: Sequence[str], actual: Sequence[str], reading: Reading) -> None:
    form, file = set(map(reading, given)), set(map(reading, actual))
    if form == file:
        return
    raise InvalidUpload(
        "the form contradicts the file's own metadata",
        rule="upload-metadata",
        subject=field,
        expected=_brief(value for value in actual if reading(value) not in form),
        found=_brief(value for value in given if reading(value) not in file),
        next_step="upload the file with the metadata it was built with",
    )


def _brief(values: Iterable[str]) -> str:
    text = "; ".join(ascii(value[:200]) for value in values)
    return text[:400] or "nothing"
