"""An index that signs well and serves badly, or contradicts itself: which rule refuses, with which exit code."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tuf.api.metadata import Targets

from assay.client.bundle.folder import FolderFetcher
from assay.client.bundle.making import DESCRIPTION
from assay.client.bundle.opening import read_bundle
from assay.client.developer import read_work
from assay.client.lock.verify import verify_lock
from assay.client.log.audit import LogAuditor
from assay.client.organisation import current_policy
from assay.client.store import MetadataStore
from assay.client.trusted_index import TrustedIndex
from assay.fetch import Fetcher
from assay.formats.pages import PageFile, ProjectPage, file_url, render_page_json
from assay.model.digests import sha256_of
from assay.model.distributions import Distribution, parse_distribution
from assay.model.errors import AssayError
from assay.model.names import POLICY_PROJECT, ProjectName
from assay.model.outcomes import exit_code_of
from assay.trust.layout import ROOT, TAKEDOWN, TARGETS, file_target, hashed_path, page_target
from assay.trust.log.identity import name_log
from assay.trust.takedown import empty_takedown, with_takedown
from attacks.worlds import Wire, wired
from client.small_distributions import build_wheel, wheel_metadata
from log.worlds import IDENTITY
from support.simulator import LIFETIMES, NOW, SIGNERS, Simulator, target

DEMO = parse_distribution("demo-1.0-py3-none-any.whl")
POLICY = parse_distribution(f"{POLICY_PROJECT.replace('-', '_')}-1-py3-none-any.whl")
GOOD, EVIL = build_wheel("demo", "1.0"), build_wheel("demo", "1.0", files={"evil.py": b"1\n"})
METADATA, OTHER_METADATA = wheel_metadata("demo", "1.0"), wheel_metadata("demo", "1.0", ["evil"])

R = TypeVar("R")
Ask = Callable[[TrustedIndex], Awaitable[Any]]


@dataclass
class HostileIndex:
    """What it serves, besides metadata, is ``answers``: bytes, or a status."""

    wire: Wire
    folder: Path
    metadata: Simulator = field(default_factory=Simulator)
    answers: dict[str, bytes | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wire.tamper = self._answer

    def _answer(self, path: str) -> bytes | int:
        name = path.removeprefix("/")
        return self.metadata.files.get(name.removeprefix("tuf/"), self.answers.get(name, 404))

    def publish(self, wheel: Distribution = DEMO, data: bytes = GOOD, **listed: Any) -> None:
        """``wheel`` and its page, signed; ``listed``: what the page says of it that is not so."""
        url = file_url(wheel.project, wheel.version, wheel.filename)
        entry = PageFile(wheel.filename, url, sha256_of(data), len(data), NOW)
        page = render_page_json(ProjectPage(wheel.project, "upload", (replace(entry, **listed),)))
        path = file_target(wheel)
        self.metadata.publish(target(path, data), target(page_target(wheel.project), page))
        self.answers |= {f"simple/{wheel.project}/": page, hashed_path(path, sha256_of(data)): data}

    def ask(self, what: Callable[[TrustedIndex], Awaitable[R]]) -> R:
        """A new client's answer."""

        async def run() -> R:
            async with Fetcher() as fetcher:
                return await what(self.client(fetcher))

        return asyncio.run(run())

    def client(self, fetcher: Fetcher) -> TrustedIndex:
        self.store.write(ROOT, self.metadata.root_bytes())
        return TrustedIndex(self.wire.url, self.store, self.folder / "files", fetcher, lambda: self.metadata.now)

    @property
    def store(self) -> MetadataStore:
        return MetadataStore(self.folder / "metadata")

    def refusal(self, what: Ask) -> tuple[str, int, str]:
        """The rule that refuses, the exit code, and what is said."""
        with pytest.raises(AssayError) as caught:
            self.ask(what)
        return caught.value.rule, exit_code_of(caught.value), caught.value.what


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with wired("http://nobody.invalid/") as found:
        yield found


@pytest.fixture
def index(wire: Wire, tmp_path: Path) -> HostileIndex:
    return HostileIndex(wire, tmp_path)


def get_page(index: TrustedIndex) -> Awaitable[Any]:
    return index.page(DEMO.project)


def get_file(index: TrustedIndex) -> Awaitable[Any]:
    return index.file(DEMO)


def get_sidecar(index: TrustedIndex) -> Awaitable[Any]:
    return index.sidecar(DEMO)


def test_it_serves_well_until_a_test_says_otherwise(index: HostileIndex) -> None:
    index.publish(core_metadata=sha256_of(METADATA))
    index.answers[f"{file_target(DEMO)}.metadata"] = METADATA
    assert index.ask(get_page).page.file(DEMO.filename).size == len(GOOD)
    assert index.ask(get_file).path.read_bytes() == GOOD
    assert index.ask(get_sidecar) == METADATA


# --- pages, files, sidecars -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vouched_page", [b"another page", 404])
def test_a_page_that_nobody_signed(index: HostileIndex, vouched_page: bytes | int) -> None:
    index.publish()
    signed = index.answers["simple/demo/"]
    assert isinstance(signed, bytes)
    index.answers |= {
        "simple/demo/": b"another page",
        hashed_path(page_target(DEMO.project), sha256_of(signed)): vouched_page,
    }
    assert index.refusal(get_page) == ("page-hash", 10, "the page is not the one that was signed")


@pytest.mark.parametrize("ask", [get_file, lambda index: read_work(index, ProjectName("demo"))], ids=["file", "claim"])
def test_a_signed_page_that_contradicts_the_signed_target(index: HostileIndex, ask: Ask) -> None:
    index.publish(sha256=sha256_of(EVIL), size=len(EVIL))
    index.answers[hashed_path(file_target(DEMO), sha256_of(EVIL))] = EVIL
    assert index.refusal(ask) == ("page-target", 10, "page and target disagree about this file")


