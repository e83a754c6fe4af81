"""Running indexes, one for each ring, and a wire between them and their clients that does what an attacker says.

Every index has ``demo`` 1.0 and 2.0 and ``other`` 1.0: published, and then witnessed, sealed or claimed. Clients are
those of before and new ones, ours with its real HTTP and files, and python-tuf's.
"""

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import TargetFile
from tuf.ngclient import Updater

from assay.client.registry import Bundle, Registry
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher, Patience
from assay.index.blobs import BlobStore
from assay.index.claim_plan import plan_claims
from assay.index.handover import hand_over
from assay.index.sealing import plan_sealing
from assay.index.signer.state import PublishedState
from assay.index.web.cache import PublishedCache
from assay.index.web.catalogue import PublishedCatalogue
from assay.index.web.services import WebServices
from assay.keys.offline_draft import OfflineDraft
from assay.keys.sealing import sign_seal
from assay.model.digests import Sha256, sha256_of
from assay.model.distributions import parse_distribution
from assay.model.errors import AssayError
from assay.model.names import ProjectName
from assay.trust.claim_search import find_claim
from assay.trust.claims import Claim, plan_claim_role
from assay.trust.envelope import sign_envelope
from assay.trust.layout import Lifetimes, TargetPath, metadata_path
from assay.trust.plan import NewTarget
from client.small_distributions import build_wheel
from index.web.running import running
from witness.live import WitnessedIndex, witnessed_index

DEMO, OLD, OTHER = (f"{name}-py3-none-any.whl" for name in ("demo-2.0", "demo-1.0", "other-1.0"))
GOOD = sha256_of(build_wheel("demo", "2.0"))
IMPATIENT = Patience(grace_s=3, min_bytes_per_s=1_000_000)
"""Ours, made short for a trickle: the rule is the same."""

TRICKLE_S = 6.0
"""A stock client that has not ended by then hangs, as far as a test of a trickle can wait."""

LOADED_S = 120.0
"""What anything may take on a machine that does much else."""

PATIENT = Patience(grace_s=LOADED_S)

Reply = bytes | int | Iterator[bytes] | None
"""What the wire answers: bytes, a status, an endless or slow stream; None passes the request on."""

DEVELOPER = CryptoSigner.generate_ed25519()


@dataclass
class Wire:
    """Everything between a client and the index."""

    origin: str
    url: str = ""
    tamper: Callable[[str], Reply] = lambda _: None
    asked: list[str] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        reply = self.tamper(handler.path)
        if reply is None:
            status, headers, body = self._honest(handler)
        else:
            status = reply if isinstance(reply, int) else 200
            body = reply if isinstance(reply, bytes) else b""
            headers = {"Content-Type": "application/octet-stream"}
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if reply is None or isinstance(reply, bytes | int):
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
            return
        handler.end_headers()
        handler.close_connection = True
        for chunk in reply:
            handler.wfile.write(chunk)

    def _honest(self, handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(self.origin + handler.path.removeprefix("/"))
        if "Accept" in handler.headers:
            request.add_header("Accept", handler.headers["Accept"])
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, {"Content-Type": response.headers["Content-Type"]}, response.read()
        except urllib.error.HTTPError as error:
            return error.code, {}, error.read()


@contextmanager
def wired(origin: str) -> Iterator[Wire]:
    """A wire to ``origin``."""
    wire = Wire(origin)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                wire.answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    wire.url = f"http://127.0.0.1:{server.server_port}/"
    yield wire
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class AssayUser:
    """Somebody with our client: what it keeps, and the clock of the machine."""

    folder: Path
    wrong_by: timedelta = timedelta()
    patience: Patience = PATIENT

    def get(self, world: "World", filename: str) -> str:
        """The sha256 of the file that arrives, or ``refused``."""
        return asyncio.run(self._get(world, lambda index: index.file(parse_distribution(filename))))

    def sidecar(self, world: "World", filename: str) -> str:
        """The same for the wheel's METADATA."""
        return asyncio.run(self._get(world, lambda index: index.sidecar(parse_distribution(filename))))

    async def _get(self, world: "World", ask: Callable[[TrustedIndex], Any]) -> str:
        registry = Registry(self.folder / "indexes")
        entries = registry.entries()
        entry = entries[0] if entries else registry.add(Bundle(world.wire.url, world.root()), datetime.now(UTC))
        async with Fetcher(patience=self.patience) as fetcher:
            clock = lambda: datetime.now(UTC) + self.wrong_by  # noqa: E731
            index = TrustedIndex(entry.url, entry.store, self.folder / "files", fetcher, clock)
            try:
                await index.refresh()
                found = await ask(index)
            except AssayError:
                return "refused"
            return sha256_of(found) if isinstance(found, bytes) else sha256_of(found.path.read_bytes())


@dataclass
class StockUser:
    """Somebody with python-tuf."""

    folder: Path
    wrong_by: timedelta = timedelta()
    waits_s: float = LOADED_S

    def get(self, world: "World", filename: str) -> str:
        """As ``AssayUser.get``; ``none`` where nobody vouches for the file, ``hangs`` where it does not end."""
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(self._get(world, filename)), daemon=True)
        thread.start()
        thread.join(self.waits_s)
        return answers[0] if answers else "hangs"

    def _get(self, world: "World", filename: str) -> str:
        (self.folder / "targets").mkdir(parents=True, exist_ok=True)
        new = not (self.folder / "root.json").exists()
        url = world.wire.url
        updater = Updater(
            str(self.folder), f"{url}tuf/", str(self.folder / "targets"), url, bootstrap=world.root() if new else None
        )
        updater._trusted_set.reference_time = datetime.now(UTC) + self.wrong_by
        try:
            updater.refresh()
            found = updater.get_targetinfo(path_of(filename))
            if found is None:
                return "none"
            return sha256_of(Path(updater.download_target(found, str(self.folder / "got"))).read_bytes())
        except (RepositoryError, DownloadError, ValueError):
            return "refused"


