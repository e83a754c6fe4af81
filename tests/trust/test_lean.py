"""Roles that are looked into late refuse and write what python-tuf's own classes refuse and write."""

import copy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import MetaFile, Snapshot, TargetFile, Targets

from assay.model.errors import VerificationFailed
from assay.trust import canonical
from assay.trust.lean import LeanSnapshot, LeanTargets, raw_targets

HEX = "ab" * 32
_ODD = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "1", HEX]) | st.lists(st.integers(0, 2))
_HASHES = st.dictionaries(st.sampled_from(["sha256", "sha512", ""]), st.just(HEX) | _ODD, max_size=2) | _ODD
_TARGET = st.fixed_dictionaries(
    {}, optional={"length": st.integers(-1, 9) | _ODD, "hashes": _HASHES, "custom": _ODD, "x": _ODD}
)
_META = st.fixed_dictionaries({}, optional={"version": st.integers(-1, 9) | _ODD, "length": _ODD, "hashes": _HASHES})
_NAMES = st.sampled_from(["a", "packages/demo/1/x.whl", "root.json", ""])
_COMMON = st.fixed_dictionaries(
    {
        "version": st.just(7) | _ODD,
        "spec_version": st.just("1.0.34") | _ODD,
        "expires": st.just("2030-01-01T00:00:00Z") | _ODD,
    },
    optional={"delegations": _ODD, "x-own": _ODD},
)


def _outcome(kind: Any, document: dict[str, Any]) -> Any:
    """What ``kind`` writes of what it reads, or that it refuses.

    A stock client refuses what is not written again as it was, too: that is what it verifies signatures of.
    """
    try:
        signed = kind.from_dict(copy.deepcopy(document))
        again = signed.to_dict()
        if again != document:
            return "refused"
        return again, [signed.targets[name].length for name in signed.targets] if kind.type == "targets" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return "refused"


@settings(deadline=None)
@given(_COMMON, st.dictionaries(_NAMES, _TARGET | _ODD, max_size=3) | _ODD)
def test_targets_are_read_as_by_python_tuf(common: dict[str, Any], targets: Any) -> None:
    document = {"_type": "targets", **common, "targets": targets}
    assert _outcome(LeanTargets, document) == _outcome(Targets, document)


@settings(deadline=None)
@given(_COMMON, st.dictionaries(_NAMES, _META | _ODD, max_size=3) | _ODD)
def test_snapshots_are_read_as_by_python_tuf(common: dict[str, Any], meta: Any) -> None:
    document = {"_type": "snapshot", **common, "meta": meta}
    assert _outcome(LeanSnapshot, document) == _outcome(Snapshot, document)


def test_what_is_changed_in_a_role_is_written() -> None:
    raw = {"a": {"length": 1, "hashes": {"sha256": HEX}}, "b": {"length": 2, "hashes": {"sha256": HEX}}}
    role = LeanTargets(1, "1.0.34", datetime(2030, 1, 1, tzinfo=UTC), raw)
    role.targets["a"].length = 5
    role.targets["c"] = TargetFile(3, {"sha256": HEX}, "c")
    del role.targets["b"]
    assert {path: target["length"] for path, target in raw_targets(role).items()} == {"a": 5, "c": 3}
    assert "b" not in role.targets
    assert len(role.targets) == 2
    snapshot = LeanSnapshot(1, "1.0.34", datetime(2030, 1, 1, tzinfo=UTC), {"a.json": {"version": 1}})
    snapshot.meta["a.json"] = MetaFile(4)
    assert snapshot.to_dict()["meta"] == {"a.json": {"version": 4}}


@settings(deadline=None)
@given(st.text(max_size=20))
def test_only_canonical_bytes_that_are_json_are_put_into_files_as_they_are(text: str) -> None:
    try:
        payload = canonical.encode({"a": text})
    except VerificationFailed:  # a surrogate
        return
    import orjson

    if canonical.is_json(payload):
        assert orjson.loads(payload) == {"a": text}
