"""Old metadata goes with a grace, blobs are held against their hashes, a full disk keeps room for the timestamp."""

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from assay.index.config import IndexConfig
from assay.index.published import PublishedStore
from assay.index.upkeep.housekeeping import keep_house
from assay.index.upkeep.reserve import Reserve
from assay.index.upkeep.scrub import Pace, read_state, scrub
from assay.index.upkeep.sweep import sweep
from assay.model.errors import StorageUnavailable
from assay.trust.layout import Lifetimes, TargetPath
from index.ledger_index import LedgerIndex, build_wheel, wheel_name
from keys.live_index import Served
from support.simulator import AssayClient, StockClient

LIFE = Lifetimes()
FAST = Pace(1e12)


@pytest.fixture
def index(tmp_path: Path) -> LedgerIndex:
    return LedgerIndex(tmp_path / "index")


def path_of(project: str, version: str) -> TargetPath:
    return TargetPath(f"packages/{project}/{version}/{wheel_name(project, version)}")


def metadata_of(index: LedgerIndex) -> set[str]:
    return {path.name for path in (index.data.published / "tuf").iterdir()}


def served(index: LedgerIndex) -> Served:
    return Served(
        now=index.now, files={path.name: path.read_bytes() for path in (index.data.published / "tuf").iterdir()}
    )


def date_files(index: LedgerIndex) -> None:
    """Give what was written just now the time of the test's clock."""
    for path in index.data.published.rglob("*"):
        if path.is_file() and path.stat().st_mtime > index.now.timestamp() + 1:
            os.utime(path, (index.now.timestamp(), index.now.timestamp()))


def test_the_page_that_is_shown_stays_in_a_copy_that_lost_links_and_times(index: LedgerIndex) -> None:
    """A restored folder has two files where there was one with two names, and any order of times (found by a fault)."""
    alice = index.user("alice")
    for number in range(3):
        index.publish("demo", f"1.{number}", alice)
    folder = index.data.published / "simple" / "demo"
    shown = folder / "index.json"
    content = shown.read_bytes()
    shown.unlink()
    shown.write_bytes(content)
    for path in folder.iterdir():
        age = 2 if path.name.startswith(hashlib.sha256(content).hexdigest()) else 1
        os.utime(path, (index.now.timestamp() - age, index.now.timestamp() - age))
    index.later(days=30)
    index.sign()
    swept = sweep(PublishedStore(index.data.published), index.now, timedelta(hours=1), LIFE.snapshot)
    assert swept.files > 0
    assert index.page().file(wheel_name("demo", "1.2")) is not None


def test_nothing_goes_that_a_client_of_the_last_hour_asks_for(index: LedgerIndex, tmp_path: Path) -> None:
    """A client that read a timestamp reads the rest up to an hour later, across a sweep; stock ngclient, too."""
    alice = index.user("alice")
    date_files(index)
    for number in range(12):
        index.later(minutes=10)
        index.publish("demo", f"1.{number}", alice)
        date_files(index)
    early, root = served(index), (index.data.published / "tuf" / "1.root.json").read_bytes()
    before = metadata_of(index)
    for number in range(12, 15):
        index.later(minutes=10)
        index.publish("demo", f"1.{number}", alice)
        date_files(index)
    index.later(minutes=29)
    swept = sweep(PublishedStore(index.data.published), index.now, timedelta(hours=1), LIFE.snapshot)
    assert swept.files > 10
    left = metadata_of(index)
    slow = Served(now=index.now, files={**served(index).files, "timestamp.json": early.files["timestamp.json"]})
    want = hashlib.sha256(build_wheel("demo", "1.11")).hexdigest()
    assert AssayClient(root).look_up(slow, path_of("demo", "1.11")) == want
    assert StockClient(root, tmp_path / "ng").look_up(slow, path_of("demo", "1.11")) == want
    assert {name for name in before if "root" in name or "targets" in name or ".bins." in name} <= left
    for version in ("1.0", "1.14"):
        assert index.vouched("demo", version)
    assert index.page().file(wheel_name("demo", "1.14")) is not None
    pages = list((index.data.published / "simple" / "demo").glob("*.index.json"))
    assert 1 < len(pages) < 15


def test_a_sweep_by_housekeeping_changes_nothing_that_is_shown(index: LedgerIndex) -> None:
    alice = index.user("alice")
    for number in range(4):
        index.publish("demo", f"1.{number}", alice)
    date_files(index)
    shown = index.page()
    index.later(days=40)
    index.sign()
    keep_house(index.data, IndexConfig(), None, index.now)
    assert index.page() == shown
    index.publisher = index.new_publisher()
    index.publish("demo", "2.0", alice)
    assert index.vouched("demo", "2.0")
    with pytest.raises(ValueError, match="at least"):
        sweep(PublishedStore(index.data.published), index.now, timedelta(minutes=59), LIFE.snapshot)


def test_B10_a_scrub_finds_what_was_changed_and_goes_on_where_it_stopped(index: LedgerIndex) -> None:
    alice = index.user("alice")
    for number in range(6):
        index.publish("demo", f"1.{number}", alice)
    blobs = sorted(path for path in index.data.blobs.rglob("*") if path.is_file() and len(path.name) == 64)
    victim, page = blobs[-1], next((index.data.published / "simple" / "demo").glob("*.index.json"))
    for path in (victim, page):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b"x")
    budget = iter(range(3))
    partly = scrub(index.data, index.now, FAST, stopped=lambda: next(budget, None) is None)
    assert (partly.finished, partly.files, partly.bad) == (False, 3, [])
    whole = scrub(index.data, index.now, FAST)
    assert whole.finished
    assert {Path(name).name for name in whole.bad} == {victim.name, page.name}
    pages = list((index.data.published / "simple" / "demo").glob("*.index.json"))
    assert whole.files == len(blobs) + len(pages)
    assert read_state(index.data) == whole


def test_a_scrub_reads_no_faster_than_it_may(index: LedgerIndex) -> None:
    index.publish("demo", "1.0", index.user("alice"))
    slept: list[float] = []
    done = scrub(index.data, index.now, Pace(1000.0, clock=lambda: 0.0, sleep=slept.append))
    assert max(slept) == pytest.approx(done.size / 1000.0, rel=0.01)


def test_the_reserve_is_given_up_for_what_is_due_and_taken_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1_000_000)
    assert reserve.ensure()
    assert reserve.path.stat().st_blocks * 512 >= 1_000_000
    tries: list[bool] = []

    def work() -> str:
        tries.append(reserve.path.exists())
        if reserve.path.exists():
            raise StorageUnavailable("no space left on device")
        return "published"

    assert reserve.with_room(work) == "published"
    assert tries == [True, False]
    assert reserve.ensure()
    reserve.give_up()
    with pytest.raises(StorageUnavailable):
        reserve.with_room(lambda: (_ for _ in ()).throw(StorageUnavailable("full")))
