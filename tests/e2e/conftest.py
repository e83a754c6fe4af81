import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.house import House, running_house
from e2e.installers import INSTALLERS, Installer
from e2e.tools import FOLDER, ROOT
from e2e.upstream import Upstream, running_upstream


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, too, unlike pytest's: so web runs as another user where we are root."""
    folder = Path(tempfile.mkdtemp(prefix="assay-e2e-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def house(upstream: Upstream) -> Iterator[House]:
    """One index for all tests of a module, pulling through from ``upstream``; each test has projects of its own."""
    settings = {"PIP_INDEX_URL": upstream.simple_url, "UV_DEFAULT_INDEX": upstream.simple_url}
    config = '[upstream]\nmax_age_s = 0\n\n[names]\nprivate = ["inhouse-*"]\n'
    with (
        open_folder() as path,
        running_house(path, "--upstream", upstream.simple_url, config=config, settings=settings) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def programs_folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture(scope="session")
def _installers() -> None:
    """The environments with every installer, made once and kept (``make installers``)."""
    with (ROOT / ".installers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["sh", str(ROOT / "scripts" / "make-installers"), str(FOLDER)], check=True, cwd=ROOT)


@pytest.fixture(params=INSTALLERS)
def installer(request: pytest.FixtureRequest, programs_folder: Path) -> Installer:
    """pip 23.2.1, the newest pip, the pip of this environment, uv."""
    found: Installer = request.param
    return found.ready(programs_folder)
