"""Every archive of the corpus: refused with its rule and a name, or read by everybody as we read it."""

import hashlib
import io
import re
from pathlib import Path

import pytest

import assay.formats
from assay.formats.archive_paths import PathKind
from assay.formats.inspect import inspect_distribution
from assay.formats.limits import InspectionLimits
from assay.formats.tar import TarReader
from assay.formats.wheel import read_wheel_metadata
from assay.formats.zip import open_zip
from assay.model.errors import CallerError
from formats.archives.case import Case
from formats.archives.corpus import ACCEPTED, CASES, REFUSED
from formats.archives.readers import TAR_READERS, ZIP_READERS, Found, Reader, install_with_uv

WHEELS = [case for case in ACCEPTED if case.filename.endswith(".whl")]
SDISTS = [case for case in ACCEPTED if case.filename.endswith(".tar.gz")]


def _ids(values: list[Case] | list[Reader]) -> list[str]:
    return [value.id for value in values]


def our_zip(data: bytes, limits: InspectionLimits) -> Found:
    archive = open_zip(io.BytesIO(data), limits)
    return {name: b"".join(archive.chunks(name)) for name, member in archive.members.items() if not member.is_directory}


def our_tar(data: bytes, limits: InspectionLimits) -> Found:
    reader = TarReader(io.BytesIO(data), limits)
    found: Found = {}
    for member in reader.members():
        if member.kind is PathKind.FILE:
            found[member.name] = reader.content(limits.max_expanded_bytes)
        elif member.kind is PathKind.HARD_LINK:
            found[member.name] = found[member.target]
        elif member.kind is PathKind.SYMBOLIC_LINK:
            found[member.name] = f"-> {member.target}".encode()
    return found


def test_the_corpus_is_large_and_its_ids_are_unique() -> None:
    assert len(REFUSED) >= 400
    assert len(ACCEPTED) >= 80
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", REFUSED, ids=_ids(REFUSED))
def test_is_refused_naming_rule_and_member(case: Case) -> None:
    with pytest.raises(CallerError) as refusal:
        inspect_distribution(io.BytesIO(case.data), case.filename, case.limits)
    assert refusal.value.rule == case.rule
    assert case.names in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("case", ACCEPTED, ids=_ids(ACCEPTED))
def test_is_accepted(case: Case) -> None:
    inspected = inspect_distribution(io.BytesIO(case.data), case.filename, case.limits)
    assert inspected.distribution.filename == case.filename
    assert inspected.metadata.version == inspected.distribution.version


@pytest.mark.parametrize("reader", ZIP_READERS, ids=_ids(ZIP_READERS))
@pytest.mark.parametrize("case", WHEELS, ids=_ids(WHEELS))
def test_wheel_reads_alike(case: Case, reader: Reader, tmp_path: Path) -> None:
    assert reader.read(case.data, tmp_path) == our_zip(case.data, case.limits)


@pytest.mark.parametrize("reader", TAR_READERS, ids=_ids(TAR_READERS))
@pytest.mark.parametrize("case", SDISTS, ids=_ids(SDISTS))
def test_sdist_reads_alike(case: Case, reader: Reader, tmp_path: Path) -> None:
    assert reader.read(case.data, tmp_path) == our_tar(case.data, case.limits)


@pytest.mark.parametrize("case", WHEELS, ids=_ids(WHEELS))
def test_metadata_alone_is_the_metadata_of_the_inspection(case: Case) -> None:
    inspected = inspect_distribution(io.BytesIO(case.data), case.filename, case.limits)
    assert read_wheel_metadata(io.BytesIO(case.data), case.filename) == inspected.metadata_bytes


def test_uv_installs_what_was_inspected(tmp_path: Path) -> None:
    chosen = [case for case in WHEELS if case.filename.endswith("py3-none-any.whl")][::4]
    assert len(chosen) >= 15
    for number, case in enumerate(chosen):
        folder = tmp_path / str(number)
        folder.mkdir()
        installed = install_with_uv(case.data, case.filename, folder)
        for path, content in our_zip(case.data, case.limits).items():
            if ".data/" not in path and not path.endswith("/RECORD"):
                assert hashlib.sha256(installed[path]).digest() == hashlib.sha256(content).digest(), (case.id, path)


def test_every_rule_has_an_archive_that_it_refuses() -> None:
    source = Path(assay.formats.__file__).parent
    modules = ("archive_paths", "zip", "tar", "gunzip", "wheel", "sdist", "entry_points", "core_metadata", "inspect")
    text = "".join((source / f"{module}.py").read_text() for module in modules)
    rules = set(re.findall(r'"((?:zip|tar|gzip|archive|wheel|sdist|metadata)(?:-[a-z0-9]+)+)"', text))
    assert rules - {case.rule for case in REFUSED} == {"zip-truncated"}, "a file that shrinks has its own test"


class _Shrinking(io.BytesIO):
    """A file that somebody cuts while it is read: its length was true a moment ago."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size)[:-1]


@pytest.mark.parametrize("case", [WHEELS[0], SDISTS[0]], ids=["wheel", "sdist"])
def test_a_file_that_shrinks_under_the_reader_is_refused(case: Case) -> None:
    with pytest.raises(CallerError) as refusal:
        inspect_distribution(_Shrinking(case.data), case.filename)
    assert refusal.value.rule in {"zip-truncated", "gzip-truncated", "gzip"}
