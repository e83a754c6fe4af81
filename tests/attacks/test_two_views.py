"""Rows A4, A18 and B12 against metadata: versions run away, a role has two delegators, two clients see two worlds."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, Delegations, Root, Snapshot, TargetFile, Targets, Timestamp

from assay.model.digests import sha256_of
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, SPEC_VERSION, TIMESTAMP, metadata_filename
from assay.trust.plan import plan_root, plan_snapshot, plan_timestamp, succinct_roles
from attacks.conftest import Cell
from attacks.test_metadata import (
    EVIL,
    GOOD,
    LATER,
    WHEEL,
    WORLDS,
    bin_name,
    forge_snapshot_and_timestamp,
    forged_bin,
    sign_with,
    vouching,
)
from support.simulator import (
    LIFETIMES,
    SIGNERS,
    THIEF,
    AssayClient,
    Simulator,
    StockClient,
    both,
    target,
    verdict,
)

Clients = list[AssayClient | StockClient]
RUN_AWAY = 1_000_000


def of_column(column: str, clients: Clients) -> Clients:
    """The clients whose answers make the cell: plain PEP 458 is what stock clients make of the plain layout."""
    return [client for client in clients if column != "PEP 458" or isinstance(client, StockClient)]


def returning(index: Simulator, folder: Path) -> Clients:
    clients: Clients = [AssayClient(index.root_bytes()), StockClient(index.root_bytes(), folder / "returning")]
    assert {verdict(client, index, WHEEL) for client in clients} == {GOOD}
    return clients


# --- A4 -------------------------------------------------------------------------------------------------------


def run_away(index: Simulator) -> None:
    """Timestamp, snapshot and a bin with versions that no honest signer will reach, signed by the index's keys."""
    name, bad = bin_name(index), index.roles[bin_name(index)]
    old, stamp = index.roles[SNAPSHOT], index.roles[TIMESTAMP]
    assert isinstance(bad, Targets)
    assert isinstance(old, Snapshot)
    assert isinstance(stamp, Timestamp)
    far = Targets(RUN_AWAY, SPEC_VERSION, bad.expires, dict(bad.targets))
    sign_with(index, name, far, SIGNERS["bin"])
    snapshot = plan_snapshot(old, {name: RUN_AWAY}, index.now, LIFETIMES)
    snapshot.version = RUN_AWAY
    sign_with(index, SNAPSHOT, snapshot, SIGNERS[SNAPSHOT])
    data = index.files[metadata_filename(SNAPSHOT, RUN_AWAY)]
    stamped = plan_timestamp(stamp, data, RUN_AWAY, index.now, LIFETIMES)
    stamped.version = RUN_AWAY
    sign_with(index, TIMESTAMP, stamped, SIGNERS[TIMESTAMP])


def rotate(index: Simulator) -> None:
    """Root names new online keys; the index goes on from its own versions."""
    for role in (SNAPSHOT, TIMESTAMP):
        SIGNERS[role] = type(SIGNERS[role]).generate_ed25519()
    root = index.roles[ROOT]
    assert isinstance(root, Root)
    keys = {role: [root.keys[keyid] for keyid in root.roles[role].keyids] for role in root.roles}
    keys |= {role: [signer.public_key for signer in index.online(role)] for role in (SNAPSHOT, TIMESTAMP)}
    thresholds = {role: root.roles[role].threshold for role in root.roles}
    index.put(ROOT, plan_root(keys, thresholds, root.version + 1, LATER))
    index.seal_off()


@pytest.mark.parametrize("column", WORLDS)
def test_A4_after_a_rotation_every_client_recovers_by_itself(column: str, tmp_path: Path, cell: Cell) -> None:
    index = WORLDS[column]()
    clients = of_column(column, returning(index, tmp_path))
    run_away(index)
    fooled = [verdict(client, index, WHEEL) for client in clients]
    assert set(fooled) <= {GOOD, "refused"}
    index.seal_off()
    still = {verdict(client, index, WHEEL) for client in clients}
    rotate(index)
    clients += of_column(column, both(index, tmp_path))
    assert {verdict(client, index, WHEEL) for client in clients} == {GOOD}
    cell("A4", column, "recovers" if "refused" in still else "held")


