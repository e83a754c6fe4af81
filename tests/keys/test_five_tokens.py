"""The whole ceremony at the command line: five people, five PKCS#11 tokens, five homes, and one stick between them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from assay.trust.verify import TrustedMetadata
from keys.softhsm import PIN, SoftTokens

HOLDERS = ("ana", "ben", "chi", "dov", "eli")
ONLINE = {"timestamp-1": "timestamp", "snapshot-1": "snapshot", "bin-1": "bin", "log-1": "log"}

_PROGRAM = """
import sys
from datetime import datetime
from assay.cli.ceremony import command
from assay.cli.output import report_error
from assay.keys.ceremony.surroundings import Surroundings
from assay.model.errors import AssayError
now, machine, *arguments = sys.argv[1:]
around = Surroundings(datetime.fromisoformat(now), machine, machine + "-laptop", ())
try:
    command(arguments, obj=around)
except AssayError as error:
    sys.exit(report_error(error))
"""


@dataclass
class Table:
    """Runs ``assay ceremony`` on one machine after the other; each sees its own home and the stick, nothing else."""

    folder: Path
    now: datetime = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def person(self, name: str) -> dict[str, str]:
        """The environment of one person's machine."""
        home = self.folder / "homes" / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        pin = home / "pin"
        pin.write_text(f"{PIN}\n")
        pin.chmod(0o600)
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)}
        environ |= {"ASSAY_PASSPHRASE_FILE": str(pin), "ASSAY_CEREMONY_HOME": str(home / "ceremony")}
        return environ | SoftTokens(home).environ

    def run(self, name: str, *arguments: str, typed: str = "", stick: bool = True) -> subprocess.CompletedProcess[str]:
        """One command on ``name``'s machine."""
        verb, *rest = arguments
        command = [sys.executable, "-c", _PROGRAM, self.now.isoformat(), name, verb]
        command += ["--stick", str(self.folder / "stick")] if stick else []
        return subprocess.run(
            [*command, *rest],
            check=False,
            capture_output=True,
            text=True,
            input=typed,
            env=self.person(name),
            cwd=self.folder / "homes" / name,
            timeout=60,
        )

    def do(self, name: str, *arguments: str, typed: str = "", stick: bool = True) -> str:
        """One command that succeeds; its output."""
        done = self.run(name, *arguments, typed=typed, stick=stick)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The ceremony up to the build: the words are read aloud from the office's screen."""
    table = Table(tmp_path_factory.mktemp("ceremony"))
    (table.folder / "stick").mkdir()
    draft = [
        "draft",
        "plan.toml",
        "--index",
        "packages.example.org",
        "--holders",
        ",".join(HOLDERS),
        "--threshold",
        "3",
    ]
    table.do("office", *draft, "--observers", "wim", "--bin-bits", "3", stick=False)
    table.do("office", "plan", "plan.toml")
    for name in HOLDERS:
        SoftTokens(table.folder / "homes" / name).make(name)
        table.do(name, "enroll", "--name", name, "--key", f"hsm:2?label={name}", "--create", "p256")
    for name in ONLINE:
        table.do("index", "enroll", "--name", name, "--create", "ed25519")
    table.do("wim", "enroll", "--name", "wim", "--create", "ed25519")
    table.do("office", "build")
    return table


def words_of(table: Table) -> str:
    """What the office's screen says, as it is read aloud."""
    return str(json.loads(table.do("office", "show", "--json"))["words"])


def test_three_of_five_token_holders_make_a_root_on_two_days(table: Table) -> None:
    words = words_of(table)
    for name in ("eli",):
        assert "3 of 5" in table.do(name, "show")
        table.do(name, "sign", typed=words)
    waiting = table.do("office", "merge")
    assert "root: NOT COMPLETE: 1 of the 3 needed" in waiting

    table.now += timedelta(days=4)
    for name in ("ben", "ana"):
        table.do(name, "show")
        table.do(name, "sign", typed=words)
    assert "NOT COMPLETE" not in table.do("office", "merge")
    assert "root version 1 is signed by enough" in table.do("office", "verify")
    table.do("wim", "countersign")
    table.do("office", "publish", "--data", str(table.folder / "data"))
    table.do("wim", "countersign")
    assert "nothing is open" in table.do("auditor", "audit", "--html", "report.html")

    root = (table.folder / "data/published/tuf/1.root.json").read_bytes()
    TrustedMetadata(root, now=table.now)
    metadata = Metadata[Root].from_bytes(root)
    assert metadata.signed.roles["root"].threshold == 3
    assert len(metadata.signatures) == 3
    assert {key.scheme for key in metadata.signed.keys.values()} == {"ecdsa-sha2-nistp256", "ed25519"}


def test_each_home_holds_its_own_token_and_nobody_elses(table: Table) -> None:
    done = table.run("ana", "enroll", "--name", "ben", "--key", "hsm:2?label=ben")
    assert done.returncode == 1
    assert "no such token is present" in done.stderr


def test_a_wrong_word_is_refused_before_the_token_is_asked(table: Table) -> None:
    words = words_of(table).split()
    words[6] = "acorn" if words[6] != "acorn" else "zodiac"
    table.do("dov", "show")
    done = table.run("dov", "sign", typed=" ".join(words))
    assert done.returncode == 10
    assert "the words typed are not those of the data on the stick" in done.stderr
    assert "the first is word 7" in done.stderr


def test_a_clock_a_year_off_is_refused_with_both_times(table: Table) -> None:
    words = words_of(table)
    table.now += timedelta(days=365)
    done = table.run("chi", "sign", typed=words)
    table.now -= timedelta(days=365)
    assert done.returncode == 11
    assert "clock is wrong" in done.stderr
    assert "2027-11-2" in done.stderr
