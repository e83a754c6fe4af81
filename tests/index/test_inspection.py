"""The process that reads archives: what it may do, what it survives, and what the uploader is told when it does not."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from assay.formats.inspect import InspectionLimits
from assay.index import confine, seccomp
from assay.index.inspection.workers import InspectionWorkers, WorkerLimits
from assay.model.errors import CallerError, InvalidDistribution
from client.small_distributions import build_wheel
from formats.archives.case import Case
from formats.archives.corpus import ACCEPTED, REFUSED

NAME = "demo-1.0-py3-none-any.whl"
SMALL = build_wheel("demo", "1.0")
ZEROS = {f"zeros{number}.bin": bytes(30_000_000) for number in range(2)}
MANY = {f"{number}": b"" for number in range(20_000)}


@pytest.fixture(scope="module")
def workers() -> Iterator[InspectionWorkers]:
    made = InspectionWorkers(InspectionLimits(), WorkerLimits())
    yield made
    made.close()


def written(folder: Path, data: bytes) -> Path:
    path = folder / "upload"
    path.write_bytes(data)
    return path


def refusal(workers: InspectionWorkers, path: Path, name: str = NAME) -> CallerError:
    with pytest.raises(CallerError) as refused:
        workers.inspect(path, name, "alice")
    return refused.value


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def small(cases: list[Case]) -> list[Case]:
    """Those whose limits are the usual ones, a few of each kind."""
    return [case for case in cases if case.limits == InspectionLimits()][::12]


@pytest.mark.parametrize("case", small(ACCEPTED), ids=lambda case: case.id)
def test_the_facts_come_back(case: Case, workers: InspectionWorkers, tmp_path: Path) -> None:
    found = workers.inspect(written(tmp_path, case.data), case.filename, "alice")
    assert found.distribution.filename == case.filename
    assert found.metadata.version == found.distribution.version


@pytest.mark.parametrize("case", small(REFUSED), ids=lambda case: case.id)
def test_the_refusal_comes_back_whole(case: Case, workers: InspectionWorkers, tmp_path: Path) -> None:
    refused = refusal(workers, written(tmp_path, case.data), case.filename)
    assert refused.rule == case.rule
    assert case.names in str(refused)


def test_many_ask_at_once(workers: InspectionWorkers, tmp_path: Path) -> None:
    path, found = written(tmp_path, SMALL), list[str]()
    threads = [
        threading.Thread(target=lambda: found.append(workers.inspect(path, NAME, "alice").metadata.name))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["demo"] * 12


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_reader_that_is_killed_refuses_the_upload_and_the_next_is_read(
    workers: InspectionWorkers, tmp_path: Path, number: signal.Signals
) -> None:
    workers.inspect(written(tmp_path, SMALL), NAME, "alice")
    assert workers.pid is not None
    while children(workers.pid):
        time.sleep(0.01)

    def kill_the_reader(pid: int) -> None:
        while not (found := children(pid)):
            time.sleep(0.001)
        os.kill(found[0], number)

    killer = threading.Thread(target=kill_the_reader, args=[workers.pid])
    killer.start()
    refused = refusal(workers, written(tmp_path, build_wheel("demo", "1.0", files=ZEROS)))
    killer.join()
    assert refused.rule == "inspection-crashed"
    assert NAME in str(refused)
    assert refused.next_step is not None
    assert workers.inspect(written(tmp_path, SMALL), NAME, "alice").metadata.name == "demo"


def test_the_waiting_process_is_started_again(workers: InspectionWorkers, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    workers.inspect(path, NAME, "alice")
    before = workers.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    while Path(f"/proc/{before}/stat").read_text().split()[2] != "Z":
        time.sleep(0.01)
    assert workers.inspect(path, NAME, "alice").metadata.name == "demo"
    assert workers.pid != before


@pytest.mark.parametrize(
    ("limits", "files", "rule", "said"),
    [
        (WorkerLimits(seconds=0.02), ZEROS, "inspection-time", "at most 0.02 s"),
        (WorkerLimits(memory_bytes=60_000_000), MANY, "inspection-memory", "at most 60000000 bytes"),
    ],
    ids=["time", "memory"],
)
def test_time_and_memory_are_bounded(
    limits: WorkerLimits, files: Mapping[str, bytes], rule: str, said: str, tmp_path: Path
) -> None:
    narrow = InspectionWorkers(InspectionLimits(), limits)
    try:
        refused = refusal(narrow, written(tmp_path, build_wheel("demo", "1.0", files=files)))
        assert refused.rule == rule
        assert said in str(refused)
    finally:
        narrow.close()


def test_a_description_that_does_not_render_is_refused_in_the_reader(
    workers: InspectionWorkers, tmp_path: Path
) -> None:
    broken = "Description-Content-Type: text/x-rst\n\n`broken\n====\n.. nothing::\n"
    data = build_wheel("demo", "1.0", more_metadata=broken)
    refused = refusal(workers, written(tmp_path, data))
    assert isinstance(refused, InvalidDistribution)
    assert refused.rule == "metadata-description"


def test_what_lies_in_the_working_folder_is_neither_loaded_nor_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('loaded')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = InspectionWorkers(InspectionLimits(), WorkerLimits())
    try:
        assert made.inspect(written(tmp_path, SMALL), NAME, "alice").metadata.name == "demo"
    finally:
        made.close()


IN_A_CHILD = """
import os, resource, signal, sys
from assay.index import seccomp
from assay.index.inspection.worker import _NOT_IN_A_CHILD
seccomp.forbid(_NOT_IN_A_CHILD)
parent = os.getppid()
attempts = {
    "fork": os.fork,
    "kill": lambda: os.kill(parent, signal.SIGTERM),
    "pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(parent), signal.SIGTERM),
    "limits": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (1, 1)),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
    "processors": lambda: os.sched_setaffinity(parent, {0}),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError:
        print(name, "denied")
    else:
        print(name, "allowed")
