"""One world to copy from and one nursery for all campaigns of a test process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.campaign import Campaign
from faults.host import make_world, running_upstream
from faults.nursery import Nursery


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    folder = Path(tmp_path_factory.mktemp("faults"))
    with running_upstream() as upstream, Nursery() as nursery:
        yield Campaign(make_world(folder / "world", upstream), nursery, folder)
