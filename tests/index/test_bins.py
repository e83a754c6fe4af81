"""The number of bins changes with one offline signature, and everybody finds everything; renewal comes in portions."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from assay.cli import cli
from assay.index.signer import draft
from assay.index.signer.renewals import MAX_AT_ONCE, Renewals
from assay.trust.layout import BINS, Lifetimes, metadata_path
from index.ledger_index import LedgerIndex
from index.test_identity import Client, root_of

VERSIONS = ["1.0", "1.1", "2.0"]


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("bits", [1, 3, 6])
def test_bins_become_more_or_fewer(tmp_path: Path, bits: int, spilled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if spilled:
        monkeypatch.setattr(draft, "IN_MEMORY", 1)
    index = LedgerIndex(tmp_path / "index")
    alice = index.user("alice")
    for version in VERSIONS:
        index.publish("demo", version, alice)
    hashes = {version: index.vouched("demo", version) for version in VERSIONS}
    returning = Client(index, root_of(index, 1))
    assert returning.sees_demo()
    words = ["bins", "set", str(bits), "--key", str(index.data.keys.path(BINS)), "--data", str(index.data.root)]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    index.later(minutes=1)
    index.sign()
    assert index.state().succinct().number_of_bins == 2**bits
    for client in (returning, Client(index, root_of(index, 1))):
        assert client.sees_demo()
    assert {version: index.vouched("demo", version) for version in VERSIONS} == hashes
    index.publisher = index.new_publisher()  # as after a restart
    index.publish("demo", "3.0", index.principal(index.token("alice")))
    assert index.vouched("demo", "3.0") is not None
    assert {version: index.vouched("demo", version) for version in VERSIONS} == hashes
    index.later(days=20)
    index.sign()
    assert index.state().timestamp is not None


def test_what_is_due_is_signed_in_portions(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path / "index")
    renewals = Renewals(Lifetimes())
    for number in range(3 * MAX_AT_ONCE):
        renewals.set(f"bin-{number:03x}", index.now)
    first = renewals.due(index.now)
    assert len(first) == MAX_AT_ONCE
    assert renewals.due(index.now) == first
    for name in first:
        renewals.set(name, index.now + Lifetimes().bin)
    assert not set(renewals.due(index.now)) & set(first)
    renewals.retire("bin-17f")
    assert "bin-17f" not in renewals.roles()


def test_when_bins_end_is_read_without_reading_them(tmp_path: Path) -> None:
    index = LedgerIndex(tmp_path / "index")
    index.publish("demo", "1.0", index.user("alice"))
    renewals, state = Renewals(Lifetimes()), index.state()
    names = list(state.succinct().get_roles())
    bins = {name: state.bin(name) for name in names}
    renewals.read(index.published, ((name, role.version) for name, role in bins.items() if role))
    assert renewals.due(index.now) == []
    assert renewals.due(index.now + Lifetimes().bin / 2) == names
    lost = bins[names[0]]
    assert lost is not None
    index.published.path(metadata_path(names[0], lost.version)).unlink()
    renewals.read(index.published, [(names[0], lost.version)])
    assert renewals.due(index.now) == [names[0]]
