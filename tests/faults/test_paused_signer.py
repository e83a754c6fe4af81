"""A signer that was stopped past its lease: another one took over, and when the first goes on nothing goes back.

The ledger's epoch fences what is committed; ``index.signer.fence`` what readers see.
"""

import os
from random import Random, SystemRandom

import pytest

from assay.index.ledger import engine
from assay.index.signer import fence
from faults.campaign import Campaign
from faults.strace import Point, is_about

POINTS = 6
LEDGERS = ("pwrite64", "fdatasync")
"""The ledger's calls: a signer stopped between them may hold its lock."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A successor that does not wait long for a lock which a stopped process holds."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.5)
    monkeypatch.setattr(fence, "LOCK_TIMEOUT_S", 0.5)


@pytest.mark.usefixtures("impatient")
def test_a_stopped_signer_that_goes_on_changes_nothing(campaign: Campaign) -> None:
    seed = int(os.environ.get("ASSAY_SEED") or SystemRandom().randrange(10**9))
    print(f"seed {seed}")
    points = [point for point in campaign.recording("publish").points if point.name not in LEDGERS]
    for point in Random(seed).sample(points, POINTS):
        assert campaign.take_over("publish", point) == [], point


@pytest.mark.usefixtures("impatient")
def test_a_signer_stopped_in_a_transaction_holds_its_successor_up(campaign: Campaign) -> None:
    """Nothing is lost, and nothing is published twice: the successor says what it waits for, and ends."""
    points = [point for point in campaign.recording("publish").points if point.name == "pwrite64"]
    assert campaign.take_over("publish", points[len(points) // 2]) == []


@pytest.mark.usefixtures("impatient")
def test_a_signer_stopped_between_commit_and_rename_does_not_bring_the_old_timestamp_back(campaign: Campaign) -> None:
    """Found so: without the fence it renamed its own timestamp over its successor's."""
    recording = campaign.recording("publish")
    calls = [recording.calls[place] for place in recording.changes]
    shown = max(place for place, call in enumerate(calls) if is_about(call, "timestamp.json"))
    committed = max(place for place, call in enumerate(calls[:shown]) if call.name == "fdatasync")
    for call in (calls[committed], calls[shown - 1]):
        assert campaign.take_over("publish", Point(call.name, call.number)) == [], call.name
