"""Each fuzzer for a moment: it starts, its seeds pass, and a few thousand mutations raise nothing but refusals."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fuzz.fuzz_uploads import TARGETS

ROOT = Path(__file__).resolve().parents[2]
RUNS = 1_500
WITHOUT_INSTRUMENTS = """
import atheris, sys
from fuzz.fuzz_uploads import TARGETS
atheris.Setup(sys.argv[:1] + sys.argv[2:], TARGETS[sys.argv[1]])
atheris.Fuzz()
"""


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this platform")
@pytest.mark.parametrize("target", TARGETS)
def test_a_moment_of_fuzzing(target: str, tmp_path: Path) -> None:
    from fuzz.fuzz_uploads import write_seeds

    write_seeds(tmp_path / "seeds", target)
    environ = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", WITHOUT_INSTRUMENTS, target, str(tmp_path / "seeds"), f"-runs={RUNS}", "-seed=1"]
    done = subprocess.run(
        [*command, "-max_len=20000", f"-artifact_prefix={tmp_path}/"],
        check=False,
        capture_output=True,
        text=True,
        env=environ,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