# --- A18 ------------------------------------------------------------------------------------------------------

LURE = next(
    path
    for path in (f"packages/lure/{number}/lure-{number}.tar.gz" for number in range(99))
    if int(sha256_of(path.encode())[0], 16) >> 2 != int(sha256_of(WHEEL.encode())[0], 16) >> 2
)
"""A file of the thief's own project, in another of the four bins than the victim's."""


def second_way(index: Simulator, role: str) -> None:
    """The bin of another project delegates ``role`` again, to the thief's key; his copy of it has the evil file."""
    bins = index.roles[BINS]
    assert isinstance(bins, Targets)
    lure = succinct_roles(bins).get_role_for_target(LURE)
    assert lure != role
    own = index.roles[lure]
    assert isinstance(own, Targets)
    delegated = DelegatedRole(role, [THIEF.public_key.keyid], 1, terminating=False, paths=["packages/*/*/*"])
    own = deepcopy(own)
    own.version += 1
    own.delegations = Delegations({THIEF.public_key.keyid: THIEF.public_key}, {role: delegated})
    sign_with(index, lure, own, SIGNERS["bin"])
    version = index.roles[role].version + 1
    evil = Targets(version, SPEC_VERSION, LATER, {WHEEL: TargetFile.from_data(WHEEL, b"evil", ["sha256"])})
    index.files[metadata_filename(role, version)] = sign_envelope(evil, [THIEF])
    forge_snapshot_and_timestamp(index, {lure: own.version, role: version})


def searched(column: str, index: Simulator) -> str:
    """The role that the thief gives a second delegator: the one that vouches for the victim's file."""
    return "seal-1" if column == "sealed" else vouching(index)


@pytest.mark.parametrize("column", WORLDS)
def test_A18_a_role_with_two_delegators_is_refused_at_the_second(column: str, tmp_path: Path, cell: Cell) -> None:
    """Asked for both in one refresh: python-tuf before version 7 kept the role it met first, whoever delegated it."""
    index = WORLDS[column]()
    clients = returning(index, tmp_path)
    second_way(index, searched(column, index))
    for client in of_column(column, [*clients, *both(index, tmp_path)]):
        assert verdict(client, index, WHEEL, after=LURE) == "refused"
    cell("A18", column, "refused")


# --- B12 ------------------------------------------------------------------------------------------------------


def evil_twin(index: Simulator) -> Simulator:
    """The same versions, signed by the index's own keys, with other bytes."""
    twin = deepcopy(index)
    role = forged_bin(twin)
    role.version += 1
    sign_with(twin, bin_name(twin), role, SIGNERS["bin"])
    forge_snapshot_and_timestamp(twin, {bin_name(twin): role.version})
    index.publish(target("packages/other/1.0/other-1.0.tar.gz", b"other"), target(WHEEL, b"good"))
    return twin


@pytest.mark.parametrize("column", [column for column in WORLDS if column not in ("signed", "witnessed")])
def test_B12_two_clients_are_shown_two_worlds(column: str, tmp_path: Path, cell: Cell) -> None:
    index = WORLDS[column]()
    if column in ("sealed", "claimed"):
        twin = deepcopy(index)
        role = forged_bin(twin)
        role.version += 1
        sign_with(twin, bin_name(twin), role, SIGNERS["bin"])
        forge_snapshot_and_timestamp(twin, {bin_name(twin): role.version})
    else:
        twin = evil_twin(index)
    views: list[Callable[[], set[str]]] = [
        lambda: {verdict(client, index, WHEEL) for client in of_column(column, both(index, tmp_path / "here"))},
        lambda: {verdict(client, twin, WHEEL) for client in of_column(column, both(twin, tmp_path / "there"))},
    ]
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here, there = (view() for view in views)
    assert here == {GOOD}
    assert there == ({EVIL} if column == "PEP 458" else {GOOD})
    cell("B12", column, "split" if there == {EVIL} else "held")
