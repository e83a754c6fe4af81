"""A snapshot that is read as what changed is the snapshot that is read whole, or it is left to be read whole."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import Snapshot

from assay.model.errors import VerificationFailed
from assay.trust.envelope import parse_envelope, sign_envelope
from assay.trust.layout import SNAPSHOT, Lifetimes
from assay.trust.plan import plan_snapshot
from assay.trust.successor import read_successor
from support.simulator import SIGNERS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROLES = ["targets", "bins", *(f"bin-{number:02x}" for number in range(32))]
FIRST = plan_snapshot(None, dict.fromkeys(ROLES, 5), NOW, Lifetimes())


def written(snapshot: Snapshot) -> bytes:
    return sign_envelope(snapshot, [SIGNERS[SNAPSHOT]])


BEFORE = parse_envelope(written(FIRST), Snapshot, SNAPSHOT).signed


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(ROLES), st.integers(5, 2_000), max_size=6), st.booleans())
def test_what_changed_is_read_as_the_whole_is(changes: dict[str, int], grows: bool) -> None:
    data = written(plan_snapshot(FIRST, changes | ({"new": 1} if grows else {}), NOW, Lifetimes()))
    whole, found = parse_envelope(data, Snapshot, SNAPSHOT), read_successor(data, BEFORE)
    assert (found is None) == grows
    if found is not None:
        assert (found.payload, found.signatures, found.data) == (whole.payload, whole.signatures, whole.data)
        assert found.signed.to_dict() == whole.signed.to_dict()
        third = written(plan_snapshot(found.signed, {"bin-00": 3_000}, NOW, Lifetimes()))
        again = read_successor(third, found.signed)
        assert again is not None
        assert again.payload == parse_envelope(third, Snapshot, SNAPSHOT).payload


@settings(deadline=None)
@given(st.data())
def test_a_bent_file_is_read_as_the_whole_is_or_not_at_all(data: st.DataObject) -> None:
    file = bytearray(written(plan_snapshot(FIRST, {"bin-07": 9}, NOW, Lifetimes())))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b"0", b"}", b",", b'"', b"{}", b"x"])
        )
    bent = bytes(file)
    found = read_successor(bent, BEFORE)
    if found is not None:
        assert found.payload == parse_envelope(bent, Snapshot, SNAPSHOT).payload


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta["bin-01.json"].update(version=4),
        lambda meta: meta["bin-01.json"].update(version=True),
        lambda meta: meta["bin-01.json"].update(length=3),
        lambda meta: meta.pop("bin-01.json"),
        lambda meta: meta.update({"other.json": meta.pop("bin-01.json")}),
    ],
)
def test_what_is_not_plainly_newer_is_left_to_be_read_whole(change: object) -> None:
    document = orjson.loads(written(FIRST))
    change(document["signed"]["meta"])  # type: ignore[operator]
    assert read_successor(orjson.dumps(document, option=orjson.OPT_SORT_KEYS), BEFORE) is None


def test_nonsense_is_left_to_be_read_whole() -> None:
    for data in (b"", b"{}", b'"meta":{}},"spec_version":"', written(FIRST)[:-1], b" " + written(FIRST)):
        assert read_successor(data, BEFORE) is None
        with pytest.raises(VerificationFailed):
            parse_envelope(data[:40], Snapshot, SNAPSHOT)
