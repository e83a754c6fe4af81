"""Coverage-guided fuzzing of the parsers of uploads; not part of the test suite.

    python -m pip install atheris
    PYTHONPATH=src:tests python tests/fuzz/fuzz_archives.py TARGET [CORPUS_DIR] [-max_total_time=600]

TARGET: wheel, tar, metadata, entry-points. A wheel or tar must be refused, or read as Python's own reader reads it; no
target may raise anything but a refusal.
"""

import gzip
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from assay.formats.core_metadata import parse_core_metadata
from assay.formats.entry_points import parse_script_names
from assay.model.errors import CallerError
from formats.archives.corpus import CASES
from formats.archives.test_properties import check_sdist, check_wheel


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


TARGETS: dict[str, Callable[[bytes], None]] = {
    "wheel": check_wheel,
    "tar": _tar,
    "metadata": _metadata,
    "entry-points": _entry_points,
}


def write_seeds(folder: Path, target: str) -> None:
    """Fill an empty ``folder`` with the archives of the test corpus, as far as they are small."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        return
    for case in CASES:
        if target == "wheel" and case.filename.endswith(".whl") and len(case.data) < 20_000:
            (folder / case.id).write_bytes(case.data)
        if target == "tar" and case.id.startswith("sdist-accepts") and len(case.data) < 2_000:
            (folder / case.id).write_bytes(gzip.decompress(case.data))


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
