"""Rows A2-A16 against metadata: the attacker gets exactly what the row says; new and returning clients, ours and stock.

``held`` the genuine file or nothing, ``refused`` an error, ``replaced`` the attacker's file under a name that was good.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Snapshot, TargetFile, Targets, Timestamp

from assay.model.digests import sha256_of
from assay.trust.envelope import sign_envelope
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TargetPath, metadata_filename
from assay.trust.plan import plan_root, plan_snapshot, plan_targets, plan_timestamp, succinct_roles
from assay.trust.seal import SealedFile
from attacks.conftest import Cell
from support.simulator import (
    LIFETIMES,
    SIGNERS,
    THIEF,
    AssayClient,
    Simulator,
    StockClient,
    both,
    seal,
    target,
    verdict,
)

WHEEL = "packages/demo/1.0/demo-1.0-py3-none-any.whl"
GOOD, EVIL = sha256_of(b"good"), sha256_of(b"evil")

World = Callable[[], Simulator]


def plain() -> Simulator:
    index = Simulator()
    index.before = dict(index.files)
    index.publish(target(WHEEL, b"good"))
    return index


def witnessed() -> Simulator:
    index = Simulator(witnessed=True)
    index.before = dict(index.files)
    index.publish(target(WHEEL, b"good"))
    return index


def sealed() -> Simulator:
    index = plain()
    seal(index, 1, [SealedFile(TargetPath(WHEEL), 4, GOOD)])
    return index


def bin_name(index: Simulator) -> str:
    bins = index.roles[BINS]
    assert isinstance(bins, Targets)
    return succinct_roles(bins).get_role_for_target(WHEEL)


def sign_with(index: Simulator, role: str, body: Targets | Snapshot | Timestamp, key: CryptoSigner) -> None:
    """Serve ``body`` as ``role``, signed with one stolen key only."""
    version = None if role == TIMESTAMP else body.version
    index.files[metadata_filename(role, version)] = sign_envelope(body, [key])


def forge_snapshot_and_timestamp(index: Simulator, versions: dict[str, int]) -> None:
    """The index's own keys of both roles vouch for ``versions``; a witness does not."""
    old, stamp = index.roles[SNAPSHOT], index.roles[TIMESTAMP]
    assert isinstance(old, Snapshot)
    assert isinstance(stamp, Timestamp)
    snapshot = plan_snapshot(old, versions, index.now, LIFETIMES)
    sign_with(index, SNAPSHOT, snapshot, SIGNERS[SNAPSHOT])
    data = index.files[metadata_filename(SNAPSHOT, snapshot.version)]
    sign_with(index, TIMESTAMP, plan_timestamp(stamp, data, snapshot.version, index.now, LIFETIMES), SIGNERS[TIMESTAMP])


def forged_bin(index: Simulator) -> Targets:
    role = index.roles[bin_name(index)]
    assert isinstance(role, Targets)
    return Targets(role.version, None, role.expires, {WHEEL: TargetFile.from_data(WHEEL, b"evil", ["sha256"])})


# --- the attacks ----------------------------------------------------------------------------------------------


def timestamp_key(index: Simulator) -> None:
    """A11: a timestamp that names the snapshot of before."""
    stamp = index.roles[TIMESTAMP]
    assert isinstance(stamp, Timestamp)
    old = index.files["1.snapshot.json"]
    sign_with(index, TIMESTAMP, plan_timestamp(stamp, old, 1, index.now, LIFETIMES), SIGNERS[TIMESTAMP])


def timestamp_and_snapshot_keys(index: Simulator) -> None:
    """A12: they vouch for a bin that nobody signed."""
    role = forged_bin(index)
    role.version += 1
    sign_with(index, bin_name(index), role, THIEF)
    forge_snapshot_and_timestamp(index, {bin_name(index): role.version})


def whole_host(index: Simulator) -> None:
    """A13: every online key of the index signs a bin with the evil file, and everything above it."""
    role = forged_bin(index)
    role.version += 1
    sign_with(index, bin_name(index), role, SIGNERS["bin"])
    forge_snapshot_and_timestamp(index, {bin_name(index): role.version})


def whole_host_same_version(index: Simulator) -> None:
    """A13: the bin is swapped under the version that the honest snapshot lists."""
    sign_with(index, bin_name(index), forged_bin(index), SIGNERS["bin"])


def one_offline_key(index: Simulator) -> None:
    """A14: somebody who is no holder of targets signs a new one."""
    rogue = plan_targets([THIEF.public_key], 1, 2, index.now + LIFETIMES.targets)
    index.files["2.targets.json"] = sign_envelope(rogue, [SIGNERS[BINS]])
    forge_snapshot_and_timestamp(index, {TARGETS: 2})


def root_below_threshold(index: Simulator) -> None:
    """A16: a root that the old one's threshold does not sign."""
    keys = {role: [THIEF.public_key] for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
    index.files["2.root.json"] = sign_envelope(plan_root(keys, {}, 2, index.now + LIFETIMES.root), [THIEF])


def rollback(index: Simulator) -> None:
    """A2: what was served before the fixed release."""
    index.files["timestamp.json"] = index.before["timestamp.json"]


def freeze(index: Simulator) -> None:
    """A3: a day passes, and the same files are served."""
    index.now += LIFETIMES.timestamp


def mix_and_match(index: Simulator) -> None:
    """A7: the bin of before under the name of the new one."""
    role = bin_name(index)
    index.files[metadata_filename(role, index.roles[role].version)] = index.before[metadata_filename(role, 1)]


ATTACKS = {
    "A2": [rollback],
    "A3": [freeze],
    "A7": [mix_and_match],
    "A11": [timestamp_key],
    "A12": [timestamp_and_snapshot_keys],
    "A13": [whole_host, whole_host_same_version],
    "A14": [one_offline_key],
    "A16": [root_below_threshold],
}
OUTCOMES = ((EVIL, "replaced"), (GOOD, "held"), ("none", "refused or older"), ("refused", "refused"))
"""The worst that any of the clients got; a new client without a floor may be shown an older state."""

REPLACED = {("A13", "PEP 458"), ("A13", "signed")}
"""Where the attacker wins: what witnesses and seals are for."""

WORLDS: dict[str, World] = {"PEP 458": plain, "signed": plain, "witnessed": witnessed, "sealed": sealed}


@pytest.mark.parametrize("column", WORLDS)
@pytest.mark.parametrize("row", ATTACKS)
def test_attack(row: str, column: str, tmp_path: Path, cell: Cell) -> None:
    answers: set[str] = set()
    for number, attack in enumerate(ATTACKS[row]):
        index = WORLDS[column]()
        folder = tmp_path / str(number)
        folder.mkdir()
        returning: list[AssayClient | StockClient] = [
            AssayClient(index.root_bytes()),
            StockClient(index.root_bytes(), folder / "returning"),
        ]
        for client in returning:
            assert verdict(client, index, WHEEL) == GOOD
        attack(index)
        clients = [*returning, *both(index, folder)]
        if column == "PEP 458":
            clients = [client for client in clients if isinstance(client, StockClient)]
        answers |= {verdict(client, index, WHEEL) for client in clients}
    outcome = next(word for sign, word in OUTCOMES if sign in answers)
    cell(row, column, outcome)
    assert (outcome == "replaced") == ((row, column) in REPLACED)
