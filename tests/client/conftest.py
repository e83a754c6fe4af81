from pathlib import Path

import pytest

from client.proxied import Bench, small_source


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A user's machine with a small source."""
    return Bench(tmp_path, small_source(tmp_path / "files"))
