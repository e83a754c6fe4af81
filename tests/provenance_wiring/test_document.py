"""docs/provenance.md, run literally: every console block of it, by the person that the text says, in order."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY, TIMEOUT_S, Done, Person
from client.small_distributions import build_wheel
from e2e.house import PROGRAMS, House
from provenance.openpgp_makers import Gpg, gpg_home
from provenance_wiring.test_own_root import client_certificate

pytestmark = pytest.mark.e2e

DOCUMENT = Path(__file__).parents[2] / "docs" / "provenance.md"
_BLOCK = re.compile(r"^```console machine=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CLIENTS = re.compile(r"\[\[client_certificates\]\].*?(?=^```)", re.MULTILINE | re.DOTALL)

INSTALLS_AFTER = {"certificate end demo": 0, "certificate revoke": 10, "gpg --yes": 0}
"""The steps of a key's life after which a new and a returning user try to install demo, and how that ends."""


@dataclass
class Reading:
    """Everybody who follows the text: in one folder, as if they sent each other the files that it names."""

    house: House
    gpg: Gpg
    folder: Path
    machines: dict[str, Person] = field(default_factory=dict)
    newcomers: int = 0

    def prepare(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir(parents=True)
        for name, words in {"assay": ASSAY, "pip": PROGRAMS.pip, "uv": PROGRAMS.uv, "twine": PROGRAMS.twine}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
            (programs / name).chmod(0o755)
        self.gpg.run("--quick-gen-key", "Dora <dora@example.org>", "ed25519", "sign", "1y")
        (self.folder / "dist").mkdir()
        for project in ("demo", "ours"):
            assert self.house.operator("project", "create", project, "--owner", "admin").code == 0
            wheel = self.folder / "dist" / f"{project}-1.0-py3-none-any.whl"
            wheel.write_bytes(build_wheel(project, "1.0"))
        assert self.house.operator("project", "create", "tool", "--owner", "admin").code == 0
        authority, certificate, secret = client_certificate("me@example.org")
        for name, data in (("people.pem", authority), ("me.pem", certificate), ("me.key", secret)):
            (self.folder / name).write_bytes(data)
        shown = _CLIENTS.search(DOCUMENT.read_text(encoding="utf-8"))
        assert shown is not None
        (self.folder / "identities.toml").write_text(shown[0])
        passphrase = self.folder / "passphrase"
        passphrase.write_text("correct horse battery staple\n")
        passphrase.chmod(0o600)
        self.machines = {"untouched": self.house.user(), "dora": self.house.developer(), "me": self.house.developer()}
        self.machines["anybody"] = self.newcomer()

    def run(self, machine: str, commands: str) -> Done:
        person = self.machines.get(machine) or self.house.stranger()
        person.folder.mkdir(parents=True, exist_ok=True)
        data = self.folder / "assay-data"
        if not data.exists():
            data.symlink_to(self.house.index.data)
        environ = person.environ() | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "GNUPGHOME": str(self.gpg.home),
            "KEY": self.gpg.fingerprints("dora")[0],
            "INDEX": self.house.index.url.rstrip("/"),
            "TWINE_NON_INTERACTIVE": "1",
            "ASSAY_PASSPHRASE_FILE": str(self.folder / "passphrase") if machine == "authority" else "",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={name: value for name, value in environ.items() if value},
            cwd=self.folder,
            timeout=TIMEOUT_S,
            check=False,
            text=True,
        )
        return Done(done.returncode, done.stdout)

    def newcomer(self) -> Person:
        """Somebody who trusts the index and never asked it anything."""
        self.newcomers += 1
        return self.machines["untouched"].copy(self.folder.with_name(f"newcomer-{self.newcomers}"))

    def install(self, who: Person, step: str) -> Done:
        install = (*PROGRAMS.pip, "install", "--no-cache-dir", "--ignore-installed", "--target", step, "demo")
        return who.run(*ASSAY, "run", "--", *install)


@pytest.mark.timeout(600)
def test_the_text_can_be_followed_literally(house: House, tmp_path: Path) -> None:
    """After each block anybody, old or new, installs what the text says they can, and nothing else."""
    with gpg_home() as gpg:
        (gpg.home / "gpg.conf").write_text("batch\nno-tty\npinentry-mode loopback\npassphrase ''\n")
        reading = Reading(house, gpg, tmp_path / "desk")
        reading.prepare()
        blocks = _BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
        assert len(blocks) >= 15
        said = []
        for machine, text in blocks:
            lines = text.splitlines()
            assert all(line.startswith("$ ") for line in lines), text
            done = reading.run(machine, "\n".join(line.removeprefix("$ ") for line in lines))
            assert done.code == 0, f"{machine}: {text}\n{done.said}"
            said.append(done.said)
            for step, code in INSTALLS_AFTER.items():
                for person in (reading.machines["anybody"], reading.newcomer()) if step in text else ():
                    tried = reading.install(person, step)
                    assert tried.code == code, f"after {text}\n{tried.said}"
                    assert (person.folder / step / "demo.py").exists() is (code == 0)
        everything = "\n".join(said)
        assert "signed by  OpenPGP certificate" in everything
        assert "me@example.org (by https://people.example.org)" in everything
