"""Fixtures: gpg and sq with homes of their own, an index in one process with its web, and a running one with people."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import open_folder
from e2e.house import House, running_house
from provenance.openpgp_makers import Gpg, Sq, gpg_home
from provenance_wiring.signing_index import Client, SigningIndex


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    with gpg_home() as made:
        yield made


@pytest.fixture(scope="session")
def sq(tmp_path_factory: pytest.TempPathFactory) -> Sq:
    return Sq(Path(tmp_path_factory.mktemp("sq")))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One index for all tests of a module; each test has projects of its own."""
    with open_folder() as path, running_house(path) as running:
        yield running


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SigningIndex]:
    made = SigningIndex(tmp_path / "index")
    yield made
    made.ledger.close()


@pytest.fixture
def client(index: SigningIndex, tmp_path: Path) -> Iterator[Client]:
    with index.served() as web:
        yield Client(index, web, tmp_path / "client")


@pytest.fixture
def newcomer(client: Client, tmp_path: Path) -> Client:
    """A second machine, which has never asked anything."""
    return Client(client.index, client.web, tmp_path / "newcomer")
