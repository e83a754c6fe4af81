"""A2 with a floor: a new client that starts from a bundle knows what it must not go below.

The thief has the online keys and signs an old state afresh, so that no expiry gives him away.
"""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Snapshot, Timestamp

from assay.client.registry import Bundle, Registry
from assay.model.errors import CallerError
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import ROOT, SNAPSHOT, TIMESTAMP, metadata_filename
from attacks.conftest import Cell
from attacks.test_metadata import GOOD, WHEEL, WORLDS
from attacks.test_two_views import rotate
from log.conftest import index, served
from log.living import LivingIndex
from support.simulator import LIFETIMES, SIGNERS, WITNESS, AssayClient, Simulator, StockClient, target, verdict

__all__ = ["index", "served"]

Floor = dict[str, bytes]


def floor_of(index: Simulator) -> Floor:
    """What ``assay trust export`` writes."""
    root, snapshot = index.roles[ROOT], index.roles[SNAPSHOT]
    return {
        ROOT: index.files[metadata_filename(ROOT, root.version)],
        TIMESTAMP: index.files["timestamp.json"],
        SNAPSHOT: index.files[metadata_filename(SNAPSHOT, snapshot.version)],
    }


def starting_from(floor: Floor, folder: Path) -> list[AssayClient | StockClient]:
    """A new client of either kind that starts from ``floor``."""
    folder.mkdir()
    for role, data in floor.items():
        (folder / f"{role}.json").write_bytes(data)
    return [AssayClient(floor[ROOT], dict(floor)), StockClient(floor[ROOT], folder)]


def signed_afresh(index: Simulator, old: Floor) -> None:
    """The thief shows the snapshot of ``old`` again, under a timestamp of today and the highest version."""
    snapshot = parse_envelope(old[SNAPSHOT], Snapshot, SNAPSHOT).signed
    stamp = parse_envelope(old[TIMESTAMP], Timestamp, TIMESTAMP).signed
    snapshot.expires = stamp.expires = index.now + LIFETIMES.timestamp
    data = sign_envelope(snapshot, [SIGNERS[SNAPSHOT], WITNESS])
    stamp.version += 1000
    stamp.snapshot_meta.length, stamp.snapshot_meta.hashes = len(data), None
    index.files[metadata_filename(SNAPSHOT, snapshot.version)] = data
    index.files["timestamp.json"] = sign_envelope(stamp, [SIGNERS[TIMESTAMP], WITNESS])


@pytest.mark.parametrize("column", WORLDS)
@pytest.mark.parametrize("age", [timedelta(0), timedelta(days=3)], ids=["fresh", "expired"])
def test_A2_who_starts_from_a_floor_is_not_rolled_back(column: str, age: timedelta, tmp_path: Path, cell: Cell) -> None:
    """Even a floor that has expired, even though the witness helps the thief."""
    index = WORLDS[column]()
    old = floor_of(index)
    index.publish(target("packages/later/1.0/later-1.0.tar.gz", b"later"))
    floor = floor_of(index)
    index.now += age
    signed_afresh(index, old)
    assert {verdict(client, index, WHEEL) for client in starting_from(floor, tmp_path / "floor")} == {"refused"}
    root = {ROOT: index.root_bytes()}
    assert verdict(AssayClient(root[ROOT]), index, WHEEL) == GOOD, "without a floor the old state looks well"
    cell("A2", column, "refused from a floor")


def test_a_floor_is_issued_again_after_a_rotation(tmp_path: Path) -> None:
    """New online keys erase what a client remembers of the old ones (that is how it recovers from a fast-forward)."""
    keys = dict(SIGNERS)
    try:
        index = WORLDS["signed"]()
        index.publish(target("packages/a/1.0/a-1.0.tar.gz", b"a"))
        before = floor_of(index)
        rotate(index)
        early = floor_of(index)
        index.publish(target("packages/b/1.0/b-1.0.tar.gz", b"b"))
        again = floor_of(index)
        signed_afresh(index, early)
        outdated, reissued = (starting_from(floor, tmp_path / name) for name, floor in (("x", before), ("y", again)))
        assert {verdict(client, index, WHEEL) for client in outdated} == {GOOD}
        assert {verdict(client, index, WHEEL) for client in reissued} == {"refused"}
    finally:
        SIGNERS.update(keys)


# --- the command, beside a lock file --------------------------------------------------------------------------


def assay(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``assay trust ...`` on a machine of its own."""
    environ = os.environ | {"XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-m", "assay", "trust", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environ)


def test_a_floor_beside_a_lock_file(served: tuple[LivingIndex, str], tmp_path: Path) -> None:
    living, url = served
    living.now = datetime.now(UTC)
    living.publish()
    old = tmp_path / "old"
    shutil.copytree(living.data.published, old)
    ana, runner, cached = (tmp_path / name for name in ("ana", "runner", "cached"))
    for home in (ana, cached):
        assert assay(home, "add", url, "--fingerprint", f"sha256:{living.fingerprint}").returncode == 0
    living.upload(("demo", "1.0"))
    living.publish()
    floor = tmp_path / "project" / "assay-floor.json"
    floor.parent.mkdir()
    assert assay(ana, "export", str(floor)).returncode == 0
    assert set(json.loads(floor.read_bytes())) == {"assay-trust-bundle", "url", "root", "timestamp", "snapshot"}

    new = tmp_path / "new"
    living.data.published.rename(new)
    old.rename(living.data.published)
    for home in (runner, cached):
        done = assay(home, "add", url, "--bundle", str(floor))
        assert (done.returncode, "rollback" in done.stderr) == (11, True), done.stderr
    living.data.published.rename(old)
    new.rename(living.data.published)
    for home in (runner, cached):
        assert assay(home, "add", url, "--bundle", str(floor)).returncode == 0
    assert "the floor is known" in assay(cached, "add", url, "--bundle", str(floor)).stdout


def test_a_floor_of_another_root_is_not_taken(served: tuple[LivingIndex, str], tmp_path: Path) -> None:
    living, url = served
    living.publish()
    entry = Registry(tmp_path).add(Bundle(url, living.root()), living.now)
    stranger = Simulator()
    with pytest.raises(CallerError) as refused:
        Registry(tmp_path).raise_floor(entry, Bundle(url, stranger.root_bytes()))
    assert refused.value.rule == "floor-outdated"
