"""Uploads per second and how long each takes, over HTTP, until the answer says that the file is installable.

Every upload is a small wheel of its own project or version with a token. The client is as thin as it can be: raw
HTTP/1.1 over one connection each, bodies made beforehand.
"""

import asyncio
import base64
import hashlib
import io
import statistics
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

BOUNDARY = b"----assay-bench"


@dataclass(frozen=True)
class Upload:
    """One request's body, and the file in it."""

    project: str
    filename: str
    sha256: str
    body: bytes


@dataclass
class Outcome:
    """What a run came to: seconds for all, seconds of each, and answers that were no 200."""

    elapsed_s: float = 0.0
    each_s: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Uploads per second."""
        return len(self.each_s) / self.elapsed_s

    def percentile_ms(self, percent: int) -> float:
        """The so many-th percentile of the time of one upload."""
        return statistics.quantiles(self.each_s, n=100)[percent - 1] * 1e3


def make_uploads(count: int, projects: int, prefix: str) -> list[Upload]:
    """``count`` uploads spread over ``projects`` new projects."""
    return [_make(f"{prefix}-{number % projects}", f"{number // projects}.0") for number in range(count)]


def _make(project: str, version: str) -> Upload:
    name = project.replace("-", "_")
    filename = f"{name}-{version}-py3-none-any.whl"
    data = _wheel(name, project, version)
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": project,
        "version": version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "sha256_digest": hashlib.sha256(data).hexdigest(),
        "md5_digest": hashlib.md5(data, usedforsecurity=False).hexdigest(),
    }
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (BOUNDARY, key.encode(), value.encode())
        for key, value in fields.items()
    ]
    head = b'--%b\r\nContent-Disposition: form-data; name="content"; filename="%b"\r\n' % (BOUNDARY, filename.encode())
    parts.append(head + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--" + BOUNDARY + b"--\r\n")
    return Upload(project, filename, fields["sha256_digest"], b"".join(parts))


def _wheel(name: str, project: str, version: str) -> bytes:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, data in files.items():
                archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), data)
        return buffer.getvalue()


class Uploader:
    """Sends uploads to ``url`` (``.../legacy/`` or what the server calls it) as ``user`` with ``password``."""

    def __init__(self, url: str, user: str, password: str) -> None:
        address = urlsplit(url)
        self._host, self._port, path = address.hostname or "", address.port or 80, address.path or "/"
        secret = base64.b64encode(f"{user}:{password}".encode())
        self._head = (
            b"POST %b HTTP/1.1\r\nHost: %b:%d\r\nAuthorization: Basic %b\r\n"
            b"Content-Type: multipart/form-data; boundary=%b\r\nContent-Length: "
            % (path.encode(), self._host.encode(), self._port, secret, BOUNDARY)
        )

    async def as_fast_as_possible(self, uploads: Sequence[Upload], connections: int) -> Outcome:
        """All ``uploads`` over so many connections, each sending the next one when the last was answered."""
        outcome, waiting = Outcome(), iter(uploads)
        started = time.perf_counter()

        async def work() -> None:
            connection = _Connection(self._host, self._port)
            for upload in waiting:
                await self._send(connection, upload, outcome)
            connection.close()

        await asyncio.gather(*(work() for _ in range(connections)))
        outcome.elapsed_s = time.perf_counter() - started
        return outcome

    async def at_rate(self, uploads: Sequence[Upload], per_s: float) -> Outcome:
        """``uploads`` begun at a fixed rate, however long each takes."""
        outcome, idle, tasks = Outcome(), list[_Connection](), []
        started = time.perf_counter()

        async def send(upload: Upload) -> None:
            connection = idle.pop() if idle else _Connection(self._host, self._port)
            await self._send(connection, upload, outcome)
            idle.append(connection)

        for number, upload in enumerate(uploads):
            await asyncio.sleep(max(0.0, started + number / per_s - time.perf_counter()))
            tasks.append(asyncio.create_task(send(upload)))
        await asyncio.gather(*tasks)
        outcome.elapsed_s = time.perf_counter() - started
        for connection in idle:
            connection.close()
        return outcome

    async def _send(self, connection: "_Connection", upload: Upload, outcome: Outcome) -> None:
        started = time.perf_counter()
        status = await connection.ask(self._head + b"%d\r\n\r\n" % len(upload.body) + upload.body)
        if status.startswith("200"):
            outcome.each_s.append(time.perf_counter() - started)
        else:
            outcome.refused.append(status)


class _Connection:
    """One HTTP/1.1 connection, opened again when the server closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> str:
        """Send ``request``; the answer's status and reason."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close" or status.startswith("HTTP/1.0"):
            self.close()
        return status.partition(" ")[2]

    def close(self) -> None:
        """Give the connection up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
