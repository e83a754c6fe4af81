"""Rows A2-A16 against metadata: the attacker gets exactly what the row says; new and returning clients, ours and stock.

``held`` the genuine file or nothing, ``refused`` an error, ``replaced`` the attacker's file under a name that was good.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Snapshot, TargetFile, Targets, Timestamp

from assay.model.digests import sha256_of
from assay.trust import canonical
from assay.trust.claims import plan_claim_role
from assay.trust.envelope import assemble, sign_envelope
from assay.trust.layout import BINS, CLAIMED, ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TargetPath, metadata_filename
from assay.trust.plan import plan_bins, plan_root, plan_snapshot, plan_targets, plan_timestamp, succinct_roles
from assay.trust.seal import SealedFile
from attacks.conftest import Cell
from support.claims import claim_of, claimed_index, put_role
from support.simulator import (
    LIFETIMES,
    NOW,
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
DEVELOPER = CryptoSigner.generate_ed25519()
LATER = NOW + LIFETIMES.bins
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


def claimed() -> Simulator:
    """The project is claimed, and the holders settled it, before the file is there."""
    index = claimed_index(CLAIMED, {"demo": (DEVELOPER, {})})
    index.before = dict(index.files)
    put_role(index, claim_of("demo", DEVELOPER), {WHEEL: b"good"}, DEVELOPER, version=2)
    index.seal_off()
    return index


def vouching(index: Simulator) -> str:
    """The role whose file says what the wheel is, as far as it has versions."""
    return "claim-demo" if "claim-demo" in index.roles else bin_name(index)


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
    version = index.roles[TARGETS].version + 1
    rogue = plan_targets([THIEF.public_key], 1, version, index.now + LIFETIMES.targets)
    index.files[f"{version}.targets.json"] = sign_envelope(rogue, [SIGNERS[BINS]])
    forge_snapshot_and_timestamp(index, {TARGETS: version})


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
    """A7: the role of before under the name of the new one."""
    role = vouching(index)
    index.files[metadata_filename(role, index.roles[role].version)] = index.before[metadata_filename(role, 1)]


def arbitrary_metadata(index: Simulator) -> None:
    """A1: what stands on the wire under every role's name is the attacker's, signed with his key."""
    evil = Targets(1, None, index.now + LIFETIMES.bin, {WHEEL: TargetFile.from_data(WHEEL, b"evil", ["sha256"])})
    for name in index.files:
        if not name.endswith((".root.json", "timestamp.json", ".snapshot.json")):
            index.files[name] = sign_envelope(evil, [THIEF])


def swapped_roles(index: Simulator) -> None:
    """A9: a good role in the place of another one."""
    names = sorted(name for name in index.files if name.count(".") == 2 and "-" in name)
    contents = [index.files[name] for name in names]
    index.files |= dict(zip(names, [*contents[1:], contents[0]], strict=True))


def developer_key(index: Simulator) -> None:
    """A15: the next version of the developers' role, which no snapshot lists."""
    role = plan_claim_role(
        claim_of("demo", DEVELOPER), 3, {TargetPath(WHEEL): TargetFile.from_data(WHEEL, b"evil", ["sha256"])}, LATER
    )
    index.files["3.claim-demo.json"] = index.files["2.claim-demo.json"] = sign_envelope(role, [DEVELOPER])


def root_at_threshold(index: Simulator) -> None:
    """A17: whoever can sign root names his own keys for everything."""
    thief = [THIEF.public_key]
    keys = dict.fromkeys((ROOT, TARGETS, SNAPSHOT, TIMESTAMP), thief)
    index.put(ROOT, plan_root(keys, {}, 2, LATER), SIGNERS[ROOT], THIEF)
    top = index.roles[TARGETS].version + 1
    index.files[f"{top}.targets.json"] = sign_envelope(plan_targets(thief, 1, top, LATER), [THIEF])
    index.files["2.bins.json"] = sign_envelope(plan_bins(thief, 1, index.bit_length, 2, LATER), [THIEF])
    role = forged_bin(index)
    role.version += 1
    name = bin_name(index)
    index.files[metadata_filename(name, role.version)] = sign_envelope(role, [THIEF])
    old, stamp = index.roles[SNAPSHOT], index.roles[TIMESTAMP]
    assert isinstance(old, Snapshot)
    assert isinstance(stamp, Timestamp)
    versions = {TARGETS: top, BINS: 2, name: role.version}
    snapshot = plan_snapshot(old, versions, index.now, LIFETIMES)
    data = sign_envelope(snapshot, [THIEF])
    index.files[metadata_filename(SNAPSHOT, snapshot.version)] = data
    stamped = plan_timestamp(stamp, data, snapshot.version, index.now, LIFETIMES)
    index.files["timestamp.json"] = sign_envelope(stamped, [THIEF])


Malformation = Callable[[dict[str, Any]], object]


