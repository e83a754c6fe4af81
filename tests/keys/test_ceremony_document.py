"""docs/ceremony.md, run literally: every command of it, by the machine that the text says, on the day that it says."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keys.live_index import LiveIndex
from keys.room import Room
from keys.softhsm import PIN, SoftTokens

DOCUMENT = Path(__file__).parents[2] / "docs" / "ceremony.md"
_BLOCK = re.compile(r"^```console machine=(\S+)(?: day=(\d+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GROUPS = {
    "each-holder": ("ana", "ben", "chi", "dov", "eli"),
    "two-holders": ("dov", "ana"),
    "third-holder": ("chi",),
    "three-holders": ("eli", "chi", "ben", "ana"),
}
"""Who does what the text says; for the second root the three holders are of the old keys, and Eli brings a new one."""

_ASSAY = """#!{python}
import os, sys
sys.path[:0] = {path!r}
from datetime import datetime
from assay.cli import cli
from assay.cli.output import report_error
from assay.keys.ceremony.surroundings import Surroundings
from assay.model.errors import AssayError
around = Surroundings(datetime.fromisoformat(os.environ["ROOM_CLOCK"]), os.environ["NAME"], os.environ["NAME"], ())
try:
    cli(obj=around)
except AssayError as error:
    sys.exit(report_error(error))
"""


@dataclass
class Reading:
    """The people who follow the text."""

    folder: Path
    start: datetime = datetime(2026, 11, 23, 9, tzinfo=UTC)
    outputs: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        program = self.folder / "bin" / "assay"
        program.parent.mkdir()
        (self.folder / "stick").mkdir()
        program.write_text(_ASSAY.format(python=sys.executable, path=[path for path in sys.path if path]))
        program.chmod(0o755)

    def run(self, name: str, day: int, commands: str) -> str:
        """What ``name`` types on their machine."""
        home = self.folder / "homes" / name
        (home / "tokens").mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\n")
        secret = home / "secret"
        secret.write_text(f"{PIN}\n")
        secret.chmod(0o600)
        environ = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "NAME": name,
            "DATA": str(self.folder / "data"),
            "ROOM_CLOCK": (self.start + timedelta(days=day, hours=1)).isoformat(),
            "ASSAY_CEREMONY_STICK": str(self.folder / "stick"),
            "ASSAY_PASSPHRASE_FILE": str(secret),
            **SoftTokens(home).environ,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            check=False,
            capture_output=True,
            text=True,
            input=self.words(),
            env=environ,
            cwd=home,
            timeout=120,
        )
        assert done.returncode == 0, f"{name}: {commands}\n{done.stdout}{done.stderr}"
        self.outputs.append(done.stdout)
        return done.stdout

    def words(self) -> str:
        """The words of the last build, as the reader reads them from the office's screen."""
        screens = [output for output in self.outputs if "as words to be read aloud" in output]
        if not screens:
            return ""
        lines = screens[-1].split("read aloud:\n")[1].splitlines()[:4]
        return " ".join(lines) + "\n"

    def signer_takes(self, day: int) -> None:
        """What the index's signer does by itself after something was published."""
        room = Room(self.folder / "unused", now=self.start + timedelta(days=day, hours=1))
        LiveIndex(room, self.folder / "data", passphrase=PIN).sign()


@pytest.mark.timeout(900)
def test_the_text_can_be_followed_literally(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    reading.prepare()
    blocks = [(m[1], int(m[2] or 0), m[3]) for m in _BLOCK.finditer(DOCUMENT.read_text(encoding="utf-8"))]
    assert len(blocks) > 20
    for machine, day, text in blocks:
        lines = text.splitlines()
        assert all(line.startswith("$ ") for line in lines), text
        commands = "\n".join(line.removeprefix("$ ") for line in lines)
        for name in GROUPS.get(machine, (machine,)):
            reading.run(name, day, commands)
        if "ceremony publish" in commands:
            reading.signer_takes(day)

    published = tmp_path / "data" / "published" / "tuf"
    assert (published / "2.root.json").exists()
    assert (published / "timestamp.json").exists()
    audits = [output for output in reading.outputs if "the transcript holds" in output]
    assert [("nothing is open" in audit) for audit in audits] == [True, True, True]
    assert any("nothing is due" in output for output in reading.outputs)
    assert "Wim Peeters" in (tmp_path / "homes" / "office" / "report.txt").read_text()


@pytest.mark.parametrize("rule", re.findall(r"`([a-z]+-[a-z-]+)`", DOCUMENT.read_text().split("## What a refusal")[1]))
def test_every_rule_that_the_text_explains_exists(rule: str) -> None:
    source = DOCUMENT.parents[1] / "src" / "assay" / "keys"
    assert any(f'"{rule}"' in path.read_text(encoding="utf-8") for path in source.rglob("*.py"))
