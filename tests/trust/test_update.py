"""The client workflow under attack: Assay's core and stock python-tuf give the same verdict, and the right one."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Root, Snapshot, Targets, Timestamp

from assay.model.errors import AssayError, NotFresh, VerificationFailed
from assay.trust.layout import BINS, ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from assay.trust.plan import plan_root, plan_targets, succinct_roles
from support.simulator import (
    LIFETIMES,
    SIGNERS,
    THIEF,
    AssayClient,
    Simulator,
    StockClient,
    target,
    verdict,
)

WHEEL = "packages/demo/1.0/demo-1.0-py3-none-any.whl"
GOOD = target(WHEEL, b"good")
EVIL = target(WHEEL, b"evil")


def bin_of(index: Simulator, path: str) -> str:
    bins = index.roles[BINS]
    assert isinstance(bins, Targets)
    return succinct_roles(bins).get_role_for_target(path)


# --- what an attacker does; each gets an index that published GOOD ---------------------------------------------


def unsigned_bin(index: Simulator) -> None:
    name = bin_of(index, WHEEL)
    role = index.roles[name]
    assert isinstance(role, Targets)
    role.version += 1
    role.targets[WHEEL].hashes["sha256"] = EVIL.sha256
    index.put(name, role, THIEF)
    index.seal_off()


def flipped_byte(index: Simulator) -> None:
    for name in [name for name in index.files if "bin-" in name]:
        index.files[name] = index.files[name].replace(GOOD.sha256.encode(), EVIL.sha256.encode())


def snapshot_hash_swapped(index: Simulator) -> None:
    snapshot = index.roles[SNAPSHOT]
    name = f"{snapshot.version}.snapshot.json"
    index.files[name] = index.files[name].replace(b'"targets.json":{"version":1}', b'"targets.json":{"version":2}')


def vanished_role(index: Simulator) -> None:
    snapshot = index.roles[SNAPSHOT]
    assert isinstance(snapshot, Snapshot)
    del snapshot.meta[f"{bin_of(index, WHEEL)}.json"]
    index.roles.pop(bin_of(index, WHEEL))
    index.put(SNAPSHOT, snapshot)
    republish(index)


def republish(index: Simulator) -> None:
    """A timestamp for the snapshot as it lies there."""
    stamp, snapshot = index.roles[TIMESTAMP], index.roles[SNAPSHOT]
    assert isinstance(stamp, Timestamp)
    data = index.files[f"{snapshot.version}.snapshot.json"]
    stamp.version += 1
    stamp.snapshot_meta.version = snapshot.version
    stamp.snapshot_meta.length = len(data)
    stamp.snapshot_meta.hashes = {"sha256": __import__("hashlib").sha256(data).hexdigest()}
    index.put(TIMESTAMP, stamp)


def zero_threshold(index: Simulator) -> None:
    edit(index, TARGETS, lambda signed: signed["delegations"]["roles"][0].update(threshold=0))


def duplicate_keyid(index: Simulator) -> None:
    edit(index, TARGETS, lambda signed: signed["delegations"]["roles"][0].update(keyids=["a", "a"]))


def edit(index: Simulator, role: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Sign ``role`` again after ``change`` of its JSON, which the metadata library would not write itself."""
    from assay.trust import canonical
    from assay.trust.envelope import assemble

    signed = index.roles[role].to_dict()
    signed["version"] += 1
    change(signed)
    index.roles[role].version += 1
    index.files[f"{signed['version']}.{role}.json"] = assemble(signed, [SIGNERS[role].sign(canonical.encode(signed))])
    index.seal_off()


def missing_signature(index: Simulator) -> None:
    document = orjson.loads(index.files["timestamp.json"])
    document["signatures"] = []
    index.files["timestamp.json"] = orjson.dumps(document)


