"""Bundles: verified on a machine without a network as online; refused when altered, old or rolled back."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Done, Environment, Person
from assay.client.bundle.opening import opened_bundle, read_bundle
from assay.client.registry import TrustedEntry
from assay.client.store import MetadataStore
from assay.model.digests import Sha256
from assay.model.errors import NotFresh
from assay.model.names import parse_project_name
from assay.trust.layout import ROOT
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import PROGRAMS, House, running_house
from e2e.installers import modules

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Path, Path]]:
    """An index that is gone, and two bundles of it: the second one made after another upload."""
    bundles = tmp_path_factory.mktemp("bundles")
    with open_folder() as folder:
        with running_house(folder) as house:
            house.publish(("dep", "1.0"))
            assert house.upload("demo-1.0-py3-none-any.whl", build_wheel("demo", "1.0", requires=["dep"])).status == 200
            simple = house.index.simple_url
            user = house.user(PIP_INDEX_URL=simple, UV_DEFAULT_INDEX=simple)
            (user.folder / "requirements.in").write_text("demo\n")
            done = user.run(*ASSAY, "lock", "pin", "requirements.in")
            assert done.code == 0, done.said
            for name in ("first", "second"):
                done = user.run(*ASSAY, "bundle", "create", "requirements.txt", "-o", str(bundles / name), "--json")
                assert done.code == 0, done.said
                result = json.loads(done.said.splitlines()[-1])
                assert result["files"] == ["demo-1.0-py3-none-any.whl", "dep-1.0-py3-none-any.whl"]
                house.publish(("later", "1.0"), ("later", "2.0"))
            again = user.run(*ASSAY, "bundle", "create", "requirements.txt", "-o", str(bundles / "first"))
            assert again.code == 2
        yield house, bundles / "first", bundles / "second"


def stranger(house: House) -> Person:
    """Somebody without a network: nothing answers at the index any more."""
    simple = house.index.simple_url
    return house.stranger(PIP_INDEX_URL=simple, UV_DEFAULT_INDEX=simple, UV_OFFLINE="0")


def install(person: Person, house: House, bundle: Path, *options: str, name: str = "venv") -> tuple[Done, set[str]]:
    environment = Environment.make(PROGRAMS, person, name)
    command = [*PROGRAMS.uv, "pip", "install", "--python", environment.python, "--require-hashes"]
    command += ["-r", str(bundle / "requirements.txt")]
    trust = ("--fingerprint", house.index.fingerprint)
    done = person.run(*ASSAY, "bundle", "install", str(bundle), *trust, *options, "--", *command)
    return done, modules(environment.installed())


def test_a_bundle_installs_where_the_index_is_out_of_reach(carried: tuple[House, Path, Path]) -> None:
    house, first, _ = carried
    done, installed = install(stranger(house), house, first)
    assert (done.code, installed) == (0, {"demo", "dep"}), done.said


def test_without_a_root_that_somebody_told_nothing_is_trusted(carried: tuple[House, Path, Path]) -> None:
    house, first, _ = carried
    person = stranger(house)
    done = person.run(*ASSAY, "bundle", "install", str(first), "--", "true")
    assert done.code == 14, done.said
    wrong = person.run(*ASSAY, "bundle", "install", str(first), "--fingerprint", f"sha256:{'0' * 64}", "--", "true")
    assert wrong.code == 10, wrong.said
    assert "root-fingerprint" in wrong.said


@pytest.mark.parametrize("altered", ["packages/demo", "tuf/timestamp.json", "simple/demo/index.json"])
def test_A1_an_altered_bundle_installs_nothing(carried: tuple[House, Path, Path], tmp_path: Path, altered: str) -> None:
    house, first, _ = carried
    bundle = tmp_path / "bundle"
    shutil.copytree(first, bundle)
    path = bundle / altered
    if path.is_dir():
        path = next(each for each in path.rglob("*demo-1.0-py3-none-any.whl") if each.is_file())
    data = path.read_bytes()
    path.write_bytes(data[:-10] + bytes(10))
    done, installed = install(stranger(house), house, bundle)
    assert installed == set()
    assert done.code in (10, 11), done.said


def test_A2_an_older_bundle_than_the_machine_has_seen_is_refused(carried: tuple[House, Path, Path]) -> None:
    house, first, second = carried
    person = stranger(house)
    done, installed = install(person, house, second)
    assert (done.code, installed) == (0, {"demo", "dep"}), done.said
    done, installed = install(person, house, first, name="after")
    assert installed == set()
    assert done.code in (10, 11), done.said
    assert "rollback" in done.said


def test_A3_a_bundle_is_good_for_a_while_after_its_timestamp_and_then_refused(
    carried: tuple[House, Path, Path], tmp_path: Path
) -> None:
    _, first, _ = carried
    bundle, now = read_bundle(first), datetime.now(UTC)
    entry = TrustedEntry(bundle.url, Sha256("0" * 64), now, tmp_path)
    entry.store.write(ROOT, (first / "tuf" / "1.root.json").read_bytes())

    async def look(days: int) -> bool:
        later = now + timedelta(days=days)
        async with opened_bundle(bundle, entry, timedelta(days=30), later, print) as index:
            return await index.page(parse_project_name("demo")) is not None

    assert asyncio.run(look(0))
    assert asyncio.run(look(20))
    with pytest.raises(NotFresh) as refused:
        asyncio.run(look(40))
    assert refused.value.rule == "bundle-age"
    assert isinstance(entry.store, MetadataStore)
