"""Every refusal's rule is documented and is provoked by a test; no documented rule is made up."""

import re
from pathlib import Path

HERE = Path(__file__).resolve()
SOURCE = HERE.parents[2] / "src" / "assay"
ROOMS = (
    SOURCE / "provenance",
    SOURCE / "index" / "provenance",
    SOURCE / "client" / "provenance",
    SOURCE / "keys" / "attesting",
)
SINGLE_FILES = (SOURCE / "index" / "upstream" / "provenance.py",)
DOCUMENT = HERE.parents[2] / "docs" / "provenance.md"


def rules_in_the_code() -> set[str]:
    files = [*(path for room in ROOMS for path in room.rglob("*.py")), *SINGLE_FILES]
    code = "\n".join(path.read_text() for path in files)
    named = re.findall(r'(?:rule|_RULE: Final) ?= ?"([a-z0-9-]+)"', code)
    return {*named, *re.findall(r'"((?:openpgp|attestation|own-root|sigstore)-[a-z0-9-]+)"', code)}


def test_every_rule_is_documented_and_none_is_made_up() -> None:
    documented = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    of_policy = re.findall(r'rule="([a-z0-9-]+)"', (SOURCE / "policy" / "rules.py").read_text())
    assert len(documented) == len(set(documented))
    assert rules_in_the_code() <= set(documented) <= {*rules_in_the_code(), *of_policy}


def test_every_rule_is_provoked_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in HERE.parents[1].rglob("test_*.py") if path != HERE)
    assert sorted(rule for rule in rules_in_the_code() if rule not in tests) == []
