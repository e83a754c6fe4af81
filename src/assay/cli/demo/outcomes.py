"""Four who try to install the same project: plain pip, a new client, a returning one, and python-tuf's own client.

What happened is measured, never assumed: the exit code, the files that were installed, whether the attacker's mark is
among them, and what was said.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater

from assay.cli.demo.attacks import Loot
from assay.cli.demo.programs import ASSAY, Environment, Person, Programs
from assay.cli.demo.served import ServedIndex
from assay.model.names import parse_project_name
from assay.trust.layout import page_target

MARK: Final = "marked_by_the_attacker.txt"
"""The attacker's whole payload: a file of this name, without effect."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt. ``installed``: new files; ``version``: of the project that was installed; ``said``: all output."""

    who: str
    code: int
    installed: Sequence[str]
    version: str | None
    said: str

    @property
    def marked(self) -> bool:
        """Did the attacker's payload arrive?"""
        return MARK in self.installed

    @property
    def refused(self) -> bool:
        """Did the attempt end with an error and without a single file?"""
        return self.code != 0 and not self.installed

    def words(self) -> str:
        """The outcome in a cell of a table."""
        if self.marked:
            return "installed the attacker's file"
        if self.refused:
            return f"refused: {self.said}" if self.who == NGCLIENT else f"refused, exit {self.code}"
        if self.version is not None:
            return f"installed {self.version}"
        return f"exit {self.code}, {len(self.installed)} files installed"


PLAIN_PIP, NEW, RETURNING, NGCLIENT = "plain pip", "new client", "returning client", "ngclient"


def try_plain_pip(programs: Programs, person: Person, index: ServedIndex, project: str) -> Outcome:
    """``pip install`` from the index's simple API, as everybody does it today."""
    environment = Environment.make(programs, person, "plain")
    options = ("--no-deps", "--no-cache-dir", "--index-url", index.simple_url)
    done = person.run(*programs.pip, "--python", environment.python, "install", *options, project)
    return _outcome(PLAIN_PIP, done.code, environment, project, done.said)


def try_new(programs: Programs, person: Person, index: ServedIndex, project: str, trust: Sequence[str]) -> Outcome:
    """A client that never saw this index: ``assay trust add URL TRUST``, then ``assay run -- uv pip install``."""
    environment = Environment.make(programs, person, "new")
    added = person.run(*ASSAY, "trust", "add", index.url, *trust)
    if added.code != 0:
        return _outcome(NEW, added.code, environment, project, added.said)
    command = (*programs.uv, "pip", "install", "--python", environment.python, "--no-deps", project)
    done = person.run(*ASSAY, "run", "--", *command)
    return _outcome(NEW, done.code, environment, project, done.said)


def try_returning(programs: Programs, person: Person, project: str) -> Outcome:
    """A client that knows this index from before: ``assay run -- pip install``."""
    environment = Environment.make(programs, person, "returning")
    command = (*programs.pip, "--python", environment.python, "install", "--no-deps", project)
    done = person.run(*ASSAY, "run", "--", *command)
    return _outcome(RETURNING, done.code, environment, project, done.said)


def try_ngclient(index: ServedIndex, folder: Path, loot: Loot) -> Outcome:
    """python-tuf's client as it is: refresh, then the page and the file. ``folder`` holds what it knows."""
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as targets:
            updater = ng_updater(index, folder, Path(targets))
            updater.refresh()
            for path in (page_target(parse_project_name(loot.genuine.name)), loot.target):
                info = updater.get_targetinfo(path)
                if info is None:
                    return Outcome(NGCLIENT, 1, (), None, "no such target")
                updater.download_target(info)
    except (RepositoryError, DownloadError) as error:
        return Outcome(NGCLIENT, 1, (), None, type(error).__name__.removesuffix("Error"))
    return Outcome(NGCLIENT, 0, (loot.target,), loot.genuine.version, "")


def ng_updater(index: ServedIndex, folder: Path, targets: Path) -> Updater:
    """A stock client of the index that keeps its metadata in ``folder``, from the first root on."""
    root = (index.data / "published" / "tuf" / "1.root.json").read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    return Updater(str(folder), f"{index.url}tuf/", str(targets), index.url, bootstrap=root)


def _outcome(who: str, code: int, environment: Environment, project: str, said: str) -> Outcome:
    installed = environment.installed()
    stem = f"{project.replace('-', '_')}-"
    information = (path.partition("/")[0] for path in installed if path.startswith(stem))
    version = next((name.removeprefix(stem).removesuffix(".dist-info") for name in information), None)
    return Outcome(who, code, installed, version, said)
