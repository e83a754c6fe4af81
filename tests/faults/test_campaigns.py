"""The short form of ``make torture``: some faults of every operation, chosen by a seed that is printed.

``ASSAY_SEED=... pytest tests/faults`` chooses the same; ``docs/faults.md`` says how to replay a single one.
"""

import os
from collections import Counter
from random import Random, SystemRandom

import pytest

from faults.campaign import Campaign
from faults.operations import OPERATIONS
from faults.strace import is_about
from faults.torture import Fault, faults_of

EACH = {"kill": 3, "power": 4, "error": 2}
"""How many faults of each kind every operation meets here."""

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_is_disturbed_leaves_nothing_wrong(campaign: Campaign, operation: str) -> None:
    seed = int(os.environ.get("ASSAY_SEED") or SystemRandom().randrange(10**9))
    print(f"seed {seed}")
    left = Counter(EACH)
    for fault in faults_of(campaign, operation, Random(seed)):
        kind = fault.kind if fault.kind in EACH else "error"
        if left[kind]:
            left[kind] -= 1
            assert fault.inflict(campaign) == [], fault


@pytest.mark.parametrize("operation", ["rotate", "renew"])
def test_a_start_between_root_and_timestamp_goes_on(campaign: Campaign, operation: str) -> None:
    """Between the two renames nothing that is published verifies; reading it first, a start ended there (found so)."""
    calls = campaign.recording(operation).calls
    shown = [call for call in calls if call.name == "rename" and is_about(call, "2.root.json")]
    after = calls[calls.index(shown[-1]) + 1 :]
    point = next(call for call in after if call.name == "rename" and is_about(call, "timestamp.json"))
    assert Fault(operation, "kill", f"rename:{point.number}").inflict(campaign) == []
