"""Every refusal's rule is documented and is provoked by a test; no documented rule is made up."""

import re
from pathlib import Path

HERE = Path(__file__).resolve()
ROOMS = HERE.parents[2] / "src" / "assay" / "provenance"
DOCUMENT = HERE.parents[2] / "docs" / "provenance.md"


def rules_in_the_code() -> set[str]:
    code = "\n".join(path.read_text() for path in ROOMS.rglob("*.py"))
    named = re.findall(r'rule="([a-z0-9-]+)"', code)
    return {*named, *re.findall(r'"((?:openpgp|attestation|own-root|provenance|sigstore)-[a-z0-9-]+)"', code)}


def test_every_rule_is_documented_and_none_is_made_up() -> None:
    documented = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(rules_in_the_code())


def test_every_rule_is_provoked_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in HERE.parent.glob("test_*.py") if path != HERE)
    assert sorted(rule for rule in rules_in_the_code() if f'"{rule}"' not in tests) == []
