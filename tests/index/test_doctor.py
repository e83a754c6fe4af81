"""``doctor`` finds what was changed behind the signer's back (rows B9, B10), and nothing where all is well."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from assay.formats.pages import parse_page_json
from assay.index.doctor import examine
from assay.index.ledger.schema import files, schema_version
from assay.trust.layout import Lifetimes, page_target
from index.ledger_index import DEMO, LedgerIndex


def blob_of(index: LedgerIndex) -> Path:
    page = index.published.read(page_target(DEMO))
    assert page is not None
    return index.blobs.path(parse_page_json(page).files[0].sha256)


def rewritten_row(index: LedgerIndex) -> None:
    with index.ledger.write() as connection:
        connection.execute(update(files).values(sha256="0" * 64))


def flipped_byte(index: LedgerIndex) -> None:
    blob = blob_of(index)
    blob.chmod(0o644)
    blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])


def lost_blob(index: LedgerIndex) -> None:
    blob_of(index).unlink()


@pytest.fixture
def index(tmp_path: Path) -> LedgerIndex:
    index = LedgerIndex(tmp_path)
    index.publish("demo", "1.0", index.user("alice"))
    return index


def test_all_is_well(index: LedgerIndex) -> None:
    examined = examine(index.data, index.now, Lifetimes(), hash_blobs=True)
    assert examined.findings == ()
    assert (examined.projects, examined.files) == (1, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rewritten_row, "ledger was changed"),
        (flipped_byte, "not those that were signed"),
        (lost_blob, "bytes are gone"),
    ],
)
def test_B9_B10_what_was_changed_is_found(
    index: LedgerIndex, change: Callable[[LedgerIndex], None], words: str
) -> None:
    change(index)
    examined = examine(index.data, index.now, Lifetimes(), hash_blobs=True)
    assert not examined.healthy
    assert any(words in finding.text for finding in examined.findings)


def test_a_timestamp_that_is_not_the_heads_is_found(index: LedgerIndex) -> None:
    old = index.published.read("tuf/timestamp.json")
    assert old is not None
    index.publish("demo", "1.1", index.principal(index.token("alice")))
    index.published.write({"tuf/timestamp.json": old})
    examined = examine(index.data, index.now, Lifetimes(), hash_blobs=False)
    assert any(finding.subject == "timestamp.json" for finding in examined.findings)


def test_a_ledger_that_does_not_open_is_not_well(index: LedgerIndex) -> None:
    with index.ledger.write() as connection:
        connection.execute(update(schema_version).values(version=1))
    examined = examine(index.data, index.now, Lifetimes(), hash_blobs=False)
    assert not examined.healthy
    assert any("another version" in finding.text for finding in examined.findings)
