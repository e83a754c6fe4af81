"""A full disk: 507, nothing half, what was published stays, and uploads go on once there is room again."""

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY
from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import House, running_house

pytestmark = pytest.mark.e2e

DISK_BYTES = 96_000_000
LIMIT_BYTES = 4_000_000
BIG = build_wheel("kept", "2.0", files={"big.bin": os.urandom(LIMIT_BYTES + 1_000_000)})
NAME = "kept-2.0-py3-none-any.whl"


def full_disk(house: House) -> Callable[[], None]:
    """Use up the index's own small file system; returns what makes room again."""
    ballast = house.folder / "ballast"
    status = os.statvfs(house.folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - 1_000_000)
    return ballast.unlink


def limited_files(house: House) -> Callable[[], None]:
    """The system lets web write no file as large as the upload; returns what lifts that."""
    web = house.index.child_pid("web")
    before = resource.prlimit(web, resource.RLIMIT_FSIZE)
    resource.prlimit(web, resource.RLIMIT_FSIZE, (LIMIT_BYTES, before[1]))
    return lambda: resource.prlimit(web, resource.RLIMIT_FSIZE, before) and None


MAY_MOUNT = os.geteuid() == 0
LIMITED = pytest.param(limited_files, BIG, id="file-limit")
FULL = pytest.param(full_disk, build_wheel("kept", "2.0"), id="no-space")
FAULTS = [LIMITED, FULL] if MAY_MOUNT else [LIMITED]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder; where we may mount one, a small file system of its own."""
    with open_folder() as folder:
        if not MAY_MOUNT:
            yield folder
            return
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "tmpfs", str(folder)]
        subprocess.run(mount, check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(("fault", "wheel"), FAULTS)
def test_507_and_nothing_is_lost(small_disk: Path, fault: Callable[[House], Callable[[], None]], wheel: bytes) -> None:
    with running_house(small_disk) as house:
        house.publish(("kept", "1.0"))
        before = house.page("kept")
        make_room = fault(house)
        answer = house.upload(NAME, wheel)
        assert answer.status == 507
        assert house.page("kept") == before
        make_room()
        assert house.upload(NAME, wheel).status == 200
    with running_house(small_disk) as house:
        page = house.page("kept")
        assert page is not None
        assert page["versions"] == ["1.0", "2.0"]


@pytest.mark.timeout(600)
@pytest.mark.skipif(not MAY_MOUNT, reason="only root may mount a small file system")
def test_a_full_disk_keeps_room_for_the_timestamp(small_disk: Path) -> None:
    """Not one byte is free, and clients still find a timestamp that is signed again and again."""
    with running_house(small_disk, config="[trust]\ntimestamp_hours = 0.006\n") as house:
        house.publish(("kept", "1.0"))
        reserve = house.index.data / "run" / "reserve"
        assert reserve.stat().st_blocks * 512 >= 8_000_000
        ballast = house.folder / "ballast"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(65_536))
                    file.flush()
            except OSError:
                pass
        before, deadline = timestamp_version(house), time.monotonic() + 180
        while timestamp_version(house) < before + 2:
            assert time.monotonic() < deadline, house.index.log.read_text()[-2000:]
            time.sleep(0.2)
        assert not reserve.exists(), "the room was given up"
        user = house.user()
        assert user.run(*ASSAY, "explain", "kept").code == 0
        ballast.unlink()
        deadline = time.monotonic() + 60
        while not reserve.exists():
            assert time.monotonic() < deadline, "the room is not taken again"
            time.sleep(0.2)


def timestamp_version(house: House) -> int:
    version: int = json.loads((house.index.data / "published" / "tuf" / "timestamp.json").read_bytes())["signed"][
        "version"
    ]
    return version
