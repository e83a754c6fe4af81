"""Coverage-guided fuzzing of the parsers of uploads (``make fuzz``); CI runs each target for a moment (test_fuzz.py).

    PYTHONPATH=src:tests python tests/fuzz/fuzz_uploads.py TARGET [CORPUS_DIR] [-max_total_time=600]

A wheel or tar must be refused, or read as Python's own reader reads it; a form must read alike in one piece and in
many; no target may raise anything but a refusal.
"""

import gzip
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from assay.formats.core_metadata import parse_core_metadata
from assay.formats.entry_points import parse_script_names
from assay.formats.upload_form import FormLimits, parse_upload_form
from assay.index.web.multipart import FormReader, ReceivedForm, parse_boundary
from assay.model.errors import CallerError
from formats.archives.corpus import CASES
from formats.archives.test_properties import check_sdist, check_wheel
from index.web.forms import BOUNDARY, CONTENT_TYPE, body, file, parts

LIMITS = FormLimits(max_fields=40, max_field_bytes=2_000, max_text_bytes=8_000, max_signature_bytes=500)
MAX_FILE_BYTES = 100_000
SMALL = 20_000


def _metadata(data: bytes) -> None:
    try:
        parse_core_metadata(data)
    except CallerError:
        return


def _entry_points(data: bytes) -> None:
    try:
        parse_script_names(data, "entry_points.txt")
    except CallerError:
        return


def _tar(data: bytes) -> None:
    check_sdist(gzip.compress(data, 1, mtime=0))


def _read(data: bytes, piece: int) -> tuple[ReceivedForm, bytes] | None:
    reader = FormReader(BOUNDARY.encode(), LIMITS, MAX_FILE_BYTES)
    try:
        for start in range(0, len(data), piece):
            reader.feed(data[start : start + piece])
        return reader.finish(), bytes(reader.take_content())
    except CallerError:
        return None


def _form(data: bytes) -> None:
    whole = _read(data, max(len(data), 1))
    for piece in (1, 7):
        assert _read(data, piece) == whole
    if whole is not None:
        form, content = whole
        assert len(content) <= MAX_FILE_BYTES
        try:
            parsed = parse_upload_form(form.fields, form.filename, signature=form.signature)
        except CallerError:
            return
        assert parsed.distribution.filename == form.filename


def _content_type(data: bytes) -> None:
    try:
        parse_boundary(data.decode("latin-1"))
    except CallerError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "wheel": check_wheel,
    "tar": _tar,
    "metadata": _metadata,
    "entry-points": _entry_points,
    "form": _form,
    "content-type": _content_type,
}


def seeds(target: str) -> dict[str, bytes]:
    """Small inputs that reach far: the archives of the corpus, forms as clients send them."""
    match target:
        case "wheel":
            return {case.id: case.data for case in CASES if case.filename.endswith(".whl") and len(case.data) < SMALL}
        case "tar":
            sound = [case for case in CASES if case.id.startswith("sdist-accepts") and len(case.data) < SMALL // 10]
            return {case.id: gzip.decompress(case.data) for case in sound}
        case "metadata":
            return {
                "plain": b"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nRequires-Dist: other>=1; extra == 'x'\n"
            }
        case "entry-points":
            return {"plain": b"[console_scripts]\ndemo = demo.main:run [extra]\n"}
        case "form":
            signature = file("gpg_signature", "demo-1.0-py3-none-any.whl.asc", b"-----BEGIN PGP SIGNATURE-----\n")
            return {"plain": body(parts()), "signed": body([*parts(data=b"x"), signature])}
        case _:
            return {"plain": CONTENT_TYPE.encode()}


def write_seeds(folder: Path, target: str) -> None:
    """Fill an empty ``folder`` with the seeds of ``target``."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        for name, data in seeds(target).items():
            (folder / name).write_bytes(data)


def main() -> None:
    target = sys.argv.pop(1)
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        write_seeds(Path(sys.argv[1]), target)
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
