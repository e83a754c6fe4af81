"""The fast encoder writes what the reference encoder writes, or refuses what it refuses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from assay.model.errors import VerificationFailed
from assay.trust import canonical

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _JSON))
def test_equals_the_reference_encoder(document: dict[str, Any]) -> None:
    assert canonical.encode(document) == str(encode_canonical(document)).encode()


@pytest.mark.parametrize(
    "text", ["plain", 'quo"te', "back\\slash", "new\nline", "\x00\x1f\x7f", "ünïcödé", "1.5", ":1.5"]
)
def test_equals_the_reference_encoder_for_awkward_strings(text: str) -> None:
    document = {text: [text, {text: text}]}
    assert canonical.encode(document) == str(encode_canonical(document)).encode()


@pytest.mark.parametrize("value", [1.5, -0.25, 1e300, [1.0], {"a": 2.5}])
def test_refuses_numbers_that_canonical_json_does_not_have(value: object) -> None:
    with pytest.raises(VerificationFailed):
        canonical.encode({"value": value})
