"""B14, B15 and B20: the attacker has the client's clock, the way to the index, or an installer's earlier cache."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Environment, Person, require
from assay.client.registry import Registry
from assay.client.run import RunSetting, run_verified
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.index.config import DataFolder
from assay.model.errors import AssayError
from assay.model.outcomes import exit_code_of
from attacks.conftest import Cell
from client.small_distributions import build_wheel
from e2e.house import PROGRAMS, House, running_house
from e2e.installers import UV, modules

pytestmark = pytest.mark.e2e

GOOD = build_wheel("demo", "1.0")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        assert running.upload("demo-1.0-py3-none-any.whl", GOOD).status == 200
        yield running


def run_at(person: Person, now: datetime) -> AssayError | Path | None:
    """``assay run -- touch started`` on a machine whose clock says ``now``: what it made, or the refusal."""
    (entry,) = Registry(person.folder / "data" / "assay" / "indexes").entries()
    started = person.folder / "started"
    started.unlink(missing_ok=True)

    async def run() -> None:
        async with Fetcher() as fetcher:
            index = TrustedIndex(entry.url, entry.store, person.folder / "files", fetcher, lambda: now)
            setting = RunSetting(index, (), entry.fingerprint, person.folder, person.environ(), clock=lambda: now)
            await run_verified(["touch", str(started)], setting)

    try:
        asyncio.run(run())
    except AssayError as error:
        assert not started.exists()
        return error
    return started if started.exists() else None


@pytest.mark.parametrize(
    ("wrong_by", "rule"), [(timedelta(days=-30), "clock"), (timedelta(days=2), "expired")], ids=["back", "ahead"]
)
def test_B14_a_wrong_clock_runs_nothing_and_says_so(house: House, wrong_by: timedelta, rule: str, cell: Cell) -> None:
    user, now = house.user(), datetime.now(UTC)
    assert isinstance(run_at(user, now), Path)
    refused = run_at(user, now + wrong_by)
    assert isinstance(refused, AssayError)
    assert (refused.rule, exit_code_of(refused)) == (rule, 11)
    assert isinstance(run_at(user, datetime.now(UTC)), Path), "the clock is right again: nothing is remembered of it"
    cell("B14", "signed", "refused")


@contextmanager
def withheld(house: House, pattern: str) -> Iterator[None]:
    """The CDN has none of the metadata that matches."""
    folder = DataFolder(house.index.data).published / "tuf"
    hidden = [(path, path.with_name(f".withheld-{path.name}")) for path in folder.glob(pattern)]
    assert hidden
    for path, away in hidden:
        path.rename(away)
    try:
        yield
    finally:
        for path, away in hidden:
            away.rename(path)


@pytest.mark.parametrize(
    ("client", "pattern"),
    [
        ("new", "timestamp.json"),
        ("returning", "timestamp.json"),
        ("new", "*.snapshot.json"),
        ("returning", "*.bin-*.json"),
    ],
)
def test_B15_without_metadata_nothing_is_installed(house: House, client: str, pattern: str, cell: Cell) -> None:
    user = house.user()
    if client == "returning":
        require(user.run(*ASSAY, "run", "--", "true"), "assay run")
    number = len(list(DataFolder(house.index.data).published.glob("tuf/*.snapshot.json")))
    house.publish((f"later{number}", "1.0"))
    with withheld(house, pattern):
        done, installed = UV.install(user, f"later{number}")
    assert done.code in (10, 11, 13), done.said
    assert installed == []
    assert "rule" in done.said
    done, installed = UV.install(user, f"later{number}", name="afterwards")
    assert (done.code, modules(installed)) == (0, {f"later{number}"}), done.said
    cell("B15", "signed", "refused")


def poison(folder: Path) -> int:
    """Change what uv keeps of ``demo``, unpacked."""
    changed = 0
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        if b"VERSION = '1.0'" in data:
            path.chmod(0o644)
            path.write_bytes(data.replace(b"VERSION = '1.0'", b"VERSION = 'bad'"))
            changed += 1
    return changed


def test_B20_an_earlier_cache_is_not_believed(house: House, cell: Cell) -> None:
    user = house.user()
    cache = user.folder / "own-cache"
    user = Person(user.folder, user.home, {**user.settings, "UV_CACHE_DIR": str(cache)})

    def install(name: str, *before: str) -> str:
        environment = Environment.make(PROGRAMS, user, name)
        options = () if before else ("--index-url", house.index.simple_url)
        done = user.run(*before, *UV.command(environment, *options, "demo"))
        module = next(environment.folder.glob("lib/python*/site-packages/demo.py"), None)
        if done.code or module is None:
            return "refused"
        return "replaced" if "bad" in module.read_text() else "held"

    assert install("first") == "held"
    assert poison(cache)
    assert install("plain") == "replaced", "plain uv installs from its cache without asking anybody"
    outcome = install("verified", *ASSAY, "run", "--")
    cell("B20", "signed", outcome)
    assert outcome == "held"
