"""Forms that real clients sent, against the files they sent them with; and the same forms with one lie each."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.formats.core_metadata import parse_core_metadata
from assay.formats.inspect import InspectedDistribution, inspect_distribution
from assay.formats.upload_checks import UploadPolicy, check_form_matches, check_policy, dependencies_of
from assay.model.distributions import parse_distribution
from assay.model.errors import InvalidDistribution, InvalidUpload
from formats.archives.zip_builder import METADATA, WHEEL_NAME, wheel

FOLDER = Path(__file__).parent / "forms"


@dataclass(frozen=True)
class Recorded:
    """One upload as it came over the wire: the form without digests, and METADATA or PKG-INFO of the file."""

    id: str
    client: str
    form: Mapping[str, list[str]]
    inspected: InspectedDistribution


def _load(path: Path) -> Recorded:
    recorded = json.loads(path.read_text())
    metadata = recorded["metadata"].encode()
    inspected = InspectedDistribution(parse_distribution(recorded["filename"]), metadata, parse_core_metadata(metadata))
    return Recorded(path.stem, recorded["client"], recorded["form"], inspected)


RECORDED = [_load(path) for path in sorted(FOLDER.glob("*.json"))]
HATCH = next(recorded for recorded in RECORDED if recorded.id == "hatch")
LIES = {
    "name": ["evil"],
    "version": ["1.2.4"],
    "filetype": ["sdist"],
    "summary": ["Another demo"],
    "description": ["# Another text"],
    "description_content_type": ["text/plain"],
    "author_email": ["mallory@example.com"],
    "maintainer_email": ["mallory@example.com"],
    "license": ["Proprietary"],
    "license_expression": ["Apache-2.0"],
    "requires_python": [">=3.9"],
    "classifiers": ["Programming Language :: Python :: 3"],
    "requires_dist": ["Requests[socks]>=2.0,<3", "evil"],
    "provides_extra": ["docs"],
    "keywords": ["one"],
    "project_urls": ["Homepage, https://evil.example/", "Bug Tracker, https://example.com/issues?a=1,2"],
    "dynamic": ["Requires-Dist"],
    "platform": ["win32"],
    "license_file": ["evil"],
    "home_page": ["https://evil.example/"],
    "import_name": ["evil"],
}
SAME = {
    "name": ["demo_pkg"],
    "version": ["v1.2.3"],
    "summary": ["A demo,  naïvely "],
    "requires_python": ["<4, >=3.9"],
    "classifiers": ["Development Status :: 3 - Alpha", "Programming Language :: Python :: 3"],
    "provides_extra": ["TEST.X", "docs"],
    "keywords": ["three two words one"],
    "license_expression": ["mit"],
    "project_urls": ["Bug Tracker,https://example.com/issues?a=1,2", "Homepage,https://example.com/"],
    "requires_external": [""],
    "home_page": ["UNKNOWN"],
    "an-unknown-field": ["anything"],
}


def test_every_client_is_represented() -> None:
    assert {recorded.client.split()[0] for recorded in RECORDED} == {"twine", "uv", "hatch", "flit", "poetry", "pdm"}


@pytest.mark.parametrize("recorded", RECORDED, ids=[recorded.id for recorded in RECORDED])
def test_what_a_client_sends_matches_its_file(recorded: Recorded) -> None:
    check_form_matches(recorded.form, recorded.inspected)


@pytest.mark.parametrize("field", LIES)
def test_a_lie_is_refused_by_name(field: str) -> None:
    with pytest.raises(InvalidUpload) as refusal:
        check_form_matches({**HATCH.form, field: LIES[field]}, HATCH.inspected)
    assert refusal.value.subject == field
    assert refusal.value.rule == "upload-metadata"


@pytest.mark.parametrize("field", SAME)
def test_the_same_said_otherwise_is_accepted(field: str) -> None:
    check_form_matches({**HATCH.form, field: SAME[field]}, HATCH.inspected)


@pytest.mark.parametrize("field", sorted(HATCH.form))
def test_any_field_may_be_left_out_or_empty(field: str) -> None:
    check_form_matches({name: values for name, values in HATCH.form.items() if name != field}, HATCH.inspected)
    check_form_matches({**HATCH.form, field: []}, HATCH.inspected)
    check_form_matches({**HATCH.form, field: [""]}, HATCH.inspected)


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
def test_newlines_of_the_description_do_not_count(newline: str) -> None:
    description = "".join(HATCH.form["description"]).replace("\r\n", "\n").replace("\n", newline)
    check_form_matches({**HATCH.form, "description": [description + newline]}, HATCH.inspected)


def test_a_folded_description_is_what_its_client_reads() -> None:
    metadata = (
        b"Metadata-Version: 1.2\nName: demo\nVersion: 1.0\nDescription: one\n        \n          two\n        three\n"
    )
    inspected = InspectedDistribution(parse_distribution(WHEEL_NAME), metadata, parse_core_metadata(metadata))
    check_form_matches({"description": ["one\n\n  two\nthree"]}, inspected)
    check_form_matches({"description": ["one\n        \n          two\n        three"]}, inspected)
    with pytest.raises(InvalidUpload):
        check_form_matches({"description": ["one\n\ntwo"]}, inspected)


def _inspect(version: str = "1.0", requires: str = "idna>=3") -> InspectedDistribution:
    metadata = METADATA.replace(b"1.0", version.encode()).replace(b"idna>=3", requires.encode())
    data = wheel(metadata=metadata, stem=f"demo-{version}")
    return inspect_distribution(io.BytesIO(data), f"demo-{version}-py3-none-any.whl")


def test_policy_refuses_local_versions_and_urls_unless_allowed() -> None:
    local, direct = _inspect("1.0+cpu"), _inspect(requires="idna @ https://example.com/idna.whl ; os_name == 'nt'")
    for inspected, rule in ((local, "policy-local-version"), (direct, "policy-direct-reference")):
        with pytest.raises(InvalidDistribution) as refusal:
            check_policy(inspected, UploadPolicy())
        assert refusal.value.rule == rule
        check_policy(inspected, UploadPolicy(allow_local_versions=True, allow_direct_references=True))
    check_policy(_inspect(), UploadPolicy())


def test_differences_between_files_of_a_release_are_named() -> None:
    assert dependencies_of(_inspect()) == dependencies_of(_inspect(requires="Idna >= 3"))
    assert dependencies_of(_inspect(requires="evil<2")) == ("Python", "evil<2")
