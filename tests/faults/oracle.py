"""The invariants of the threat model as one oracle: given an index and what it acknowledged, what is violated?

The oracle stands outside: it reads what every reader can fetch, remembers all of it, and parses signed JSON by itself;
only where it plays a client does it use the product's verifying core. ``watch`` judges what readers see at any moment,
also of an index that is dead; ``judge`` an index that has started again. The numbers are those of the invariants.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin

from assay.formats.pages import ProjectPage, parse_page_json
from assay.formats.simple_html import render_page_html
from assay.index.config import DataFolder
from assay.index.doctor import examine
from assay.model.errors import AssayError
from assay.trust.layout import Lifetimes, TargetPath
from assay.trust.log.checkpoint import CHECKPOINT, parse_head
from assay.trust.log.note import parse_note
from faults.readers import Read, read_folder, role_name
from faults.verifying import Reader

MUTABLE = re.compile(r"tuf/timestamp\.json|log/checkpoint|simple/[^/]+/index\.json|\.lock|\.staging/.*")
"""Names below ``published`` whose bytes may change; every other name has one content for ever."""

_ANCHOR = re.compile(r'href="([^"#]+)#sha256=([0-9a-f]{64})"')


@dataclass(frozen=True)
class Violation:
    invariant: int
    what: str

    def __str__(self) -> str:
        return f"invariant {self.invariant}: {self.what}"


@dataclass
class Acknowledged:
    """What the index said yes to, kept where no crash of it reaches. ``files``: target path -> sha256."""

    files: Mapping[str, str] = field(default_factory=dict)
    yanked: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)


@dataclass
class Oracle:
    """``root``: the first root, which clients trust from. ``leaving``: paths that somebody asked to remove."""

    root: bytes
    contents: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    standing: set[str] = field(default_factory=set)
    log_size: int = 0

    # --- at any moment ----------------------------------------------------------------------------------------

    def watch(self, read: Read) -> list[Violation]:
        """What is wrong with what readers see now, compared with all that was seen before. Remembers it."""
        return list(self._watch(read))

    def _watch(self, read: Read) -> Iterator[Violation]:
        stamp = read("tuf/timestamp.json")
        if stamp is None:
            if "timestamp.json" in self.versions:
                yield Violation(6, "timestamp.json vanished")
            return
        signed = _signed(stamp)
        yield from self._version("timestamp.json", signed["version"], stamp)
        meta = signed["meta"]["snapshot.json"]
        snapshot = read(f"tuf/{meta['version']}.snapshot.json")
        if snapshot is None or hashlib.sha256(snapshot).hexdigest() != meta["hashes"]["sha256"]:
            yield Violation(5, f"snapshot {meta['version']} of the served timestamp cannot be fetched")
            return
        yield from self._version("snapshot.json", meta["version"], snapshot)
        listed = _signed(snapshot)["meta"]
        for name in self.versions.keys() - listed.keys() - {"timestamp.json", "snapshot.json"}:
            yield Violation(6, f"{name} vanished from the snapshot")
        targets: dict[str, tuple[str, int]] = {}
        for name, entry in listed.items():
            data = read(f"tuf/{entry['version']}.{name}")
            if data is None:
                if "claim" not in name:
                    yield Violation(5, f"{entry['version']}.{name} is listed and cannot be fetched")
                continue
            yield from self._version(name, entry["version"], data)
            for path, target in _signed(data)["targets"].items():
                sha256 = target["hashes"]["sha256"]
                if targets.setdefault(path, (sha256, target["length"]))[0] != sha256:
                    yield Violation(2, f"{path} has two hashes at once")
        yield from self._targets(read, targets)

    def _targets(self, read: Read, targets: Mapping[str, tuple[str, int]]) -> Iterator[Violation]:
        for path, (sha256, length) in targets.items():
            folder, _, name = path.rpartition("/")
            data = read(f"{folder}/{sha256}.{name}")
            if data is None:
                if not self._is_upstreams(read, path, targets):
                    yield Violation(5, f"{path} is signed and cannot be fetched")
            elif (hashlib.sha256(data).hexdigest(), len(data)) != (sha256, length):
                yield Violation(1, f"{path} has other bytes than were signed")
            if path.startswith("packages/"):
                if self.hashes.setdefault(path, sha256) != sha256:
                    yield Violation(2, f"{path} was {self.hashes[path]} and is {sha256}")
                self.standing.add(path)
            elif data is not None:
                yield from self._page(data, targets)
        for path in self.standing - targets.keys() - self.leaving:
            yield Violation(2, f"{path} was published and vanished")
        for path in self.standing & self.leaving - targets.keys():
            self.standing.discard(path)

    def _page(self, data: bytes, targets: Mapping[str, tuple[str, int]]) -> Iterator[Violation]:
        """Invariant 10 within one snapshot: JSON, HTML and targets say the same of the same files."""
        page = parse_page_json(data)
        said = {urljoin(f"simple/{page.project}/", file.url): (file.sha256, file.size) for file in page.files}
        for path, fact in said.items():
            if targets.get(path) != fact:
                yield Violation(10, f"the page of {page.project} says {fact} of {path}, its target {targets.get(path)}")
        anchors = _ANCHOR.findall(render_page_html(page).decode())
        if {urljoin(f"simple/{page.project}/", url): sha256 for url, sha256 in anchors} != {
            path: sha256 for path, (sha256, _) in said.items()
        }:
            yield Violation(10, f"the HTML page of {page.project} lists other files than the JSON page")

    def _is_upstreams(self, read: Read, path: str, targets: Mapping[str, tuple[str, int]]) -> bool:
        """Whether the bytes of ``path`` are fetched from an upstream when somebody asks."""
        parts = path.split("/")
        name = f"simple/{parts[1]}/index.json"
        data = read(f"simple/{parts[1]}/{targets[name][0]}.index.json") if name in targets else None
        entry = parse_page_json(data).file(parts[-1]) if data is not None else None
        return entry is not None and entry.upstream_url is not None

    def _version(self, name: str, version: int, data: bytes) -> Iterator[Violation]:
        """Invariant 6: ``name`` is served in ``version``; it never goes back, and a version has one content."""
        if version < self.versions.get(name, 0):
            yield Violation(6, f"{name} went from version {self.versions[name]} back to {version}")
        self.versions[name] = version
        yield from self._content(f"tuf/{version}.{name}", data)

    def _content(self, name: str, data: bytes) -> Iterator[Violation]:
        sha256 = hashlib.sha256(data).hexdigest()
        if self.contents.setdefault(name, sha256) != sha256:
            yield Violation(6, f"{name} has two contents")

    def remember(self, published: Path) -> list[Violation]:
        """Take in every file of the folder, also what no timestamp leads to yet (invariants 6 and 9)."""
        found: list[Violation] = []
        for path in sorted(published.rglob("*")):
            name = str(path.relative_to(published))
            if path.is_file() and not MUTABLE.fullmatch(name):
                found += self._content(name, path.read_bytes())
        return found

    # --- after a start ----------------------------------------------------------------------------------------

    def judge(self, index: "Judged", acknowledged: Acknowledged, clients: Mapping[str, Path]) -> list[Violation]:
        """What is wrong with ``index``, which has started and has nothing left to do; ``clients``: their stores."""
        read = read_folder(index.data)
        return [
            *self.remember(index.data.published),
            *self._watch(read),
            *self._acknowledged(read, acknowledged),
            *self._settled(index),
            *self._clients(read, index, clients),
            *_disk(index.data),
        ]

    def _acknowledged(self, read: Read, acknowledged: Acknowledged) -> Iterator[Violation]:
        pages: dict[str, ProjectPage] = {}
        for path in acknowledged.files:
            project = path.split("/")[1]
            data = read(f"simple/{project}/index.json")
            if data is None:
                yield Violation(3, f"{project} has no page")
                return
            pages[project] = parse_page_json(data)
        for path, sha256 in acknowledged.files.items():
            page, filename = pages[path.split("/")[1]], path.rpartition("/")[2]
            entry = next((file for file in (*page.files, *page.withheld) if file.filename == filename), None)
            if path in acknowledged.removed:
                if entry is not None or path in self.standing:
                    yield Violation(3, f"{path} was removed and is there")
                if page.known_hash(filename) != sha256:
                    yield Violation(2, f"nobody remembers what {path} was")
            elif path not in self.leaving and (entry is None or entry.sha256 != sha256):
                yield Violation(3, f"{path} was acknowledged and is not on the page")
            elif path not in self.leaving and self.hashes.get(path) != sha256:
                yield Violation(3, f"{path} was acknowledged and is not signed")
            elif path in acknowledged.yanked and (entry is None or entry.yanked is None):
                yield Violation(3, f"{path} was yanked and is not")

    def _settled(self, index: "Judged") -> Iterator[Violation]:
        """Invariants 7, 9 and 10, and whatever ``assay doctor`` finds."""
        rows = index.publications()
        head, epoch, timestamp = index.head()
        if [number for number, _, done in rows if not done]:
            yield Violation(9, "an intent was left open")
        if rows and (rows[-1][0] != head or len({number for number, _, _ in rows}) != len(rows)):
            yield Violation(7, f"publications {[number for number, _, _ in rows][-5:]}, head {head}")
        epochs = [each for _, each, _ in rows]
        if epochs != sorted(epochs) or (epochs and epochs[-1] > epoch):
            yield Violation(7, f"epochs {epochs} of publications, {epoch} of the head")
        if timestamp != (index.data.published / "tuf/timestamp.json").read_bytes():
            yield Violation(7, "the timestamp that is served is not the head's")
        for path in (index.data.published / "tuf").glob("*.*.json"):
            version, role = role_name(path.name)
            if version > self.versions.get(role, 0) and role != "root.json":
                yield Violation(9, f"{path.name} was signed and never published")
        for path in (index.data.published / "simple").glob("*/index.json"):
            name = f"simple/{path.parent.name}/{hashlib.sha256(path.read_bytes()).hexdigest()}.index.json"
            if name not in self.contents:
                yield Violation(10, f"{path.parent.name}: the pointer shows a page that was never signed")
        yield from self._log(index.data)
        examination = examine(index.data, index.now, Lifetimes(), hash_blobs=True)
        for finding in examination.findings:
            if finding.severity == "wrong":
                yield Violation(10, f"doctor: {finding.subject}: {finding.text}")

    def _log(self, data: DataFolder) -> Iterator[Violation]:
        checkpoint = data.published / "log" / CHECKPOINT
        if checkpoint.exists():
            _, head = parse_head(parse_note(checkpoint.read_bytes()).text)
            if head.size < self.log_size:
                yield Violation(6, f"the log shrank from {self.log_size} to {head.size} entries")
            self.log_size = head.size

    def _clients(self, read: Read, index: "Judged", clients: Mapping[str, Path]) -> Iterator[Violation]:
        """A new client and those with a history find every file; nothing that they kept is unverified (1, 8)."""
        known = set(self.contents.values()) | {hashlib.sha256(self.root).hexdigest()}
        for name, folder in {"new": None, **clients}.items():
            for kept in folder.glob("*.json") if folder is not None else ():
                if hashlib.sha256(kept.read_bytes()).hexdigest() not in known and not _is_cache(kept):
                    yield Violation(8, f"the {name} client keeps {kept.name}, which was never published")
            try:
                reader = Reader(read, self.root, folder, index.now)
                for path, sha256 in self.hashes.items():
                    found = reader.look_up(TargetPath(path))
                    if found != (sha256 if path in self.standing else None):
                        yield Violation(1, f"the {name} client gets {found} for {path}, which is {sha256}")
            except AssayError as error:
                yield Violation(8, f"the {name} client does not refresh: {error} [{error.rule}]")


class Judged(Protocol):
    """What the oracle asks of an index that has started: its data folder, its clock, its ledger's bookkeeping."""

    data: DataFolder
    now: datetime

    def head(self) -> tuple[int, int, bytes | None]:
        """Publication, epoch and timestamp of the head."""

    def publications(self) -> list[tuple[int, int, bool]]:
        """Number, epoch and whether it is done, of every publication, oldest first."""


def _is_cache(path: Path) -> bool:
    """Delegated roles are a cache, verified again at each use: half a file there is no harm."""
    return path.name not in ("root.json", "timestamp.json", "snapshot.json")


def _disk(data: DataFolder) -> Iterator[Violation]:
    """Keys are for their owner alone (11); nothing half-written is left for ever (12)."""
    for key in data.keys.root.rglob("*.pem"):
        if key.stat().st_mode & 0o077:
            yield Violation(11, f"{key.name} can be read by others")
    for folder in (data.published, data.incoming, data.blobs, data.inbox, data.keys.root):
        for path in folder.rglob(".tmp-*") if folder.exists() else ():
            yield Violation(12, f"{path.relative_to(data.root)} is left for ever")
    for path in data.incoming.iterdir() if data.incoming.exists() else ():
        yield Violation(12, f"{path.relative_to(data.root)} is left for ever")


def _signed(data: bytes) -> dict[str, Any]:
    signed: dict[str, Any] = json.loads(data)["signed"]
    return signed