def doubled_signature(index: Simulator) -> None:
    document = orjson.loads(index.files["timestamp.json"])
    document["signatures"] *= 2
    index.files["timestamp.json"] = orjson.dumps(document)


def other_type(index: Simulator) -> None:
    index.files["timestamp.json"] = index.files[f"{index.roles[SNAPSHOT].version}.snapshot.json"]


def not_json(index: Simulator) -> None:
    index.files["timestamp.json"] = b"<html>"


def withheld_bin(index: Simulator) -> None:
    for name in [name for name in index.files if name.endswith(f".{bin_of(index, WHEEL)}.json")]:
        del index.files[name]


ATTACKS = [
    unsigned_bin,
    flipped_byte,
    snapshot_hash_swapped,
    zero_threshold,
    duplicate_keyid,
    missing_signature,
    doubled_signature,
    other_type,
    not_json,
    withheld_bin,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_new_client_refuses(attack: Callable[[Simulator], None], tmp_path: Path) -> None:
    index = Simulator()
    index.publish(GOOD)
    attack(index)
    assert verdict(AssayClient(index.root_bytes()), index, WHEEL) == "refused"
    assert verdict(StockClient(index.root_bytes(), tmp_path / "stock"), index, WHEEL) == "refused"


@pytest.mark.parametrize("attack", [*ATTACKS, vanished_role])
def test_a_returning_client_never_takes_the_evil_file(attack: Callable[[Simulator], None], tmp_path: Path) -> None:
    index = Simulator()
    index.publish(GOOD)
    ours, stock = AssayClient(index.root_bytes()), StockClient(index.root_bytes(), tmp_path / "stock")
    assert verdict(ours, index, WHEEL) == verdict(stock, index, WHEEL) == GOOD.sha256
    kept = dict(ours.kept)
    attack(index)
    answer = verdict(ours, index, WHEEL)
    assert answer == verdict(stock, index, WHEEL)
    assert answer in ("refused", GOOD.sha256)
    for role, data in ours.kept.items():
        assert (
            data == kept[role]
            or orjson.loads(data)["signed"]["version"] > orjson.loads(kept[role])["signed"]["version"]
        )


def test_A2_rollback_is_refused_and_says_which_version(tmp_path: Path) -> None:
    index = Simulator()
    old = dict(index.files)
    index.publish(GOOD)
    ours, stock = AssayClient(index.root_bytes()), StockClient(index.root_bytes(), tmp_path / "stock")
    assert verdict(ours, index, WHEEL) == verdict(stock, index, WHEEL) == GOOD.sha256
    index.files["timestamp.json"] = old["timestamp.json"]
    with pytest.raises(NotFresh) as caught:
        ours.look_up(index, WHEEL)
    assert caught.value.rule == "rollback"
    assert (caught.value.expected, caught.value.found) == ("version 2 or later", "version 1")
    assert verdict(stock, index, WHEEL) == "refused"


def test_A2_a_role_that_vanished_is_refused() -> None:
    index = Simulator()
    index.publish(GOOD)
    client = AssayClient(index.root_bytes())
    client.look_up(index, WHEEL)
    snapshot = index.roles[SNAPSHOT]
    assert isinstance(snapshot, Snapshot)
    del snapshot.meta[f"{bin_of(index, WHEEL)}.json"]
    snapshot.version += 1
    index.put(SNAPSHOT, snapshot)
    republish(index)
    with pytest.raises(NotFresh) as caught:
        client.look_up(index, WHEEL)
    assert (caught.value.rule, caught.value.subject) == ("role-vanished", bin_of(index, WHEEL))


def test_A3_a_frozen_index_is_refused_when_the_timestamp_expires(tmp_path: Path) -> None:
    index = Simulator()
    index.publish(GOOD)
    ours, stock = AssayClient(index.root_bytes()), StockClient(index.root_bytes(), tmp_path / "stock")
    just_before = index.now + LIFETIMES.timestamp - timedelta(seconds=1)
    assert verdict(ours, index, WHEEL, just_before) == verdict(stock, index, WHEEL, just_before) == GOOD.sha256
    at = index.now + LIFETIMES.timestamp
    with pytest.raises(NotFresh) as caught:
        ours.look_up(index, WHEEL, at)
    assert caught.value.rule == "expired"
    assert verdict(stock, index, WHEEL, at) == "refused"


def test_A4_fast_forward_is_undone_by_a_rotation_of_the_key(tmp_path: Path) -> None:
    index = Simulator()
    index.publish(GOOD)
    ours, stock = AssayClient(index.root_bytes()), StockClient(index.root_bytes(), tmp_path / "stock")
    stamp = index.roles[TIMESTAMP]
    assert isinstance(stamp, Timestamp)
    honest = stamp.version
    stamp.version = 2**31
    index.put(TIMESTAMP, stamp)
    for client in (ours, stock):
        assert verdict(client, index, WHEEL) == GOOD.sha256
    fresh = CryptoSigner.generate_ed25519()
    keys = {role: [SIGNERS[role].public_key] for role in (ROOT, TARGETS, SNAPSHOT)} | {TIMESTAMP: [fresh.public_key]}
    index.put(ROOT, plan_root(keys, {}, 2, index.now + LIFETIMES.root))
    stamp.version = honest + 1
    index.put(TIMESTAMP, stamp, fresh)
    for client in (ours, stock):
        assert verdict(client, index, WHEEL) == GOOD.sha256
    assert orjson.loads(ours.kept[TIMESTAMP])["signed"]["version"] == honest + 1


def test_A7_mix_and_match_of_old_and_new_files_is_refused(tmp_path: Path) -> None:
    index = Simulator()
    index.publish(GOOD)
    old = dict(index.files)
    index.publish(target("packages/demo/2.0/demo-2.0-py3-none-any.whl", b"newer"))
    snapshot = f"{index.roles[SNAPSHOT].version}.snapshot.json"
    index.files[snapshot] = old[f"{index.roles[SNAPSHOT].version - 1}.snapshot.json"]
    assert verdict(AssayClient(index.root_bytes()), index, WHEEL) == "refused"
    assert verdict(StockClient(index.root_bytes(), tmp_path / "stock"), index, WHEEL) == "refused"


def test_A5_metadata_over_its_cap_is_refused_before_it_is_read() -> None:
    index = Simulator()
    index.files["timestamp.json"] += b" " * 16_384
    with pytest.raises(VerificationFailed) as caught:
        AssayClient(index.root_bytes()).look_up(index, WHEEL)
    assert caught.value.rule == "metadata-too-large"


def test_A16_A17_a_root_needs_the_threshold_of_the_root_before(tmp_path: Path) -> None:
    index = Simulator()
    index.publish(GOOD)
    keys = {role: [THIEF.public_key] for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
    index.put(ROOT, plan_root(keys, {}, 2, index.now + LIFETIMES.root), THIEF)
    with pytest.raises(VerificationFailed) as caught:
        AssayClient(index.root_bytes()).look_up(index, WHEEL)
    assert caught.value.rule == "signature-threshold"
    assert verdict(StockClient(index.root_bytes(), tmp_path / "stock"), index, WHEEL) == "refused"


def test_A18_a_role_reached_through_a_second_delegator_is_refused() -> None:
    """Whoever is reached first must not decide which keys count for both."""
    index = Simulator()
    mallory = THIEF.public_key
    role = DelegatedRole("shared", [mallory.keyid], 1, terminating=False, paths=["packages/*/*/*"])
    bystander = DelegatedRole("bystander", [mallory.keyid], 1, terminating=False, paths=["packages/*/*/*"])
    other = DelegatedRole("other", [mallory.keyid], 1, terminating=False, paths=["packages/*/*/*"])
    top = Targets(2, None, index.now + LIFETIMES.targets, {})
    top.delegations = Delegations({mallory.keyid: mallory}, {"bystander": bystander, "other": other})
    index.put(TARGETS, top)
    for name in ("bystander", "other"):
        inner = Targets(1, None, index.now + LIFETIMES.bin, {})
        inner.delegations = Delegations({mallory.keyid: mallory}, {"shared": role})
        index.put(name, inner, THIEF)
    index.put("shared", Targets(1, None, index.now + LIFETIMES.bin, {}), THIEF)
    index.seal_off()
    with pytest.raises(VerificationFailed) as caught:
        AssayClient(index.root_bytes()).look_up(index, WHEEL)
    assert (caught.value.rule, caught.value.subject) == ("second-delegator", "shared")
    assert (caught.value.expected, caught.value.found) == ("bystander", "other")


@pytest.mark.parametrize("name", [ROOT, TIMESTAMP, SNAPSHOT, TARGETS])
def test_A19_a_delegated_role_with_the_name_of_a_top_level_role_is_refused(name: str) -> None:
    index = Simulator()
    edit(index, TARGETS, lambda signed: signed["delegations"]["roles"][0].update(name=name))
    with pytest.raises(VerificationFailed) as caught:
        AssayClient(index.root_bytes()).look_up(index, WHEEL)
    assert caught.value.rule == "malformed"


def test_more_roles_than_stock_clients_visit_are_refused() -> None:
    index = Simulator()
    key = SIGNERS[BINS].public_key
    top = plan_targets([key], 1, 2, index.now + LIFETIMES.targets)
    roles = {
        f"r{n}": DelegatedRole(f"r{n}", [key.keyid], 1, terminating=False, paths=["packages/*/*/*"]) for n in range(40)
    }
    top.delegations = Delegations({key.keyid: key}, roles)
    index.put(TARGETS, top)
    for name in roles:
        index.put(name, Targets(1, None, index.now + LIFETIMES.bin, {}), SIGNERS[BINS])
    index.seal_off()
    with pytest.raises(VerificationFailed) as caught:
        AssayClient(index.root_bytes()).look_up(index, WHEEL)
    assert caught.value.rule == "too-many-roles"


def test_nothing_unverified_is_kept_by_a_client_that_refused() -> None:
    index = Simulator()
    client = AssayClient(index.root_bytes())
    unsigned = Simulator()
    unsigned.files = dict(index.files)
    missing_signature(unsigned)
    with pytest.raises(VerificationFailed):
        client.look_up(unsigned, WHEEL)
    assert client.kept == {}


def test_a_returning_client_asks_only_for_what_changed() -> None:
    index = Simulator()
    index.publish(GOOD)
    client = AssayClient(index.root_bytes())
    client.look_up(index, WHEEL)
    client.asked.clear()
    client.look_up(index, WHEEL)
    assert client.asked == ["2.root.json", "timestamp.json"]


def test_a_local_file_that_was_damaged_is_fetched_again() -> None:
    index = Simulator()
    index.publish(GOOD)
    client = AssayClient(index.root_bytes())
    client.look_up(index, WHEEL)
    for role in list(client.kept):
        client.kept[role] = b"torn"
    assert client.look_up(index, WHEEL) == GOOD.sha256


def test_the_wrong_order_of_loading_is_a_programming_error() -> None:
    from assay.trust.verify import TrustedMetadata

    index = Simulator()
    trusted = TrustedMetadata(index.root_bytes(), now=index.now)
    with pytest.raises(RuntimeError):
        trusted.update_snapshot(index.files["1.snapshot.json"])
    with pytest.raises((RuntimeError, AssayError)):
        trusted.update_targets(index.files["1.targets.json"], TARGETS, ROOT)


def test_the_root_type_is_what_the_layout_says() -> None:
    root = Simulator().roles[ROOT]
    assert isinstance(root, Root)
    assert root.consistent_snapshot is True
