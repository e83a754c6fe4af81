"""A real index (ledger, signer, published folder over HTTP), real witness processes, and a thief who takes it over."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tuf.api.metadata import Snapshot, Targets

from assay.formats.inspect import InspectionLimits
from assay.formats.pages import PageFile, file_url
from assay.index.blobs import BlobStore
from assay.index.config import DataFolder, IndexConfig, TrustConfig, WitnessConfig
from assay.index.establish import establish
from assay.index.ledger import Ledger, accounts
from assay.index.ledger.publications import outbox_state, propose
from assay.index.log import LogWriter
from assay.index.proposals import ProposedFile, PublishFiles
from assay.index.published import PublishedStore
from assay.index.signer.checks import FileChecks
from assay.index.signer.inbox import Inbox
from assay.index.signer.online import Keyring, OnlineKeys
from assay.index.signer.publish import Publisher
from assay.index.signer.state import PublishedState
from assay.index.signer.witnesses import Verdict, WitnessPanel
from assay.keys.local import LocalWitness
from assay.model.digests import sha256_of
from assay.model.distributions import parse_distribution
from assay.trust.candidate import Candidate, Lacking, cosigned, stamp_of, timestamp_of
from assay.trust.envelope import assemble, sign_envelope
from assay.trust.layout import (
    ONLINE_ROLES,
    ROOT,
    SNAPSHOT,
    TIMESTAMP,
    Lifetimes,
    TargetPath,
    file_target,
    metadata_path,
)
from assay.trust.log.identity import stated_head
from assay.trust.log.proofs import consistency_ranges, prove, tiles_needed
from assay.trust.plan import Changes, NewTarget, plan_bin, plan_snapshot, plan_timestamp
from assay.witness.config import WitnessFolder
from assay.witness.keys import PublicKeys, make_keys, render_public
from assay.witness.store import WitnessStore
from client.small_distributions import build_wheel, wheel_metadata
from keys.live_index import Served
from support.simulator import AssayClient, StockClient

CONFIG = IndexConfig(trust=TrustConfig(bin_bits=2))
EVIL = b"evil"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass
class LiveWitness:
    """A witness's folder, and its process while it runs."""

    name: str
    folder: Path
    port: int
    public: PublicKeys
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls, name: str, folder: Path) -> "LiveWitness":
        place = WitnessFolder(folder)
        public = make_keys(place.keys, name, None)
        place.public_keys.write_bytes(render_public(public))
        place.unencrypted.touch()
        place.database.parent.mkdir(parents=True)
        WitnessStore.create(place.database).close()
        return cls(name, folder, free_port(), public)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def place(self) -> WitnessFolder:
        return WitnessFolder(self.folder)

    def configure(self, extra: str, peers: list["LiveWitness"], *, asked: bool) -> None:
        """Write witness.toml."""
        keys = {peer.name: json.dumps(list(peer.public.keyids().values())) for peer in peers}
        tables = [
            f'[[peer]]\nname = "{peer.name}"\nkeys = {keys[peer.name]}' + (f'\nurl = "{peer.url}"' if asked else "")
            for peer in peers
        ]
        text = "\n".join([f'name = "{self.name}"', "poll_s = 0.2", extra, *tables])
        self.place.config_file.write_text(text)

    def start(self) -> None:
        """Run it until it answers."""
        command = [sys.executable, "-m", "assay", "witness", "run", "--folder", str(self.folder)]
        command += ["--port", str(self.port)]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: self.is_up() or self.process is None or self.process.poll() is not None)
        assert self.is_up(), (self.folder / "log.txt").read_text()

    def is_up(self) -> bool:
        try:
            self.status()
        except OSError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as response:
            data: bytes = response.read()
            return data

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/"))
        return found

    def refusals(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.get("/log"))["refusals"]
        return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Return once ``condition`` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@dataclass
