"""What trust costs an installing client: bytes over the wire and milliseconds of its processor, for each project.

Every project needs two targets, its page and one file. A client is new (it has the root alone) or returns, with the
same snapshot or one from before many publications. Stock ngclient reads the same files beside it.
"""

import gzip
import http.client
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from assay.formats.zstd import available_dictionary, decompress
from assay.trust.layout import ROOT, TargetPath, metadata_path
from assay.trust.update import Answer, Fetch, Keep, Load, Request, drive, lookup, refresh
from assay.trust.verify import TrustedMetadata
from synthetic import FILES_PER_PROJECT, SyntheticSpool

LOOKUPS = 30
DISTRIBUTION_BYTES = 2_200_000
"""PEP 458's average."""


@dataclass
class WireClient:
    """A client of the index at ``url`` whose kept files are ``kept``; ``received`` bytes of bodies and headers."""

    url: str
    kept: dict[str, bytes]
    received: int = 0
    asked: int = 0
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)

    def run(self, paths: Sequence[TargetPath], now: datetime) -> TrustedMetadata:
        """Refresh, and look ``paths`` up. Raises where one is not found."""
        trusted = TrustedMetadata(self.kept[ROOT], now=now)
        drive(refresh(trusted), self.answer)
        for path in paths:
            if drive(lookup(trusted, path), self.answer) is None:
                raise RuntimeError(f"nobody vouches for {path}")
        return trusted

    def answer(self, request: Request) -> Answer:
        """As the product's client: kept files, else over HTTP with the kept version as dictionary."""
        match request:
            case Load(role):
                return self.kept.get(role)
            case Keep(role, data):
                self.kept[role] = data
                return None
            case Fetch(role, version, max_bytes):
                return self._fetch(role, version, max_bytes)

    def _fetch(self, role: str, version: int | None, max_bytes: int) -> bytes | None:
        known = self.kept.get(role) if version is not None else None
        headers = {"Accept-Encoding": "zstd, gzip" if known is None else "dcz, zstd, gzip"}
        if known is not None:
            number = known.rsplit(b'"version":', 1)[1].strip(b"}").decode()
            headers |= {"Available-Dictionary": available_dictionary(known), "Dictionary-ID": f'"{number}"'}
        self.connection.request("GET", f"/{metadata_path(role, version)}", headers=headers)
        response = self.connection.getresponse()
        body = response.read()
        self.asked += 1
        self.received += len(body) + sum(len(name) + len(value) + 4 for name, value in response.getheaders())
        if response.status == 404:
            return None
        match response.headers.get("content-encoding"):
            case "dcz":
                return decompress(body, max_bytes, known)
            case "zstd":
                return decompress(body, max_bytes)
            case "gzip":
                return gzip.decompress(body)
        return body


class _Files(FetcherInterface):
    """ngclient's network: the published files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._folder / url.removeprefix("http://index/")
        if not path.exists():
            raise DownloadHTTPError("not here", 404)
        return iter([path.read_bytes()])


@dataclass(frozen=True)
class Cost:
    """Wire bytes and requests for one project, wire bytes of everything for ``LOOKUPS``, and milliseconds of CPU."""

    one_bytes: int
    one_requests: int
    all_bytes: int
    all_ms: float

    def share(self) -> float:
        """Bytes for one project as a part of an average distribution."""
        return self.one_bytes / DISTRIBUTION_BYTES


def measure_new(url: str, root: bytes, paths: Sequence[TargetPath]) -> Cost:
    """A client that has the root only."""
    return _measure(url, lambda: {ROOT: root}, paths)


def measure_returning(url: str, before: dict[str, bytes], paths: Sequence[TargetPath]) -> Cost:
    """A client that has ``before``, and wants other projects than it had."""
    return _measure(url, lambda: dict(before), paths)


def _measure(url: str, kept: Callable[[], dict[str, bytes]], paths: Sequence[TargetPath]) -> Cost:
    """``paths``: page and file of each project, one after the other."""
    now = datetime.now(UTC)
    one = WireClient(url, kept())
    one.run(paths[:2], now)
    every = WireClient(url, kept())
    every.run(paths, now)
    offline = every.kept  # the same again without the network: what verifying alone takes
    served = {**offline}
    times = []
    for _ in range(5):
        mine = kept()

        def answer(request: Request, mine: dict[str, bytes] = mine) -> Answer:
            match request:
                case Load(role):
                    return mine.get(role)
                case Fetch(role, version, _):
                    return None if role == ROOT and (version or 0) > 1 else served.get(role)
                case Keep():
                    return None

        started = time.process_time()
        trusted = TrustedMetadata(mine[ROOT], now=now)
        drive(refresh(trusted), answer)
        for path in paths[:LOOKUPS]:
            drive(lookup(trusted, path), answer)
        times.append((time.process_time() - started) * 1e3)
    return Cost(one.received, one.asked, every.received, min(times))


def stock_ms(published: Path, root: bytes, paths: Sequence[TargetPath], folder: Path) -> float:
    """Milliseconds of CPU that a new ngclient takes for ``LOOKUPS`` lookups."""
    times = []
    for number in range(2):
        mine = folder / f"stock-{number}"
        mine.mkdir(parents=True)
        started = time.process_time()
        updater = Updater(str(mine), "http://index/tuf/", fetcher=_Files(published), bootstrap=root)
        for path in paths[:LOOKUPS]:
            if updater.get_targetinfo(path) is None:
                raise RuntimeError(f"ngclient finds nobody for {path}")
        times.append((time.process_time() - started) * 1e3)
    return min(times)


def sample_paths(files: int, seed: int) -> list[TargetPath]:
    """Page and a file of ``LOOKUPS`` projects of a synthetic index (``synthetic.SyntheticSpool``)."""
    spool = SyntheticSpool(files, None, "")  # type: ignore[arg-type]
    chance = random.Random(seed)
    projects = chance.sample(range(files // FILES_PER_PROJECT), LOOKUPS)
    return [
        TargetPath(path)
        for project in projects
        for path in (spool.path(files + project), spool.path(project * FILES_PER_PROJECT))
    ]


def root_of(published: Path) -> bytes:
    """The first root."""
    return (published / metadata_path(ROOT, 1)).read_bytes()
