from collections.abc import Iterator
from pathlib import Path

import pytest

from index.web.folder_index import FolderIndex
from index.web.running import Address, running


@pytest.fixture
def index(tmp_path: Path) -> FolderIndex:
    return FolderIndex(tmp_path / "index")


@pytest.fixture
def web(index: FolderIndex) -> Iterator[Address]:
    with running(index.services()) as address:
        yield address
