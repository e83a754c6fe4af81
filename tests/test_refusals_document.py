"""The catalogue of refusals has every rule of the source, and makes none up."""

import re
import subprocess
import sys
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
