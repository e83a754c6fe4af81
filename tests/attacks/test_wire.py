"""Rows A1, A5, A6, A8-A10, B9, B10, B14-B16: the attacker has the wire, the index's disks or the client's clock.

Running indexes, real HTTP, real files; ``held``: the genuine file arrives, or nothing does.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from assay.formats.pages import Origin, PageFile, file_url
from assay.index.blobs import BlobStore
from assay.index.ledger.publications import propose
from assay.index.ledger.schema import files
from assay.index.proposals import ProposedFile, PublishFiles
from assay.model.digests import sha256_of
from assay.model.distributions import parse_distribution
from attacks.conftest import Cell
from attacks.worlds import DEMO, GOOD, IMPATIENT, OLD, OTHER, TRICKLE_S, AssayUser, Reply, StockUser, World, world
from client.small_distributions import build_wheel, wheel_metadata

COLUMNS = ("PEP 458", "signed", "witnessed", "sealed", "claimed")
EVIL = build_wheel("demo", "2.0", files={"evil.py": b"print('evil')\n"})
SPOOL_BYTES = 64 * 1024
FAR_TOO_MUCH_BYTES = 64_000_000


@pytest.fixture(scope="module", params=COLUMNS)
def ring(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(request.param, tmp_path_factory.mktemp("world")) as made:
        yield made


def instead_of(ending: str, reply: bytes | int) -> Callable[[str], Reply]:
    """A wire that answers every path with this ending by ``reply``."""
    return lambda path: reply if path.endswith(ending) else None


def still_good(ring: World) -> None:
    """The attack is over: nothing of it was kept."""
    assert ring.answers() == {GOOD}


def test_A1_other_bytes_on_the_wire(ring: World, cell: Cell) -> None:
    ring.forget_kept_files()
    with ring.tampered(instead_of(DEMO, EVIL)):
        assert ring.answers() == {"refused"}
    with ring.tampered(lambda path: b"{}" if path.startswith("/tuf/") else None):
        assert ring.answers() == {"refused"}
    still_good(ring)
    cell("A1", ring.column, "refused")


def test_A5_endless_data_is_cut_off(ring: World, cell: Cell) -> None:
    ring.forget_kept_files()
    for wanted in (DEMO, "timestamp.json"):
        sent = itertools.count()

        def endless(path: str, wanted: str = wanted, sent: Iterator[int] = sent) -> Reply:
            return (bytes(SPOOL_BYTES) for _ in sent) if path.endswith(wanted) else None

        with ring.tampered(endless):
            assert ring.answers() == {"refused"}
        assert next(sent) * SPOOL_BYTES < FAR_TOO_MUCH_BYTES
    still_good(ring)
    cell("A5", ring.column, "cut off")


def test_A6_a_trickle_is_given_up(ring: World, cell: Cell) -> None:
    """A byte now and then keeps every timeout between two bytes from ending it: only a rate or a deadline does."""
    ring.forget_kept_files()
    over, before = time.monotonic() + 4 * TRICKLE_S, len(ring.wire.asked)

    def trickle() -> Iterator[bytes]:
        while time.monotonic() < over:
            yield b"x"
            time.sleep(0.5)

    ours, stock = ring.newcomers()
    assert isinstance(ours, AssayUser)
    assert isinstance(stock, StockUser)
    with ring.tampered(lambda path: trickle() if path.endswith(DEMO) else None):
        if ring.column == "PEP 458":
            stock.waits_s = TRICKLE_S
            answer = stock.get(ring, DEMO)
        else:
            assert ours.get(ring, OLD) != "refused"
            ours.patience = IMPATIENT
            answer = ours.get(ring, DEMO)
    assert any(path.endswith(DEMO) for path in ring.wire.asked[before:])
    assert answer == ("hangs" if ring.column == "PEP 458" else "refused")
    cell("A6", ring.column, "hangs" if answer == "hangs" else "given up")


def test_A8_dependencies_that_the_wheel_does_not_have(ring: World, cell: Cell) -> None:
    """Resolvers read the page and the sidecar: both must be what was signed. Stock clients do not read sidecars."""
    evil = wheel_metadata("demo", "2.0") + b"Requires-Dist: evil\n"
    with ring.tampered(lambda path: evil if path.endswith(".metadata") else None):
        for one in ring.everybody():
            if isinstance(one, AssayUser):
                assert one.sidecar(ring, DEMO) == "refused"
    page = ring.index.store.read("simple/demo/index.json")
    assert page is not None
    other = page.replace(sha256_of(wheel_metadata("demo", "2.0")).encode(), sha256_of(evil).encode())
    assert other != page
    with ring.tampered(lambda path: other if "simple/demo" in path else None):
        assert {one.get(ring, DEMO) for one in ring.newcomers() if isinstance(one, AssayUser)} == {"refused"}
    cell("A8", ring.column, "not seen" if ring.column == "PEP 458" else "refused")


def test_A9_two_good_files_are_swapped(ring: World, cell: Cell) -> None:
    ring.forget_kept_files()
    for instead in (OTHER, OLD):
        with ring.tampered(instead_of(DEMO, ring.blob(instead).read_bytes())):
            assert ring.answers() == {"refused"}
    still_good(ring)
    cell("A9", ring.column, "refused")


def test_A10_a_mirror_that_blocks_leaves_nothing_behind(ring: World, cell: Cell) -> None:
    for wrong in (503, b"<html>blocked</html>"):
        with ring.tampered(instead_of("", wrong)):
            assert ring.answers() == {"refused"}
        still_good(ring)
    cell("A10", ring.column, "refused")


@pytest.mark.parametrize("withheld", ["timestamp.json", ".snapshot.json", ".targets.json"])
def test_B15_without_metadata_nothing_arrives(withheld: str, ring: World, cell: Cell) -> None:
    ring.forget_kept_files()
    people = ring.newcomers() if withheld != "timestamp.json" else ring.everybody()
    with ring.tampered(lambda path: 404 if path.endswith(withheld) else None):
        assert {one.get(ring, DEMO) for one in people} == {"refused"}
    still_good(ring)
    cell("B15", ring.column, "refused")


def test_B14_a_clock_that_is_wrong(ring: World, cell: Cell) -> None:
    """A clock that is ahead makes everything expired; one that went back would make expired metadata look fresh."""
    noticed = set[str]()
    for one in ring.of_before:
        if ring.column == "PEP 458" and isinstance(one, AssayUser):
            continue
        one.wrong_by = timedelta(days=2)
        assert one.get(ring, DEMO) == "refused"
        one.wrong_by = timedelta(days=-30)
        answer = one.get(ring, DEMO)
        assert answer == (GOOD if isinstance(one, StockUser) else "refused")
        noticed |= {answer} if ring.column == "PEP 458" or isinstance(one, AssayUser) else set()
        one.wrong_by = timedelta()
    still_good(ring)
    cell("B14", ring.column, "refused" if noticed == {"refused"} else "back: not noticed")


def test_B10_a_tampered_blob_store(ring: World, cell: Cell) -> None:
    ring.forget_kept_files()
    blob = ring.blob(DEMO)
    honest = blob.read_bytes()
    blob.chmod(0o644)
    try:
        for wrong in (EVIL, honest[:-1], honest + b"x"):
            blob.write_bytes(wrong)
            assert ring.answers() == {"refused"}
    finally:
        blob.write_bytes(honest)
    still_good(ring)
    cell("B10", ring.column, "refused")


def forged_proposal(origin: Origin = "upload") -> PublishFiles:
    """demo 2.0 with other bytes, as somebody writes it who needs no admission."""
    distribution = parse_distribution(DEMO)
    entry = PageFile(
        DEMO,
        file_url(distribution.project, "2.0", DEMO),
        sha256_of(EVIL),
        len(EVIL),
        datetime.now(UTC).replace(microsecond=0),
        core_metadata=sha256_of(wheel_metadata("demo", "2.0")),
    )
    return PublishFiles(distribution.project, origin, (ProposedFile(distribution, entry, {"origin": origin}),))


def after_the_signer(ring: World, row: str, proposal: PublishFiles) -> None:
    """The ledger forgot the file, the proposal is there, the blob too: what does the signer make of it?"""
    BlobStore(ring.index.data.blobs).store_bytes(EVIL)
    with ring.index.ledger() as ledger, ledger.write() as connection:
        connection.execute(delete(files).where(files.c.project == "demo"))
        number = propose(connection, proposal)
    ring.index.sign()
    assert ring.index.state_of(number) == "refused", row
    ring.forget_kept_files()
    still_good(ring)


@pytest.mark.parametrize("row", ["B8", "B16"])
def test_who_speaks_to_the_signer_replaces_nothing(row: str, ring: World, cell: Cell) -> None:
    if ring.column == "PEP 458":
        pytest.skip("a plain PEP 458 index signs what it is told: tests/attacks/test_metadata.py")
    after_the_signer(ring, row, forged_proposal())
    cell(row, ring.column, "held")


def test_B9_a_rewritten_database_changes_nothing(ring: World, cell: Cell) -> None:
    if ring.column == "PEP 458":
        pytest.skip("a plain PEP 458 index signs what its database says: tests/attacks/test_metadata.py")
    evil = BlobStore(ring.index.data.blobs).store_bytes(EVIL)
    with ring.index.ledger() as ledger, ledger.write() as connection:
        connection.execute(update(files).values(sha256=evil, size=len(EVIL)))
    ring.index.propose("later", "1.0")
    ring.index.sign()
    ring.forget_kept_files()
    still_good(ring)
    cell("B9", ring.column, "held")


def test_B11_an_upstream_that_was_poisoned(ring: World, cell: Cell) -> None:
    """A project is uploaded here or pulled through; the hash that was seen first stays."""
    if ring.column == "PEP 458":
        pytest.skip("a plain PEP 458 mirror signs what it pulls: tests/attacks/test_metadata.py")
    after_the_signer(ring, "B11", forged_proposal("upstream"))
    cell("B11", ring.column, "held")
