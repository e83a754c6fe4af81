"""The upload form as a value: what is understood, what is refused, and which field is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.formats.upload_form import FileDigests, UploadForm, parse_upload_form
from assay.model.digests import Sha256
from assay.model.distributions import DistributionKind
from assay.model.errors import InvalidUpload

WHEEL, SDIST = "demo_pkg-1.0-py3-none-any.whl", "demo_pkg-1.0.tar.gz"
SHA256, BLAKE2, MD5 = "a" * 64, "b" * 64, "c" * 32
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"
BASE = {
    ":action": "file_upload",
    "protocol_version": "1",
    "metadata_version": "2.1",
    "name": "Demo.Pkg",
    "version": "1.0",
    "filetype": "bdist_wheel",
    "pyversion": "py3",
    "sha256_digest": SHA256,
}


def parse(filename: str | None = WHEEL, *more: tuple[str, str], **changes: str | None) -> UploadForm:
    fields = {**BASE, **changes}
    return parse_upload_form([*((k, v) for k, v in fields.items() if v is not None), *more], filename)


def test_a_wheel() -> None:
    form = parse(WHEEL, ("classifiers", "A"), ("classifiers", "B"), ("requires_dist", "x"), ("something", "else"))
    assert (form.distribution.project, form.distribution.version) == ("demo-pkg", "1.0")
    assert form.distribution.kind is DistributionKind.WHEEL
    assert form.digests.sha256 == SHA256
    assert form.metadata.single["name"] == "Demo.Pkg"
    assert form.metadata.repeated == {"classifiers": ("A", "B"), "requires_dist": ("x",)}
    assert form.pyversion == "py3"


@pytest.mark.parametrize("pyversion", ["source", "", None])
def test_an_sdist_with_and_without_pyversion(pyversion: str | None) -> None:
    assert parse(SDIST, filetype="sdist", pyversion=pyversion).distribution.kind is DistributionKind.SDIST


def test_what_is_empty_is_absent() -> None:
    form = parse(WHEEL, ("classifiers", ""), summary="UNKNOWN", comment="", description=" \n")
    assert "summary" not in form.metadata.single
    assert "description" not in form.metadata.single
    assert form.metadata.repeated == {}
    assert form.comment is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("platform", "platforms"),
        ("license_files", "license_files"),
        ("license_file", "license_files"),
        ("import_name", "import_names"),
        ("import_namespaces", "import_namespaces"),
    ],
)
def test_both_spellings_of_a_list(sent: str, kept: str) -> None:
    assert parse(WHEEL, (sent, "x"), (sent, "y")).metadata.repeated == {kept: ("x", "y")}


REFUSED: list[tuple[str, dict[str, str | None]]] = [
    (":action", {":action": None}),
    (":action", {":action": "submit"}),
    ("protocol_version", {"protocol_version": "2"}),
    ("metadata_version", {"metadata_version": None}),
    ("name", {"name": None}),
    ("name", {"name": "other"}),
    ("name", {"name": "-demo-"}),
    ("version", {"version": None}),
    ("version", {"version": "1.1"}),
    ("version", {"version": "one"}),
    ("filetype", {"filetype": None}),
    ("filetype", {"filetype": "sdist"}),
    ("filetype", {"filetype": "bdist_egg"}),
    ("sha256_digest", {"sha256_digest": None}),
    ("sha256_digest", {"sha256_digest": "a" * 63}),
    ("sha256_digest", {"sha256_digest": "g" * 64}),
    ("md5_digest", {"md5_digest": "a" * 31}),
    ("blake2_256_digest", {"blake2_256_digest": "a" * 128}),
    ("summary", {"summary": "a\0b"}),
]


@pytest.mark.parametrize(("field", "changes"), REFUSED)
def test_the_wrong_field_is_named(field: str, changes: dict[str, str | None]) -> None:
    with pytest.raises(InvalidUpload) as refused:
        parse(WHEEL, **changes)
    assert refused.value.subject == field


@pytest.mark.parametrize("field", [*BASE, "attestations", "requires_python"])
def test_a_single_field_stands_once(field: str) -> None:
    value = BASE.get(field, "x")
    with pytest.raises(InvalidUpload) as refused:
        parse(WHEEL, (field, value), (field, value))
    assert refused.value.subject == field


@pytest.mark.parametrize(
    "filename",
    [
        None,
        "",
        "demo",
        "demo.zip.exe",
        "demo_pkg-1.0-py3-none-any.whl.asc",
        "../demo_pkg-1.0.tar.gz",
        "a/demo_pkg-1.0.tar.gz",
        "a\\demo_pkg-1.0.tar.gz",
        "demo_pkg-1.0.tar.gz\n",
        ".demo-1.0.tar.gz",
        "d" * 300,
    ],
)
def test_a_filename_that_no_installer_reads(filename: str | None) -> None:
    with pytest.raises(InvalidUpload) as refused:
        parse(filename)
    assert refused.value.subject == "content"


def test_version_and_name_are_compared_in_canonical_form() -> None:
    assert parse("Demo.Pkg-1.0.0-py3-none-any.whl", version="01.0.0").distribution.version == "1.0.0"


def test_the_signature_is_named_after_the_file() -> None:
    fields = list(BASE.items())
    assert parse_upload_form(fields, WHEEL, signature=(f"{WHEEL}.asc", SIGNATURE)).signature == SIGNATURE
    for name, data in ((WHEEL, SIGNATURE), ("other.asc", SIGNATURE), (f"{WHEEL}.asc", b"\x89\x01binary")):
        with pytest.raises(InvalidUpload) as refused:
            parse_upload_form(fields, WHEEL, signature=(name, data))
        assert refused.value.subject == "gpg_signature"


@pytest.mark.parametrize("field", ["sha256_digest", "blake2_256_digest", "md5_digest"])
def test_every_declared_digest_must_match(field: str) -> None:
    received = FileDigests(Sha256(SHA256), BLAKE2, MD5)
    values = {"sha256_digest": SHA256, "blake2_256_digest": BLAKE2.upper(), "md5_digest": MD5}
    parse(WHEEL, **values).digests.require_match(received)
    form = parse(WHEEL, **(values | {field: "0" * len(values[field])}))
    with pytest.raises(InvalidUpload) as refused:
        form.digests.require_match(received)
    assert refused.value.subject == field


NAMES = st.sampled_from([*BASE, "classifiers", "project_urls", "gpg_signature", "content", "x"]) | st.text(max_size=8)


@given(st.lists(st.tuples(NAMES, st.text(max_size=20))), st.none() | st.text(max_size=40))
def test_any_form_is_a_value_or_a_refusal(fields: list[tuple[str, str]], filename: str | None) -> None:
    subject: str | None = None
    try:
        subject = parse_upload_form([*BASE.items(), *fields], filename).distribution.filename
    except InvalidUpload as refused:
        subject = refused.subject
    assert subject