"""


@pytest.mark.skipif(not seccomp.is_available(), reason="this kernel has no seccomp")
def test_who_reads_an_archive_reaches_no_other_process() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_CHILD], capture_output=True, text=True, check=True, timeout=60)
    assert [line for line in done.stdout.splitlines() if not line.endswith("denied")] == []
    assert len(done.stdout.splitlines()) == 6


FORBIDDEN = """
import ctypes, os, socket, subprocess, sys
from assay.index.inspection.worker import confine_reader, warm_up
warm_up(); confine_reader()
libc = ctypes.CDLL(None, use_errno=True)
def kernel(call, *values):
    found = getattr(libc, call)(*values)
    if found < 0:
        raise OSError(ctypes.get_errno(), call)
    if call == "shmget":
        libc.shmctl(found, 0, None)
attempts = {
    "network": lambda: socket.create_connection(("127.0.0.1", 9)),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "program": lambda: subprocess.run(["/bin/true"]),
    "execve": lambda: os.execv("/bin/true", ["true"]),
    "reading": lambda: open("/etc/passwd").read(),
    "writing": lambda: open(sys.argv[1] + "/x", "w").write("x"),
    "listing": lambda: os.listdir("/etc"),
    "deleting": lambda: os.unlink(sys.argv[1] + "/there"),
    "memory that stays": lambda: kernel("shmget", 0, 4096, 0o1600),
    "messages that stay": lambda: kernel("msgget", 0, 0o1600),
}
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError:
        print(name, "denied")
    except OSError as error:
        print(name, error)
    else:
        print(name, "allowed")
import xml.dom.minidom  # libraries can be loaded
"""


@pytest.mark.skipif(
    not (confine.landlock_is_available() and seccomp.is_available()), reason="this kernel has no Landlock or seccomp"
)
def test_the_reader_has_no_network_no_programs_and_no_files(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    command = [sys.executable, "-c", FORBIDDEN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert [line for line in done.stdout.splitlines() if not line.endswith("denied")] == []
    assert len(done.stdout.splitlines()) == 11
    assert (tmp_path / "there").exists()


def test_nobody_has_all_the_readers(tmp_path: Path) -> None:
    made = InspectionWorkers(InspectionLimits(), WorkerLimits(at_once=2))
    try:
        slow, small = tmp_path / "slow", tmp_path / "small"
        slow.write_bytes(build_wheel("demo", "1.0", files=ZEROS))
        small.write_bytes(SMALL)
        made.inspect(small, NAME, "alice")
        ended = list[str]()

        def read(path: Path, user: str) -> None:
            made.inspect(path, NAME, user)
            ended.append(user)

        mallory = [threading.Thread(target=read, args=(slow, "mallory")) for _ in range(6)]
        for thread in mallory:
            thread.start()
        read(small, "alice")
        assert ended.count("mallory") < 6
        for thread in mallory:
            thread.join()
    finally:
        made.close()


@pytest.mark.parametrize(("size", "seconds"), [(0, 20.0), (40_000_000, 30.0), (10**9, 120.0)])
def test_a_small_archive_may_take_a_short_time_only(size: int, seconds: float) -> None:
    assert WorkerLimits().seconds_for(size) == seconds
