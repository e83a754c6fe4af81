"""The form reader: any split of the bytes gives the same form, and everything is bounded."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.formats.upload_form import FormLimits
from assay.index.web.multipart import FormReader, ReceivedForm, parse_boundary
from assay.model.errors import AssayError, InvalidUpload, TooLarge
from index.web.forms import BOUNDARY, BYTES, FIELDS, WHEEL, Part, body, field, file, parts

LIMITS = FormLimits(max_fields=20, max_field_bytes=1_000, max_text_bytes=3_000, max_signature_bytes=100)


def read(*chunks: bytes, max_file_bytes: int = 100_000) -> tuple[ReceivedForm, bytes]:
    reader = FormReader(BOUNDARY.encode(), LIMITS, max_file_bytes)
    content = b""
    for chunk in chunks:
        reader.feed(chunk)
        content += reader.take_content()
    return reader.finish(), content


def refusal(*chunks: bytes, **limits: int) -> AssayError:
    with pytest.raises((InvalidUpload, TooLarge)) as refused:
        read(*chunks, **limits)
    return refused.value


def test_a_whole_form() -> None:
    form, content = read(body([*parts(), file("gpg_signature", f"{WHEEL}.asc", b"armour")]))
    assert dict(form.fields) == FIELDS
    assert (form.filename, content) == (WHEEL, BYTES)
    assert form.signature == (f"{WHEEL}.asc", b"armour")


NEAR_BOUNDARY = b"\r\n--" + BOUNDARY.encode()
TRICKY = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", NEAR_BOUNDARY[:-1], NEAR_BOUNDARY + b"x", b"--" + BOUNDARY.encode()])
    | st.binary(max_size=20),
    max_size=20,
).map(b"".join)


def holds_no_boundary(data: bytes) -> bool:
    """Whether ``data`` can be a part: a boundary begins a line, and the part itself begins one."""
    return not re.search(rb"\r\n--7f9a(--|[ \t\r\n])", b"\r\n" + data + b"\r\n")


@given(TRICKY.filter(holds_no_boundary), st.data())
def test_any_split_gives_the_same_bytes(data: bytes, draw: st.DataObject) -> None:
    whole = body([field("name", "demo"), file("content", WHEEL, data), field("version", "1.0")])
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    form, content = read(*chunks)
    assert content == data
    assert form.fields == (("name", "demo"), ("version", "1.0"))


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"--7f9a\r\n", b"\r\n\r\n", b"--7f9a--\r\n", body(parts())])))
def test_any_bytes_are_a_form_or_a_refusal(chunks: list[bytes]) -> None:
    fields: tuple[object, ...] = ()
    rule = "upload"
    try:
        fields = read(*chunks)[0].fields
    except (InvalidUpload, TooLarge) as error:
        rule = error.rule
    assert rule.startswith("upload")
    assert len(fields) <= LIMITS.max_fields


UTF8: Part = ('Content-Disposition: form-data; name="name"', "Zoë".encode("latin-1"))
REFUSED: dict[str, tuple[list[Part], str | None]] = {
    "content without a filename": ([field("content", "x")], "content"),
    "content twice": ([*parts(), file("content", WHEEL, b"")], "content"),
    "signature twice": ([file("gpg_signature", "a", b""), file("gpg_signature", "a", b"")], "gpg_signature"),
    "a file where text belongs": ([file("name", "x", b"demo")], "name"),
    "a file in an unknown field": ([file("extra", "x", b"demo")], "extra"),
    "text that is not UTF-8": ([UTF8], "name"),
    "no disposition": ([("Content-Type: text/plain", b"x")], None),
    "two dispositions": ([(f"{field('a', '')[0]}\r\n{field('b', '')[0]}", b"x")], None),
    "not form-data": ([('Content-Disposition: attachment; name="x"', b"x")], None),
    "no name": ([("Content-Disposition: form-data", b"x")], None),
    "an empty name": ([('Content-Disposition: form-data; name=""', b"x")], None),
    "a transfer encoding": ([(f"{field('name', '')[0]}\r\nContent-Transfer-Encoding: base64", b"x")], None),
    "too many headers": ([("\r\n".join([field("name", "")[0]] + [f"X-{n}: y" for n in range(9)]), b"x")], None),
    "a long header": ([(f"{field('name', '')[0]}\r\nX: {'y' * 3000}", b"x")], None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    found, subject = REFUSED[case]
    error = refusal(body(found))
    assert isinstance(error, InvalidUpload)
    assert error.subject == subject


def test_a_form_that_does_not_end() -> None:
    whole = body(parts())
    for cut in (0, 1, 10, len(whole) // 2, len(whole) - 5):
        assert refusal(whole[:cut]).rule == "upload-form"


TOO_LARGE: dict[str, tuple[list[Part], str | None]] = {
    "one field": ([field("description", "x" * 1_001)], "description"),
    "all fields": ([field(f"x{n}", "x" * 900) for n in range(4)], None),
    "the number of fields": ([field("classifiers", "x")] * 21, None),
    "the signature": ([file("gpg_signature", "a", b"x" * 101)], "gpg_signature"),
    "the file": ([file("content", WHEEL, b"x" * 5_001)], "content"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_limits(case: str) -> None:
    found, subject = TOO_LARGE[case]
    error = refusal(body(found), max_file_bytes=5_000)
    assert isinstance(error, TooLarge)
    assert error.subject == subject


def test_a_limit_is_noticed_before_the_field_ends() -> None:
    reader = FormReader(BOUNDARY.encode(), LIMITS, 100)
    with pytest.raises(TooLarge):
        reader.feed(body([field("description", "x" * 2_000)])[:1_200])


def test_a_file_may_be_exactly_as_large_as_allowed() -> None:
    _form, content = read(body([file("content", WHEEL, b"x" * 5_000)]), max_file_bytes=5_000)
    assert len(content) == 5_000


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 71}",
        'multipart/form-data; boundary="a\tb"',
        "text/plain; boundary=x",
        "application/x-www-form-urlencoded",
        'multipart/form-data; boundary="x "',
        "multipart/form-data;" + ";" * 90000,
    ],
)
def test_content_types_that_are_no_form(content_type: str | None) -> None:
    with pytest.raises(InvalidUpload) as refused:
        parse_boundary(content_type)
    assert refused.value.subject == "Content-Type"


def test_boundaries() -> None:
    assert parse_boundary('Multipart/Form-Data; charset=x; Boundary="a b"') == b"a b"
    assert parse_boundary(f"multipart/form-data; boundary={'x' * 70}") == b"x" * 70


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="content"; filename="other.whl"; filename="demo-1.0-py3-none-any.whl"',
        'form-data; name="version"; name="content"; filename="demo-1.0-py3-none-any.whl"',
        'form-data; name="content"; filename="x"; filename*=UTF-8\'\'demo-1.0-py3-none-any.whl',
        "form-data; name=\"content\"; filename*=UTF-8''demo-1.0-py3-none-any.whl",
        'form-data; name="content"; filename="C:\\x\\demo-1.0-py3-none-any.whl"',
        'form-data; name="content"; filename="a\\"; name="b"',
        'form-data; name="content" filename="demo-1.0-py3-none-any.whl"',
        'form-data; name="content"; filename="demo-1.0-py3-none-any.whl',
        'form-data; name="content"; filename="demo-1.0-py3-none-any.whl" x',
        'attachment; name="content"; filename="demo-1.0-py3-none-any.whl"',
        'form-data; name=""',
        "form-data",
        "",
    ],
)
def test_a_disposition_that_could_be_read_in_two_ways(disposition: str) -> None:
    refused = refusal(body([*parts()[:-1], (f"Content-Disposition: {disposition}", BYTES)]))
    assert refused.rule == "upload-form"


@pytest.mark.parametrize(
    "disposition",
    [
        f'form-data; name="content"; filename="{WHEEL}"',
        f'form-data;name="content";filename="{WHEEL}"',
        f'form-data; filename="{WHEEL}"; name=content',
        f"form-data ; name=content ; filename={WHEEL} ",
        f'Form-Data; name="content"; filename="{WHEEL}"',
    ],
)
def test_dispositions_as_clients_write_them(disposition: str) -> None:
    form, content = read(body([*parts()[:-1], (f"Content-Disposition: {disposition}", BYTES)]))
    assert (form.filename, content) == (WHEEL, BYTES)


@pytest.mark.parametrize("epilogue", [b"x", b"\r\n--7f9a\r\n", body([field("version", "9")]), b"\r\n\r\n\0"])
@pytest.mark.parametrize("piece", [1, 5, 10**6])
def test_what_follows_the_form_is_refused(epilogue: bytes, piece: int) -> None:
    whole = body(parts()) + epilogue
    assert refusal(*(whole[at : at + piece] for at in range(0, len(whole), piece))).rule == "upload-form"


@pytest.mark.parametrize("piece", [1, 5, 10**6])
def test_empty_lines_may_follow_the_form(piece: int) -> None:
    whole = body(parts()) + b"\r\n \t\r\n"
    form, _content = read(*(whole[at : at + piece] for at in range(0, len(whole), piece)))
    assert dict(form.fields) == FIELDS
