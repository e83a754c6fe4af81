"""The catalogue of refusals has every rule of the source, and makes none up."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "refusals.md"


def test_every_rule_stands_in_the_catalogue_and_none_is_made_up() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make-refusals"), "--rules"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    documented = re.findall(r'^\| <a id="([a-z0-9-]+)"></a>', DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == printed, "run scripts/make-refusals"


def test_no_rule_is_written_where_the_catalogue_does_not_look() -> None:
    documented = DOCUMENT.read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    written = set(re.findall(r'\b(?:rule|default_rule) ?= ?"([a-z0-9-]+)"', code))
    assert sorted(rule for rule in written if f"`{rule}`" not in documented) == []


def test_the_screen_leads_to_the_catalogue() -> None:
    """Every refusal prints `assay explain --rule RULE`, which works without the sources, too: the wheel brings it."""
    explain = [sys.executable, "-m", "assay", "explain", "--rule"]
    told = subprocess.run([*explain, "target-hash"], capture_output=True, text=True, check=True).stdout
    assert "not what was vouched for" in told
    assert "attack" in told
    unknown = subprocess.run([*explain, "no-such-rule"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "assay explain --rule not-found" in unknown.stderr
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "docs/refusals.md": "assay/refusals.md"
    }


def test_every_rule_of_installing_is_produced_by_a_test() -> None:
    """A test names the rule that it produces; an error that it makes itself, with ``rule=``, does not count."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    named = set(re.findall(r'(?<!rule=)"([a-z0-9-]+)"', tests))
    (section,) = re.findall(
        r"^## Installing.*?(?=^## )", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    rules = set(re.findall(r'<a id="([a-z0-9-]+)"></a>', section))
    assert sorted(rules - named) == [], "write a test that produces them"