class WitnessedIndex:
    """A data folder whose online roles need witnesses, and what clients see of it."""

    folder: Path
    witnesses: list[LiveWitness]
    needed: int = 1
    clients: dict[str, AssayClient | StockClient] = field(default_factory=dict)
    published: dict[TargetPath, str] = field(default_factory=dict)
    fingerprint: str = ""
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        local = [
            LocalWitness({role: one.public.keys[role] for role in ONLINE_ROLES}, one.public.log)
            for one in self.witnesses
        ]
        self.data.make()
        established = establish(self.data, CONFIG, None, datetime.now(UTC), local, self.needed)
        self.fingerprint = established.fingerprint
        with self.ledger() as ledger, ledger.write() as connection:
            accounts.create_user(connection, "tess", "tess", datetime.now(UTC), is_admin=True)

    @property
    def data(self) -> DataFolder:
        return DataFolder(self.folder)

    @property
    def store(self) -> PublishedStore:
        return PublishedStore(self.data.published)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger.open(self.data.ledger_file)
        yield ledger
        ledger.close()

    @property
    def keyring(self) -> Keyring:
        return Keyring(self.data.keys, None)

    def panel(self, *only: LiveWitness) -> WitnessPanel:
        return WitnessPanel([WitnessConfig(one.name, one.url, self.timeout_s) for one in only or self.witnesses])

    def sign(self, *, store: PublishedStore | None = None) -> bool:
        """What the signer's process does until nothing is left; whether it published anything."""
        with self.ledger() as ledger:
            published = store or self.store
            checks = FileChecks(BlobStore(self.data.blobs), InspectionLimits())
            log = LogWriter(published, self.keyring.open_log)
            panel = self.panel()
            signer = Publisher(
                ledger, published, Inbox(self.data.inbox), checks, self.keyring.open, CONFIG.lifetimes, log, panel
            )
            done = 0
            try:
                while signer.run_once(datetime.now(UTC)):
                    done += 1
            finally:
                panel.close()
            return done > 0

    def propose(
        self, project: str, version: str, marker: str = "", sign: Callable[[NewTarget], bytes] | None = None
    ) -> tuple[TargetPath, int]:
        """Put a wheel into blob store and ledger; its path and its number in the outbox.

        ``sign``: the developers' role that lists it, for a claimed project.
        """
        wheel = build_wheel(project, version, files={f"{project}_marker.py": marker.encode()} if marker else {})
        distribution = parse_distribution(f"{project}-{version}-py3-none-any.whl")
        sha256 = BlobStore(self.data.blobs).store_bytes(wheel)
        url = file_url(distribution.project, version, distribution.filename)
        sidecar = sha256_of(wheel_metadata(project, version))
        now = datetime.now(UTC)
        entry = PageFile(distribution.filename, url, sha256, len(wheel), now, core_metadata=sidecar)
        with self.ledger() as ledger, ledger.write() as connection:
            if accounts.find_project(connection, distribution.project) is None:
                accounts.create_project(connection, distribution.project, "tess", now)
            proposed = ProposedFile(distribution, entry, {"uploader": "tess"})
            claim = sign(NewTarget(file_target(distribution), len(wheel), sha256)).decode() if sign else None
            number = propose(connection, PublishFiles(distribution.project, "upload", (proposed,), claim))
        path = file_target(distribution)
        self.published[path] = sha256
        return path, number

    def upload(self, project: str, version: str) -> TargetPath:
        """Publish a wheel; returns its path."""
        path, number = self.propose(project, version)
        self.sign()
        assert self.state_of(number) == "published"
        return path

    def state_of(self, number: int) -> str:
        with self.ledger() as ledger, ledger.read() as connection:
            return outbox_state(connection, number)[0]

    # --- clients ------------------------------------------------------------------------------------------

    def served(self) -> Served:
        files = {path.name: path.read_bytes() for path in (self.data.published / "tuf").iterdir()}
        return Served(now=datetime.now(UTC), files=files)

    def everybody(self, path: TargetPath) -> dict[str, str]:
        """What each client gets for ``path``: those of before, and fresh ones, which are kept."""
        root = self.served().files["1.root.json"]
        number = len(self.clients)
        self.clients[f"new assay {number}"] = AssayClient(root)
        self.clients[f"new ngclient {number}"] = StockClient(root, self.folder / f"ng-{number}")
        return {name: self._answer(client, path) for name, client in self.clients.items()}

    def _answer(self, client: AssayClient | StockClient, path: TargetPath) -> str:
        from support.simulator import verdict

        return verdict(client, self.served(), path)

    def require_unchanged(self) -> None:
        """No client, new or returning, gets other bytes than were published: the genuine ones or a refusal."""
        for path, sha256 in self.published.items():
            for client, found in self.everybody(path).items():
                assert found in (sha256, "refused"), f"{client} gets {found} for {path}"


