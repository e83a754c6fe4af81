"""The keys of ``claimed-new`` in ceremonies: whoever signs the bins signs new claims, before and after a rotation."""

import pytest
from tuf.api.metadata import Targets

from assay.model.errors import CallerError
from assay.trust.envelope import parse_envelope
from assay.trust.layout import BINS, CLAIMED_NEW, TARGETS
from assay.trust.plan import succinct_roles
from keys.live_index import LiveIndex
from keys.test_life_after import ONLINE_NAMES, everybody_gets, index, next_plan

__all__ = ["index"]


def newest(live: LiveIndex, role: str) -> Targets:
    files = [path for path in live.metadata.glob(f"*.{role}.json") if path.name.split(".")[1] == role]
    data = max(files, key=lambda path: int(path.name.split(".")[0])).read_bytes()
    return parse_envelope(data, Targets, role).signed


def keyids(live: LiveIndex) -> tuple[list[str], list[str]]:
    """Of ``claimed-new``, and of the bins."""
    delegations = newest(live, TARGETS).delegations
    assert delegations is not None
    assert delegations.roles is not None
    assert list(delegations.roles) == [CLAIMED_NEW, BINS]
    return delegations.roles[CLAIMED_NEW].keyids, succinct_roles(newest(live, BINS)).keyids


def test_a_new_key_of_the_bins_signs_new_claims_too(index: LiveIndex) -> None:
    before, bins = keyids(index)
    assert before == bins
    version = newest(index, CLAIMED_NEW).version
    names = {**ONLINE_NAMES, "bin": "bin-2"}
    index.room.later(hours=1)
    index.room.begin(next_plan(index, online=tuple(names.values()), enrol=("bin-2",)), index.metadata)
    index.enrol_online(bin="bin-2")
    index.room.build()
    index.room.sign("ana", "ben", "chi")
    index.adopt(index.room.finish())
    index.upload("2.0")
    everybody_gets(index)
    after, bins = keyids(index)
    assert after == bins != before
    assert newest(index, CLAIMED_NEW).version == version + 1


def test_the_bins_key_does_not_change_without_targets(index: LiveIndex) -> None:
    names = {**ONLINE_NAMES, "bin": "bin-2"}
    plan = next_plan(index, online=tuple(names.values()), enrol=("bin-2",), sign=("root", "bins"))
    index.room.later(hours=1)
    index.room.begin(plan, index.metadata)
    index.enrol_online(bin="bin-2")
    with pytest.raises(CallerError, match="newly claimed projects"):
        index.room.build()
