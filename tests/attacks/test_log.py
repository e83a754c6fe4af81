"""B12 without witnesses: who stole the keys shows two histories, and the log gives them away to whoever saw one."""

import shutil
from datetime import timedelta
from pathlib import Path

from assay.model.errors import VerificationFailed
from attacks.conftest import Cell
from log.conftest import index, machine, served
from log.living import LivingIndex, Machine
from log.test_audit import other_history, refusal_of

__all__ = ["index", "machine", "served"]


def test_B12_a_split_view_is_refused_and_proved(
    index: LivingIndex, machine: Machine, tmp_path: Path, cell: Cell
) -> None:
    """Two histories, both signed with the stolen keys: who saw one does not believe the other."""
    index.publish()
    other = other_history(index, tmp_path / "other")
    other.upload(("evil", "1.0"))
    other.publish()
    index.upload(("demo", "1.0"))
    index.publish()
    machine.verify()
    other.now += timedelta(hours=13)
    other.upload(("evil", "1.1"))
    other.publish()
    other.close()
    index.now = other.now
    index.restart()

    shutil.rmtree(index.data.published)
    shutil.copytree(other.data.published, index.data.published)
    error = refusal_of(machine)
    assert isinstance(error, VerificationFailed)
    assert error.rule == "log-consistency"
    evidence = next(machine.entry.store.folder.glob("log.evidence-*")).read_text()
    assert evidence.count("assay-log/") == 4, "two signed checkpoints, each with its origin and its signature's name"
    cell("B12", "signed", "split, found in log")