User = AssayUser | StockUser


@dataclass
class World:
    """An index with a ring. ``of_before``: its returning clients."""

    column: str
    index: WitnessedIndex
    wire: Wire
    folder: Path
    of_before: list[User] = field(default_factory=list)
    people: int = 0

    def root(self) -> bytes:
        data = self.index.store.read(metadata_path("root", 1))
        assert data is not None
        return data

    def newcomers(self) -> list[User]:
        """A new client of either kind."""
        self.people += 1
        place = self.folder / f"people-{self.people}"
        return [AssayUser(place / "assay"), StockUser(place / "stock")]

    def everybody(self) -> list[User]:
        """The clients whose answers count in this column."""
        people = [*self.of_before, *self.newcomers()]
        return [one for one in people if self.column != "PEP 458" or isinstance(one, StockUser)]

    @contextmanager
    def tampered(self, tamper: Callable[[str], Reply]) -> Iterator[None]:
        """The wire lies."""
        self.wire.tamper = tamper
        try:
            yield
        finally:
            self.wire.tamper = lambda _: None

    def answers(self, filename: str = DEMO) -> set[str]:
        """What everybody gets."""
        return {one.get(self, filename) for one in self.everybody()}

    def blob(self, filename: str) -> Path:
        """Where the index keeps the file."""
        name, version, _ = filename.split("-", 2)
        return BlobStore(self.index.data.blobs).path(Sha256(sha256_of(build_wheel(name, version))))

    def forget_kept_files(self) -> None:
        """Returning clients of ours keep whole files: what they already have proves nothing."""
        for one in self.of_before:
            for path in (one.folder / "files").glob("*"):
                path.unlink()


def path_of(filename: str) -> TargetPath:
    project, version, _ = filename.split("-", 2)
    return TargetPath(f"packages/{project}/{version}/{filename}")


def _serve(index: WitnessedIndex) -> WebServices:
    def nobody(*_: Any) -> Any:
        raise AssertionError("this index is only read")

    blobs, store = BlobStore(index.data.blobs), index.store
    catalogue = PublishedCatalogue(store, PublishedCache(1_000_000))
    fingerprint = f"sha256:{index.fingerprint}"
    return WebServices(store, blobs, catalogue, index.data.incoming, nobody, nobody, nobody, fingerprint)


def _seal(index: WitnessedIndex, folder: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    plan_sealing(index.data, folder, now)
    draft = OfflineDraft(folder)
    sealed = sign_seal(draft, now, Lifetimes())
    draft.sign(str(index.data.keys.path("targets")), lambda _: "", sealed.bodies)
    hand_over(draft, index.data, now)
    assert index.sign()


def developers_role(index: WitnessedIndex) -> Callable[[NewTarget], bytes]:
    """What demo's developer signs when a file is added."""

    def sign(new: NewTarget) -> bytes:
        now = datetime.now(UTC).replace(microsecond=0)
        state = PublishedState.read(index.store, now)
        found = state.ask(find_claim(state.trusted, ProjectName("demo"))) if state.snapshot else None
        files = {TargetPath(name): file for name, file in found.role.targets.items()} if found else {}
        files[new.path] = TargetFile(new.length, {"sha256": new.sha256}, new.path)
        claim = Claim(ProjectName("demo"), (DEVELOPER.public_key,), 1)
        version = found.role.version + 1 if found else 1
        return sign_envelope(plan_claim_role(claim, version, files, now + Lifetimes().claim), [DEVELOPER])

    return sign


def _settle(index: WitnessedIndex, folder: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    settled = plan_claims(index.data, folder, [], now)
    draft = OfflineDraft(folder)
    draft.sign(str(index.data.keys.path("targets")), lambda _: "", settled.bodies)
    hand_over(draft, index.data, now)
    assert index.sign()


@contextmanager
def world(column: str, folder: Path) -> Iterator[World]:
    """The index of ``column``, behind its wire, and its returning clients."""
    with witnessed_index(folder / "host", ("w1",) if column == "witnessed" else ()) as index:
        claiming = developers_role(index) if column == "claimed" else None
        for name, version in (("demo", "1.0"), ("demo", "2.0"), ("other", "1.0")):
            _, number = index.propose(name, version, sign=claiming if name == "demo" else None)
            index.sign()
            assert index.state_of(number) == "published"
        if column == "sealed":
            _seal(index, folder / "seal")
        if column == "claimed":
            _settle(index, folder / "settle")
        with running(_serve(index)) as address, wired(address.url) as wire:
            made = World(column, index, wire, folder)
            made.of_before = made.newcomers()
            for one in made.of_before:
                assert one.get(made, DEMO) == GOOD
            yield made
