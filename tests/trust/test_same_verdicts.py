"""Assay's core beside stock ngclient on repositories whose signed metadata was bent at random, by whoever has the keys.

Every bent role is signed properly, so that reading it is all that can refuse it. What ngclient refuses Assay refuses;
what Assay vouches for ngclient vouches for, with the same hash. Assay may refuse more only as malformed: a target
without SHA-256, ``custom`` that is no object.
"""

import copy
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from assay.model.digests import sha256_of
from assay.model.errors import AssayError, VerificationFailed
from assay.trust import canonical
from assay.trust.envelope import assemble
from assay.trust.layout import BINS, SNAPSHOT, TARGETS, TIMESTAMP
from support.simulator import SIGNERS, AssayClient, Simulator, StockClient, target, verdict

WHEEL = "packages/demo/1.0/demo-1.0-py3-none-any.whl"
OTHER = "packages/other/1.0/other-1.0-py3-none-any.whl"
STRICTER = {"malformed"}

_ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from(
        [10**9, 2**53, 1.5, "", "1", "a", "sha256", "2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z", "\\", "\x01"]
    ),
    st.lists(st.integers(0, 2), max_size=2),
    st.dictionaries(st.sampled_from(["sha256", "a", "keyids"]), st.sampled_from(["", "ab" * 32, 1]), max_size=2),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in ``node``, the whole excepted."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in inner for place in ((*path, key), *places(value, (*path, key)))]


def bend(document: dict[str, Any], place: tuple[Any, ...], value: Any, how: str) -> None:
    """Change ``document`` at ``place``: another value, nothing, or one more member beside it."""
    holder: Any = document
    for key in place[:-1]:
        holder = holder[key]
    if how == "drop":
        del holder[place[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder[f"{place[-1]}x"] = value
    else:
        holder[place[-1]] = value


def put(index: Simulator, role: str, signed: dict[str, Any]) -> None:
    """Serve ``signed`` as ``role`` in the place of what is there, with a good signature."""
    signer = SIGNERS["bin" if role.startswith("bin-") else role]
    name = f"{role}.json" if role == TIMESTAMP else f"{index.roles[role].version}.{role}.json"
    index.files[name] = assemble(signed, [signer.sign(canonical.encode(signed))])
    if role == SNAPSHOT:
        stamp = index.roles[TIMESTAMP].to_dict()
        data = index.files[name]
        stamp["meta"]["snapshot.json"] |= {
            "length": len(data),
            "hashes": {"sha256": sha256_of(data)},
        }
        put(index, TIMESTAMP, stamp)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_bent_metadata_is_judged_alike(data: st.DataObject) -> None:
    index = Simulator()
    index.publish(target(WHEEL, b"good"), target(OTHER, b"other"))
    bins = [role for role in index.roles if role.startswith("bin-")]
    role = data.draw(st.sampled_from([TIMESTAMP, SNAPSHOT, TARGETS, BINS, *bins]))
    signed = copy.deepcopy(index.roles[role].to_dict())
    for _ in range(data.draw(st.integers(1, 2))):
        all_places = places(signed)
        assume(all_places)
        bend(
            signed,
            data.draw(st.sampled_from(all_places)),
            data.draw(_ODD),
            data.draw(st.sampled_from(["set", "drop", "add"])),
        )
    try:
        put(index, role, signed)
    except (AssayError, ValueError):
        return  # no canonical JSON: nobody can sign it
    with tempfile.TemporaryDirectory() as folder:
        for path in (WHEEL, OTHER):
            ours = AssayClient(index.root_bytes())
            stock = verdict(StockClient(index.root_bytes(), Path(folder) / path.replace("/", "-")), index, path)
            mine = verdict(ours, index, path)
            if mine != stock:
                assert (mine, _why(index, path)) in [("refused", rule) for rule in STRICTER], (role, signed, stock)


def _why(index: Simulator, path: str) -> str:
    try:
        AssayClient(index.root_bytes()).look_up(index, path)
    except VerificationFailed as error:
        return error.rule
    except AssayError:
        return "other"
    return "accepted"