@dataclass
class Thief:
    """Whoever took the index's host: all its online keys, database and blobs, and its place on the network."""

    index: WitnessedIndex

    @property
    def keys(self) -> OnlineKeys:
        state = self.state
        return self.index.keyring.open(state.trusted.root, state.bins())

    @property
    def state(self) -> PublishedState:
        with self.index.ledger() as ledger, ledger.read() as connection:
            from assay.index.ledger.publications import last_time

            return PublishedState.read(self.index.store, last_time(connection))

    def forged_bin(self, path: TargetPath, content: bytes = EVIL, *, version: int | None = None) -> tuple[str, Targets]:
        """The bin of ``path`` with other bytes in it."""
        state = self.state
        name = state.succinct().get_role_for_target(path)
        new = NewTarget(path, len(content), sha256_of(content))
        forged = plan_bin(None, Changes((new,)), datetime.now(UTC).replace(microsecond=0), Lifetimes())
        old = state.bin(name)
        assert old is not None
        forged.targets = {**old.targets, **forged.targets}
        forged.version = version or old.version + 1
        return name, forged

    def candidate(self, bins: dict[str, Targets], *, step: int = 1) -> Candidate:
        """A publication of ``bins``, as the index would ask its witnesses."""
        state, keys, now = self.state, self.keys, datetime.now(UTC).replace(microsecond=0)
        snapshot = plan_snapshot(state.snapshot, {name: role.version for name, role in bins.items()}, now, Lifetimes())
        snapshot.version += step - 1
        data = sign_envelope(snapshot, [keys.snapshot])
        timestamp = plan_timestamp(state.timestamp, data, snapshot.version, now, Lifetimes())
        timestamp.version += step - 1
        head = stated_head(state.timestamp) if state.timestamp else None
        return Candidate(
            root_version=state.trusted.root.version,
            roots=(),
            roles={name: sign_envelope(role, [keys.bin]) for name, role in bins.items()},
            snapshot=data,
            stamp=replace(stamp_of(timestamp), log=head),
            log_from=head.size if head else 0,
        )

    def ask(self, candidate: Candidate, *only: LiveWitness) -> list[Verdict]:
        """What the witnesses say to it."""
        panel = self.index.panel(*only)
        everybody = len(only or self.index.witnesses)
        verdicts = panel.ask(candidate, self._supply, lambda verdict: verdict, everybody, self.keys.snapshot)
        panel.close()
        return verdicts

    def publish_alone(self, candidate: Candidate) -> None:
        """Show it to the world without asking anybody."""
        self._show(candidate, {}, [])

    def publish(self, candidate: Candidate, verdict: Verdict) -> None:
        """Show it to the world with a witness's signatures."""
        given = verdict.cosignatures
        assert given is not None
        assert given.timestamp is not None
        self._show(candidate, {role: [signature] for role, signature in given.roles.items()}, [given.timestamp])

    def _show(self, candidate: Candidate, cosignatures: dict[str, list[Any]], stamps: list[Any]) -> None:
        from assay.trust import canonical
        from assay.trust.envelope import parse_envelope

        files = {}
        for role, data in candidate.roles.items():
            version = parse_envelope(data, Targets, role).signed.version
            files[metadata_path(role, version)] = cosigned(data, cosignatures.get(role, []))
        snapshot = cosigned(candidate.snapshot, cosignatures.get(SNAPSHOT, []))
        number = parse_envelope(snapshot, Snapshot, SNAPSHOT).signed.version
        files[metadata_path(SNAPSHOT, number)] = snapshot
        document = timestamp_of(candidate.stamp, number, snapshot).to_dict()
        own = self.keys.timestamp.sign(canonical.encode(document))
        files[metadata_path(TIMESTAMP, None)] = assemble(document, [own, *stamps])
        self.index.store.write(files)

    def _supply(self, candidate: Candidate, lacking: Lacking) -> Candidate:
        found = {
            role: self.index.store.read(metadata_path(role, version)) or b""
            for role, version in lacking.roles.items()
            if role != ROOT
        }
        log = candidate.stamp.log
        size = log.size if log else 0
        ranges = consistency_ranges(lacking.log_from, size) if lacking.log_from < size else ()
        tiles = {tile: self.index.store.read(f"log/{tile.path}") or b"" for tile in tiles_needed(ranges, size)}
        return replace(
            candidate,
            roles={**found, **candidate.roles},
            log_from=lacking.log_from,
            log_proof=prove(ranges, size, tiles),
        )


class Receiver:
    """A webhook's end."""

    def __enter__(self) -> tuple[str, list[dict[str, object]]]:
        received: list[dict[str, object]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        host, port = self.server.server_address[:2]
        return f"http://{host!s}:{port}/", received

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """The published folder as static files."""
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def witnessed_index(
    folder: Path, names: tuple[str, ...] = ("w1", "w2"), *, needed: int = 1, peers: bool = True, extra: str = ""
) -> Iterator[WitnessedIndex]:
    """An index with running witnesses that know each other, after its first publication."""
    folder.mkdir(exist_ok=True)
    witnesses = [LiveWitness.make(name, folder / name) for name in names]
    index = WitnessedIndex(folder / "index", witnesses, needed)
    port = free_port()
    for one in witnesses:
        others = [other for other in witnesses if other is not one]
        one.configure(extra, others, asked=peers)
        store = WitnessStore.open(one.place.database)
        store.follow(f"http://127.0.0.1:{port}/", sha256_of(index.store.read(metadata_path(ROOT, 1)) or b""))
        store.close()
    try:
        with serving(index.data.published, port):
            for one in witnesses:
                one.start()
            assert index.sign()
            yield index
    finally:
        for one in witnesses:
            one.stop(signal.SIGKILL)


def copy_of(folder: Path, to: Path) -> None:
    """A backup."""
    shutil.copytree(folder, to)
