"""``assay run`` on a machine that trusts no index: a local one of the user's own, shared, and gone when nobody asks."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, Person
from assay.client.local_index import folder_of
from client.small_distributions import build_wheel
from e2e.installers import PIP, UV, Installer, modules
from e2e.upstream import Upstream

pytestmark = pytest.mark.e2e

WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def user(folder: Path, upstream: Upstream) -> Iterator[Person]:
    """Somebody whose pip and uv are configured for ``upstream`` and who never heard of Assay's indexes."""
    upstream.files.clear()
    upstream.add("demo", WHEEL, build_wheel("demo", "1.0", requires=["dep"]))
    upstream.add("dep", "dep-1.0-py3-none-any.whl", build_wheel("dep", "1.0"))
    person = Person(
        folder / "user", folder, {"PIP_INDEX_URL": upstream.simple_url, "UV_DEFAULT_INDEX": upstream.simple_url}
    )
    yield person
    for pid in supervisors_of(person):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while supervisors_of(person) and time.monotonic() < deadline:
        time.sleep(0.05)


def supervisors_of(person: Person) -> list[int]:
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True).stdout
    mine = [line for line in listing.splitlines() if str(person.folder) in line and "assay serve" in line]
    return [int(line.split()[0]) for line in mine]


@pytest.mark.parametrize("installer", [PIP, UV], ids=["pip", "uv"])
def test_it_just_works_and_says_what_it_protects(user: Person, installer: Installer) -> None:
    done, installed = installer.install(user, "demo")
    assert (done.code, modules(installed)) == (0, {"demo", "dep"}), done.said
    assert "your own local index" in done.said
    assert "its keys are on this machine" in done.said


def test_two_commands_at_the_same_time_share_one_index_that_will_end_by_itself(user: Person) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(PIP.install, user, "demo", name="one")
        second = pool.submit(UV.install, user, "demo", name="two")
        outcomes = [first.result(), second.result()]
    for done, installed in outcomes:
        assert (done.code, modules(installed)) == (0, {"demo", "dep"}), done.said
    (pid,) = supervisors_of(user)
    assert b"--idle-exit" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_it_remembers_what_it_saw_first(user: Person, upstream: Upstream) -> None:
    assert UV.install(user, "demo")[0].code == 0
    for pid in supervisors_of(user):
        os.kill(pid, signal.SIGKILL)
    upstream.add("demo", WHEEL, build_wheel("demo", "1.0", files={"evil.py": b""}))
    done, installed = PIP.install(user, "demo", name="again")
    assert (done.code, modules(installed)) == (0, {"demo", "dep"}), done.said
    assert "evil.py" not in installed


def test_without_an_upstream_nothing_is_installed(user: Person) -> None:
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple/", "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple/"}
    lost = Person(user.folder, user.home, nowhere)
    done, installed = UV.install(lost, "demo")
    assert (done.code, installed) == (13, [])
    assert "127.0.0.1:9" in done.said


def test_what_keeps_it_from_starting_is_told(user: Person, upstream: Upstream) -> None:
    folder = user.folder / "data" / "assay" / "local" / folder_of(upstream.simple_url).name / "data"
    folder.mkdir(parents=True)
    (folder / "holiday.jpg").write_bytes(b"no index")
    done = user.run(*ASSAY, "run", "--", "touch", "started")
    assert done.code == 1, done.said
    for words in ("the local index did not start", "local-index", "not-an-index"):
        assert words in done.said
    assert not (user.folder / "started").exists()
