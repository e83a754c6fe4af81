"""A wheel of 500 MB goes through the whole index, and no process of it grows by more than 64 MiB."""

import base64
import hashlib
import http.client
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client.small_distributions import build_wheel
from e2e.conftest import open_folder
from e2e.house import House, running_house
from index.web.forms import CONTENT_TYPE, FIELDS, body, parts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SIZE = 500_000_000
MAX_GROWTH = 64 * 1024 * 1024
NAME = "huge-1.0-py3-none-any.whl"
MARK = b"HERE IS THE FILE"


def write_wheel(path: Path) -> str:
    """A wheel with one member of SIZE incompressible bytes; returns its sha256."""
    block = hashlib.shake_256(b"huge").digest(1_000_000)
    payload = hashlib.sha256()
    for _ in range(SIZE // len(block)):
        payload.update(block)
    info = "huge-1.0.dist-info"
    small = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: huge\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {"huge.bin": (payload.digest(), SIZE)}
    digests |= {name: (hashlib.sha256(data).digest(), len(data)) for name, data in small.items()}
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{size}\n"
        for name, (digest, size) in digests.items()
    ]
    small[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        huge = zipfile.ZipInfo("huge.bin", (2026, 1, 1, 0, 0, 0))
        huge.file_size = SIZE
        with archive.open(huge, "w") as member:
            for _ in range(SIZE // len(block)):
                member.write(block)
        for name, data in small.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def memory(pid: int, field: str) -> int:
    """``VmRSS`` or ``VmHWM`` (the most it ever was) in bytes; 0 for a process that has just ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field))


def descendants(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in thread.read_text().split():
            yield int(child)
            yield from descendants(int(child))


class MostOfTheReaders(threading.Thread):
    """Watches how large the processes below ``pid`` that read archives become."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self.done = pid, 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            try:
                self.most = max([self.most, *(memory(child, "VmHWM") for child in descendants(self.pid))])
            except OSError:
                continue  # one of them has just ended


def send(house: House, wheel: Path, sha256: str) -> int:
    fields = {**FIELDS, "name": "huge", "version": "1.0", "sha256_digest": sha256}
    head, tail = body(parts(fields, MARK, NAME)).split(MARK)
    credentials = base64.b64encode(f"__token__:{house.token}".encode()).decode()
    address = urlsplit(house.index.upload_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
    with wheel.open("rb") as stream:
        connection.putrequest("POST", address.path)
        connection.putheader("Authorization", f"Basic {credentials}")
        connection.putheader("Content-Type", CONTENT_TYPE)
        connection.putheader("Content-Length", str(len(head) + wheel.stat().st_size + len(tail)))
        connection.endheaders(head)
        while chunk := stream.read(1_000_000):
            connection.send(chunk)
        connection.send(tail)
    status = connection.getresponse().status
    connection.close()
    return status


def test_half_a_gigabyte_in_flat_memory(tmp_path: Path) -> None:
    wheel = tmp_path / NAME
    sha256 = write_wheel(wheel)
    with open_folder() as folder, running_house(folder) as house:
        assert house.upload("small-1.0-py3-none-any.whl", build_wheel("small", "1.0")).status == 200
        pids = {name: house.index.child_pid(name) for name in ("web", "signer")}
        before = {name: memory(pid, "VmRSS") for name, pid in pids.items()}
        (reader,) = descendants(pids["web"])
        before["reader"] = memory(reader, "VmRSS")
        readers = MostOfTheReaders(reader)
        readers.start()
        assert send(house, wheel, sha256) == 200
        readers.done.set()
        most = {name: memory(pid, "VmHWM") for name, pid in pids.items()} | {"reader": readers.most}
        page = house.page("huge")
        assert page is not None
        assert page["files"][0]["hashes"]["sha256"] == sha256
    growth = {name: most[name] - before[name] for name in most}
    assert readers.most > 0, "the reader was seen at work"
    assert all(each < MAX_GROWTH for each in growth.values()), growth