def malformed(change: Malformation) -> Callable[[Simulator], None]:
    """A19: the next ``targets``, signed by its holders, that no client may accept."""

    def attack(index: Simulator) -> None:
        top = index.roles[TARGETS]
        top.version += 1
        document = top.to_dict()
        change(document["delegations"])
        signature = SIGNERS[TARGETS].sign(canonical.encode(document))
        index.files[metadata_filename(TARGETS, top.version)] = assemble(document, [signature])
        index.seal_off()

    attack.__name__ = change.__name__
    return attack


def threshold_zero(delegations: dict[str, Any]) -> None:
    delegations["roles"][-1]["threshold"] = 0


def one_key_twice(delegations: dict[str, Any]) -> None:
    delegations["roles"][-1]["keyids"] *= 2


def hostile_name(delegations: dict[str, Any]) -> None:
    hostile = {**delegations["roles"][-1], "name": "../../../etc/passwd", "terminating": False}
    delegations["roles"].insert(0, hostile)


def top_level_name(delegations: dict[str, Any]) -> None:
    delegations["roles"].insert(0, {**delegations["roles"][-1], "name": "timestamp", "terminating": False})


def one_signature_twice(index: Simulator) -> None:
    """A19: a signature repeated does not count again."""
    role = forged_bin(index)
    role.version += 1
    signature = SIGNERS["bin"].sign(canonical.encode(role.to_dict()))
    document = orjson.loads(assemble(role.to_dict(), [signature]))
    document["signatures"] *= 2
    index.files[metadata_filename(bin_name(index), role.version)] = orjson.dumps(document)
    forge_snapshot_and_timestamp(index, {bin_name(index): role.version})


ATTACKS: dict[str, list[Callable[[Simulator], None]]] = {
    "A1": [arbitrary_metadata],
    "A2": [rollback],
    "A3": [freeze],
    "A7": [mix_and_match],
    "A9": [swapped_roles],
    "A11": [timestamp_key],
    "A12": [timestamp_and_snapshot_keys],
    "A13": [whole_host, whole_host_same_version],
    "A14": [one_offline_key],
    "A15": [developer_key],
    "A16": [root_below_threshold],
    "A17": [root_at_threshold],
    "A19": [*map(malformed, [threshold_zero, one_key_twice, hostile_name, top_level_name]), one_signature_twice],
    "B8": [whole_host, whole_host_same_version],
    "B13": [rollback],
}
OUTCOMES = ((EVIL, "replaced"), (GOOD, "held"), ("none", "older for new clients"), ("refused", "refused"))
"""The worst that any of the clients got; a new client without a floor may be shown an older state."""

BY_THE_PRODUCT = {("B8", "signed"), ("B8", "witnessed"), ("B13", "witnessed"), ("A15", "claimed")}
"""Cells of tests that ask more: the signer and the witnesses themselves, or a key with more beside it."""

ONE_SIGNATURE = {"PEP 458", "signed"}
"""Where one online key is enough, repeating its signature is no attack of its own."""

TRUSTED_DATABASE: dict[str, list[Callable[[Simulator], None]]] = {row: [whole_host] for row in ("B9", "B11", "B16")}
"""Rows that are no matter of metadata for Assay's signer; a plain PEP 458 index signs whatever its database says."""

REPLACED = {(row, "PEP 458") for row in ("A13", "A17", "B8", *TRUSTED_DATABASE)} | {("A13", "signed")}
REPLACED |= {("A17", column) for column in ("signed", "witnessed", "sealed", "claimed")}
"""Where the attacker wins: what witnesses, seals and claims are for; and root, which nothing is above."""

WORLDS: dict[str, World] = {
    "PEP 458": plain,
    "signed": plain,
    "witnessed": witnessed,
    "sealed": sealed,
    "claimed": claimed,
}
CELLS = [(row, column) for row in ATTACKS for column in WORLDS if (row, column) not in BY_THE_PRODUCT]
CELLS += [(row, "PEP 458") for row in TRUSTED_DATABASE]


def meet(column: str, attack: Callable[[Simulator], None], folder: Path) -> set[str]:
    """What the clients of ``column`` get after ``attack``, returning and new."""
    index = WORLDS[column]()
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
    return {verdict(client, index, WHEEL) for client in clients}


@pytest.mark.parametrize(("row", "column"), CELLS)
def test_attack(row: str, column: str, tmp_path: Path, cell: Cell) -> None:
    answers: set[str] = set()
    for number, attack in enumerate((ATTACKS | TRUSTED_DATABASE)[row]):
        if attack is one_signature_twice and column in ONE_SIGNATURE:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        answers |= meet(column, attack, folder)
    outcome = next(word for sign, word in OUTCOMES if sign in answers)
    if (row, column) != ("A17", "witnessed"):  # the witness cries out: tests/attacks/test_witnessed.py
        cell(row, column, outcome)
    assert (outcome == "replaced") == ((row, column) in REPLACED), answers
