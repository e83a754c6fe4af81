from collections.abc import Iterator
from pathlib import Path

import pytest

from log.living import LivingIndex, Machine, living


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[LivingIndex, str]]:
    with living(tmp_path / "index") as found:
        yield found


@pytest.fixture
def index(served: tuple[LivingIndex, str]) -> LivingIndex:
    return served[0]


@pytest.fixture
def machine(served: tuple[LivingIndex, str], tmp_path: Path) -> Machine:
    return Machine(served[1], served[0], tmp_path / "machine")
