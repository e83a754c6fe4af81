"""Seals: every file is found in its bin, by our core and by stock clients, and nothing else is hidden by them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Targets

from assay.model.digests import sha256_of
from assay.model.errors import CallerError
from assay.trust.layout import TARGETS, Lifetimes, TargetPath
from assay.trust.seal import SealedFile, hash_prefixes, plan_seal, seal_bits, seals_of, seals_to_merge
from support.simulator import NOW, AssayClient, Simulator, StockClient, both, seal, target, verdict

SEALED = "packages/demo/1.0/demo-1.0-py3-none-any.whl"
LATER = "packages/demo/2.0/demo-2.0-py3-none-any.whl"


def sealed(path: str, content: bytes) -> SealedFile:
    return SealedFile(TargetPath(path), len(content), sha256_of(content))


@pytest.mark.parametrize("count", [1, 300, 900, 110_000])
def test_a_sealed_file_is_found_and_an_unsealed_one_is_not_hidden(count: int, tmp_path: Path) -> None:
    index = Simulator()
    index.publish(target(LATER, b"later"))
    others = [sealed(f"packages/p{n}/1/p{n}-1.tar.gz", b"x") for n in range(count - 1)]
    seal(index, 1, [sealed(SEALED, b"good"), *others])
    for client in both(index, tmp_path):
        assert verdict(client, index, SEALED) == sha256_of(b"good")
        assert verdict(client, index, LATER) == sha256_of(b"later")
        assert verdict(client, index, "packages/absent/1/absent-1.tar.gz") == "none"


def test_A13_all_online_keys_stolen_nothing_sealed_can_be_rewritten(tmp_path: Path) -> None:
    index = Simulator()
    index.publish(target(SEALED, b"good"))
    seal(index, 1, [sealed(SEALED, b"good")])
    root = index.root_bytes()
    old: list[AssayClient | StockClient] = [AssayClient(root), StockClient(root, tmp_path / "returning")]
    for client in old:
        verdict(client, index, SEALED)
    evil = Simulator.publish
    bins = [name for name in index.roles if name.startswith("bin-")]
    for name in bins:
        role = index.roles[name]
        assert isinstance(role, Targets)
        role.targets.pop(SEALED, None)
    evil(index, target(SEALED, b"evil"))
    for client in [*old, *both(index, tmp_path)]:
        assert verdict(client, index, SEALED) == sha256_of(b"good")


def test_seals_are_merged_oldest_first_and_stay_searchable(tmp_path: Path) -> None:
    index = Simulator()
    contents: dict[str, bytes] = {}
    for number in range(1, 10):
        path = f"packages/demo/{number}/demo-{number}.tar.gz"
        contents[path] = str(number).encode()
        top = index.roles[TARGETS]
        assert isinstance(top, Targets)
        merged = seals_to_merge(seals_of(top))
        again = [f"packages/demo/{name.removeprefix('seal-')}/" for name in merged]
        files = [sealed(path, contents[path])]
        files += [sealed(p, c) for p, c in contents.items() if p != path and p.startswith(tuple(again))]
        if merged:
            files = [
                sealed(p, c) for p, c in contents.items() if p == path or not _is_in_kept(p, seals_of(top), merged)
            ]
        seal(index, number, files, merged)
        top = index.roles[TARGETS]
        assert isinstance(top, Targets)
        assert len(seals_of(top)) <= 6
    for client in both(index, tmp_path):
        for path, content in contents.items():
            assert verdict(client, index, path) == sha256_of(content)


def _is_in_kept(path: str, seals: list[str], merged: list[str]) -> bool:
    number = path.split("/")[2]
    return f"seal-{number}" in seals and f"seal-{number}" not in merged


@given(st.integers(0, 14), st.binary(min_size=32, max_size=32))
def test_every_hash_has_exactly_one_bin(bits: int, digest: bytes) -> None:
    index = int.from_bytes(digest[:4], "big") >> (32 - bits)
    assert any(digest.hex().startswith(prefix) for prefix in hash_prefixes(index, bits))
    other = (index + 1) % 2**bits
    assert bits == 0 or not any(digest.hex().startswith(prefix) for prefix in hash_prefixes(other, bits))


def test_an_empty_seal_and_a_doubled_path_are_refused() -> None:
    key = CryptoSigner.generate_ed25519().public_key
    with pytest.raises(CallerError, match="nothing to seal"):
        seal_bits(0)
    with pytest.raises(CallerError, match="twice"):
        list(plan_seal(1, 0, [[sealed(SEALED, b"a"), sealed(SEALED, b"b")]], key, NOW, Lifetimes()))
