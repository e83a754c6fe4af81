"""kill -9 of web and signer at random moments of uploads: nothing acknowledged is lost, nothing is half published.

The seed of each campaign is printed and can be given again: ``ASSAY_SEED=... pytest tests/e2e/test_crashes.py``.
"""

import os
from pathlib import Path
from random import Random, SystemRandom
from urllib.parse import urlsplit

import pytest

from assay.cli.demo.outcomes import ng_updater
from assay.cli.demo.programs import ASSAY
from e2e.campaign import ALL, Memory, Publisher, fire, leftovers, target_of
from e2e.house import House, running_house
from e2e.installers import PIP, UV, modules

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CONFIG = "[trust]\nbin_bits = 3\n"


@pytest.fixture
def random() -> Random:
    seed = int(os.environ.get("ASSAY_SEED") or SystemRandom().randrange(10**9))
    print(f"seed {seed}")
    return Random(seed)


def account(house: House, memory: Memory, publishers: list[Publisher]) -> None:
    """Acknowledged uploads are there, others are there whole or not at all and can be sent again."""
    targets = memory.look(house)
    for publisher in publishers:
        assert publisher.refused == {}
        assert {target_of(name) for name in publisher.acknowledged} <= targets.keys()
        unacknowledged = publisher.wheels.keys() - publisher.acknowledged
        for filename in sorted(unacknowledged):
            assert publisher.send(filename), filename
        assert {target_of(name) for name in publisher.wheels} <= memory.look(house).keys()


def verified_by_clients(house: House, publishers: list[Publisher], folder: Path) -> None:
    """Stock ngclient and Assay's own core verify every file."""
    updater = ng_updater(house.index, folder / "ng", folder)
    updater.refresh()
    user, downloads = house.user(), folder / "downloads"
    downloads.mkdir()
    for publisher in publishers:
        for filename, data in publisher.wheels.items():
            info = updater.get_targetinfo(target_of(filename))
            assert info is not None
            info.verify_length_and_hashes(data)
            (downloads / filename).write_bytes(data)
    done = user.run(*ASSAY, "verify", *map(str, downloads.iterdir()))
    assert done.code == 0, done.said


@pytest.mark.parametrize("victims", [("web",) * 5, ("signer",) * 6, ("signer", "web", "signer")], ids="-".join)
def test_uploads_survive_kills(folder: Path, tmp_path: Path, random: Random, victims: tuple[str, ...]) -> None:
    with running_house(folder, config=CONFIG) as house:
        publishers = [Publisher(house, name) for name in ("a", "b")]
        memory = Memory()
        memory.look(house)
        fire(house, publishers, list(victims), random)
        assert any(publisher.acknowledged for publisher in publishers)
        account(house, memory, publishers)
        verified_by_clients(house, publishers, tmp_path)


def test_the_whole_index_is_killed_and_started_again(folder: Path, tmp_path: Path, random: Random) -> None:
    memory, publishers, options, token = Memory(), list[Publisher](), list[str](), ""
    for number in range(3):
        with running_house(folder, *options, config=CONFIG, token=token) as house:
            options, token = ["--port", str(urlsplit(house.index.url).port)], house.token
            assert leftovers(house.index.data) == []
            for publisher in publishers:
                publisher.house = house
            account(house, memory, publishers)
            publishers.append(Publisher(house, f"r{number}"))
            fire(house, publishers[-1:], [ALL], random)
    with running_house(folder, *options, config=CONFIG, token=token) as house:
        for publisher in publishers:
            publisher.house = house
        account(house, memory, publishers)
        verified_by_clients(house, publishers, tmp_path)
        project = next(iter(publishers[0].acknowledged)).split("-")[0]
        for installer in (PIP, UV):
            done, installed = installer.install(house.user(), project)
            assert (done.code, modules(installed)) == (0, {project}), done.said