@pytest.mark.parametrize(
    ("place", "ask"), [("simple/demo/", get_page), (hashed_path(file_target(DEMO), sha256_of(GOOD)), get_file)]
)
def test_what_the_index_itself_refuses_is_no_matter_of_the_network(index: HostileIndex, place: str, ask: Ask) -> None:
    index.publish()
    index.answers[place] = 451
    assert index.refusal(ask) == ("refused-by-index", 10, "the index itself refuses to hand this on")


@pytest.mark.parametrize("served", [OTHER_METADATA, 404])
def test_a_sidecar_with_other_requirements(index: HostileIndex, served: bytes | int) -> None:
    index.publish(core_metadata=sha256_of(METADATA))
    index.answers[f"{file_target(DEMO)}.metadata"] = served
    assert index.refusal(get_sidecar) == ("sidecar-hash", 10, "the metadata sidecar is not what was vouched for")


def test_a_wheel_from_upstream_that_no_installer_could_read(index: HostileIndex) -> None:
    upstream = "https://files.example/demo.whl"
    index.publish(data=b"no zip", core_metadata=sha256_of(METADATA), upstream_url=upstream)
    assert index.refusal(get_file) == ("wheel-unreadable", 10, "not a readable wheel")


def test_a_wheel_that_needs_other_things_than_its_sidecar_says(index: HostileIndex) -> None:
    index.publish(core_metadata=sha256_of(OTHER_METADATA))
    said = "the wheel's own METADATA is not the sidecar that was shown for it"
    assert index.refusal(get_file) == ("sidecar", 10, said)


def test_a_file_that_was_taken_down(index: HostileIndex) -> None:
    index.publish()
    top = index.metadata.roles[TARGETS]
    assert isinstance(top, Targets)
    keys, expires = [SIGNERS[TARGETS].public_key], NOW + LIFETIMES.targets
    index.metadata.put(TARGETS, with_takedown(top, [file_target(DEMO)], keys, 1, expires))
    index.metadata.put(TAKEDOWN, empty_takedown(1, expires), SIGNERS[TARGETS])
    index.metadata.seal_off()
    said = "this file was taken down by the index's offline holders: it must not be installed"
    assert index.refusal(get_file) == ("taken-down", 10, said)


def test_a_policy_that_is_no_wheel(index: HostileIndex) -> None:
    index.publish(POLICY, b"no zip")
    assert index.refusal(current_policy) == ("wheel-unreadable", 10, "not a readable policy")


# --- lock files -----------------------------------------------------------------------------------------------


def lock_finding(index: HostileIndex, pinned: bytes) -> AssayError:
    path = index.folder / "requirements.txt"
    path.write_text(f"demo==1.0 --hash=sha256:{sha256_of(pinned)}\n")
    report = index.ask(lambda client: verify_lock(client, path))
    (finding,) = report.findings
    assert finding.locked.line == 1
    return finding.error


def test_a_lock_file_with_another_hash(index: HostileIndex) -> None:
    index.publish()
    error = lock_finding(index, EVIL)
    assert (error.rule, exit_code_of(error)) == ("lock-hash", 10)
    assert error.what == "not the hash of any file of this version"
    assert error.expected == f"{DEMO.filename} sha256:{sha256_of(GOOD)}"


def test_a_lock_file_with_the_hash_of_a_page_that_lies(index: HostileIndex) -> None:
    index.publish(sha256=sha256_of(EVIL), size=len(EVIL))
    error = lock_finding(index, EVIL)
    assert (error.rule, exit_code_of(error), error.what) == ("lock-hash", 10, "not the hash that is vouched for")
    assert error.expected == f"sha256:{sha256_of(GOOD)}"


# --- the log --------------------------------------------------------------------------------------------------


def believe(index: HostileIndex) -> Ask:
    async def ask(client: TrustedIndex) -> Any:
        async with Fetcher() as fetcher:
            return await LogAuditor(client, index.store, fetcher).believe()

    return ask


def test_an_index_without_a_log_says_so(index: HostileIndex) -> None:
    assert index.refusal(believe(index)) == ("no-log", 2, "this index keeps no log: its targets role names none")


def test_a_timestamp_that_states_no_head_of_the_log(index: HostileIndex) -> None:
    targets = index.metadata.roles[TARGETS]
    assert isinstance(targets, Targets)
    name_log(targets, IDENTITY)
    targets.version += 1
    index.metadata.put(TARGETS, targets)
    index.metadata.seal_off()
    assert index.refusal(believe(index)) == ("log-head", 10, "the signed timestamp states no head of the log")


# --- bundles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["https://elsewhere.example/simple/demo/", "https://index.example/a/../../etc/passwd"])
def test_a_bundle_answers_for_nothing_but_its_index(tmp_path: Path, url: str) -> None:
    async def ask() -> bytes | None:
        async with FolderFetcher("https://index.example/", tmp_path) as fetcher:
            return await fetcher.get(url, max_bytes=1000)

    with pytest.raises(AssayError, match="not an address of this index") as caught:
        asyncio.run(ask())
    assert (caught.value.rule, exit_code_of(caught.value)) == ("bundle-address", 13)


@pytest.mark.parametrize("description", [None, b"[]", b'{"assay-bundle": 99}'])
def test_a_folder_that_is_no_bundle(tmp_path: Path, description: bytes | None) -> None:
    if description is not None:
        (tmp_path / DESCRIPTION).write_bytes(description)
    with pytest.raises(AssayError, match="not a bundle") as caught:
        read_bundle(tmp_path)
    assert (caught.value.rule, exit_code_of(caught.value)) == ("bundle", 2)
