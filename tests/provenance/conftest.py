"""Fixtures: one gpg home and one folder of sq keys for the whole run, since making keys costs time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provenance.openpgp_makers import Gpg, Sq, gpg_home


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    with gpg_home() as made:
        yield made


@pytest.fixture(scope="session")
def sq(tmp_path_factory: pytest.TempPathFactory) -> Sq:
    return Sq(Path(tmp_path_factory.mktemp("sq")))
